"""Moving closures between stores, sending only what is missing, what is referred to first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.events import Advanced, Finished, Notice, Started, ignore
from anicca.store.addressed import is_content_addressed
from anicca.store.local import LocalStore
from anicca.store.schedule import run_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anicca.events import Report
    from anicca.store.cache import BinaryCache
    from anicca.store.info import PathInfo
    from anicca.store.interface import Store
    from anicca.store.path import StorePath
    from anicca.store.signature import PublicKey


def trusted(info: PathInfo, keys: Mapping[str, PublicKey] | None) -> bool:
    """Whether an object may be taken from elsewhere: signed by one of `keys`, or named by its content. None: any."""
    if keys is None or is_content_addressed(info):
        return True
    from anicca.store.signature import good_signatures  # noqa: PLC0415 (slow import)

    return bool(good_signatures(info, keys))


def copy(
    source: Store,
    destination: Store,
    paths: Iterable[StorePath],
    *,
    keys: Mapping[str, PublicKey] | None = None,
    recursive: bool = True,
    jobs: int = 2,
    report: Report = ignore,
) -> list[StorePath]:
    """Copy `paths` with all they refer to; what was sent, sorted.

    With `keys`, each object must be signed by one of them or be named by its content. AniccaError otherwise, and
    where an object is damaged: it then does not spread.
    """
    infos = _missing(source, destination, paths, recursive=recursive)
    missing = sorted(infos)
    for path in missing:
        if not trusted(infos[path], keys):
            raise AniccaError(
                f"{path}: lacks a signature by a trusted key",
                hint="give the key with --trusted-key, or --no-check-signatures if you know where it comes from",
            )
    total = sum(i.nar_size for i in infos.values())
    report(Started(task="copy", total=total, unit="B"))
    sent = 0

    def work(path: StorePath) -> None:
        destination.add_nar(replace(infos[path], ultimate=False, registration_time=0), source.nar(path))

    def done(path: StorePath, _count: int) -> None:
        nonlocal sent
        sent += infos[path].nar_size
        report(Advanced(task="copy", done=sent, note=path.name))

    run_in_order({p: infos[p].references for p in missing}, work, jobs=jobs, done=done)
    report(Finished(task="copy"))
    return missing


def _missing(
    source: Store, destination: Store, paths: Iterable[StorePath], *, recursive: bool
) -> dict[StorePath, PathInfo]:
    """What the destination lacks of `paths` and, if `recursive`, of all they refer to; it has what its objects need."""
    infos: dict[StorePath, PathInfo] = {}
    level = set(paths)
    while level:
        if isinstance(destination, LocalStore):
            destination.protect(level)
        level -= destination.valid(level)
        found = source.infos(sorted(level))
        for path in sorted(level):
            if path not in found:
                raise AniccaError(f"{path}: not in the store that it is to be copied from")
        infos.update(found)
        level = {r for info in found.values() for r in info.references} - infos.keys() if recursive else set()
    return infos


def substitute(
    store: LocalStore,
    caches: Sequence[BinaryCache],
    paths: Iterable[StorePath],
    *,
    keys: Mapping[str, PublicKey] | None,
    jobs: int = 4,
    report: Report = ignore,
) -> set[StorePath]:
    """Fetch those of `paths` that some cache has, with all they refer to; which of `paths` are valid now.

    Caches are asked in order. One that cannot be reached, has no trusted signature or sends something damaged is
    reported, and the next is asked.
    """
    wanted = set(paths)
    left = wanted - store.valid(wanted)
    for cache in caches:
        if not left:
            break
        try:
            has = cache.valid(left)
        except AniccaError as error:
            report(Notice(text=f"{cache.url}: not used: {error}", warning=True))
            continue
        try:
            copy(cache, store, has, keys=keys, jobs=jobs, report=report)
        except AniccaError:
            # One bad object must not keep us from the others.
            for path in sorted(has - store.valid(has)):
                try:
                    copy(cache, store, (path,), keys=keys, jobs=jobs, report=report)
                except AniccaError as error:
                    report(Notice(text=f"{path}: not taken from {cache.url}: {error}", warning=True))
        left -= store.valid(left)
    return wanted - left
