"""Checking a store: every registered object is there, and is what it was when it was registered."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca import fs
from anicca.errors import AniccaError
from anicca.events import Advanced, Finished, Started, ignore
from anicca.store.nar import hash_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anicca.events import Report
    from anicca.store.info import PathInfo
    from anicca.store.local import LocalStore
    from anicca.store.path import StorePath
    from anicca.store.signature import PublicKey

_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something wrong with the store. `path` is the object, None if it is the database itself."""

    path: StorePath | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.path is None else f"{self.path}: {self.reason}"


def verify(store: LocalStore, *, check_contents: bool = False, report: Report = ignore) -> list[Damage]:
    """All that is wrong; nothing is changed. `check_contents` hashes every object, and checks the database, again."""
    db = store.reading()
    if db is None:
        return []
    paths = store.all_valid()
    report(Started(task="verify", total=len(paths), unit="objects"))
    there = set(os.listdir(store.store_dir)) if store.store_dir.is_dir() else set()  # noqa: PTH208 (names)
    found = [Damage(path=p, reason="is registered, but not there") for p in paths if p.basename not in there]
    if check_contents:
        found += [Damage(path=None, reason=f"the database: {text}") for text in db.check()]
        infos = [info for path, info in sorted(db.infos().items()) if path.basename in there]
        for first in range(0, len(infos), _BATCH):
            batch = infos[first : first + _BATCH]
            found += [d for d in fs.in_two(lambda info: damage_of(store, info), batch) if d is not None]
            report(Advanced(task="verify", done=first + len(batch)))
    report(Finished(task="verify"))
    return found


def damage_of(store: LocalStore, info: PathInfo) -> Damage | None:
    """What is wrong with one valid object; None if nothing is."""
    lying = store.physical(info.path)
    if not lying.is_symlink() and not lying.exists():
        return Damage(path=info.path, reason="is registered, but not there")
    try:
        nar_hash, size = hash_path(lying)
    except (OSError, AniccaError) as error:
        return Damage(path=info.path, reason=f"cannot be read: {error}")
    if nar_hash != info.nar_hash:
        return Damage(path=info.path, reason=f"was modified: hash {info.nar_hash}, now {nar_hash}")
    if info.nar_size and size != info.nar_size:
        return Damage(path=info.path, reason=f"has {size} bytes, registered are {info.nar_size}")
    return None


def unsigned(infos: Iterable[PathInfo], keys: Mapping[str, PublicKey]) -> list[Damage]:
    """Those objects that none of `keys` signed and that are not named by their content."""
    from anicca.store.copying import trusted  # noqa: PLC0415 (where asked for)

    return [Damage(path=i.path, reason="lacks a signature by a trusted key") for i in infos if not trusted(i, keys)]
