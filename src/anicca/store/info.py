"""What is known of a valid store object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anicca.store.hashes import Hash
    from anicca.store.path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class PathInfo:
    """A valid object: its NAR, what it refers to (itself too, where it does), where it came from."""

    path: StorePath
    nar_hash: Hash
    nar_size: int
    references: frozenset[StorePath] = frozenset()
    deriver: StorePath | None = None
    registration_time: int = 0
    """Seconds since 1970, UTC."""
    ultimate: bool = False
    """Built here, so trusted without a signature."""
    signatures: tuple[str, ...] = ()
    content_address: str | None = None

    @property
    def fingerprint(self) -> str:
        """What a signature is over (nix `path-info.cc`)."""
        references = ",".join(map(str, sorted(self.references)))
        return f"1;{self.path};{self.nar_hash};{self.nar_size};{references}"
