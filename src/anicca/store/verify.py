"""Checking a store: every registered object is there, and is what it was when it was registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.events import Advanced, Finished, Started, ignore
from anicca.store.nar import hash_path

if TYPE_CHECKING:
    from anicca.events import Report
    from anicca.store.local import LocalStore
    from anicca.store.path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something wrong with the store. `path` is the object, None if it is the database itself."""

    path: StorePath | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.path is None else f"{self.path}: {self.reason}"


def verify(store: LocalStore, *, check_contents: bool = False, report: Report = ignore) -> list[Damage]:
    """All that is wrong; nothing is changed. `check_contents` hashes every object again."""
    db = store.reading()
    if db is None:
        return []
    found = [Damage(path=None, reason=f"the database: {text}") for text in db.check()]
    infos = db.infos()
    report(Started(task="verify", total=len(infos), unit="objects"))
    for done, (path, info) in enumerate(sorted(infos.items()), 1):
        lying = store.physical(path)
        if not lying.is_symlink() and not lying.exists():
            found.append(Damage(path=path, reason="is registered, but not there"))
        elif check_contents:
            try:
                nar_hash, size = hash_path(lying)
            except (OSError, AniccaError) as error:
                found.append(Damage(path=path, reason=f"cannot be read: {error}"))
            else:
                if nar_hash != info.nar_hash:
                    found.append(Damage(path=path, reason=f"was modified: hash {info.nar_hash}, now {nar_hash}"))
                elif info.nar_size and size != info.nar_size:
                    found.append(Damage(path=path, reason=f"has {size} bytes, registered are {info.nar_size}"))
        report(Advanced(task="verify", done=done))
    report(Finished(task="verify"))
    return found
