"""Replacing damaged objects by good ones: from a binary cache, or by building them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca import fs
from anicca.errors import AniccaError
from anicca.events import Notice, ignore
from anicca.store import locks
from anicca.store.canonical import canonicalise
from anicca.store.verify import damage_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from anicca.events import Report
    from anicca.store.cache import BinaryCache
    from anicca.store.context import Builtin
    from anicca.store.info import PathInfo
    from anicca.store.local import LocalStore
    from anicca.store.path import StorePath


def repair(
    store: LocalStore,
    path: StorePath,
    *,
    caches: Sequence[BinaryCache] = (),
    builders: Mapping[str, Builtin] | None = None,
    report: Report = ignore,
) -> None:
    """Make a valid object what it was when it was registered. Nothing happens if it is.

    A cache's object needs no signature if its hash is the registered one, which it must be. AniccaError if no cache
    has it and it cannot be built again with the same result.
    """
    store.protect((path,))
    info = store.info(path)
    if damage_of(store, info) is None:
        return
    for cache in caches:
        try:
            found = cache.find(path)
            if found is None or found.info.nar_hash != info.nar_hash:
                continue
            with store.scratch() as directory:
                from anicca.store.nar_restore import restore  # noqa: PLC0415 (where used)

                restore(cache.nar(path), directory / path.basename)
                replace_object(store, info, directory / path.basename)
        except AniccaError as error:
            report(Notice(text=f"{path}: not repaired from {cache.url}: {error}", warning=True))
        else:
            return
    if info.deriver is None or not store.is_valid(info.deriver):
        raise AniccaError(f"{path}: damaged, in no cache that was given, and cannot be built again")
    from anicca.store.build import load, rebuild  # noqa: PLC0415 (where used)

    rebuild(store, load(store, [info.deriver])[0], repair=path, builders=builders, report=report)


def replace_object(store: LocalStore, info: PathInfo, staged: Path) -> None:
    """Put a tree of the workspace in the place of a valid object; AniccaError unless it is what is registered."""
    seen = canonicalise(staged)
    if seen.nar_hash != info.nar_hash:
        raise AniccaError(f"{info.path}: the replacement has hash {seen.nar_hash} instead of {info.nar_hash}")
    with locks.path_locks([store.physical(info.path)]):
        store.put_in_place(staged, info.path)
    fs.sync_directory(store.store_dir)
