"""What every store can do, be it local or a binary cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from anicca.store.info import PathInfo
    from anicca.store.path import StorePath


class Store(Protocol):
    """Objects by path: asked about, read, added."""

    def is_valid(self, path: StorePath) -> bool:
        """Whether the store has the object, whole."""
        ...

    def valid(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """Those of `paths` that the store has."""
        ...

    def info(self, path: StorePath) -> PathInfo:
        """What is known of an object. AniccaError if the store has none."""
        ...

    def infos(self, paths: Collection[StorePath]) -> Mapping[StorePath, PathInfo]:
        """What is known of those of `paths` that the store has."""
        ...

    def closure(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """`paths` and all that they refer to. AniccaError if one is missing."""
        ...

    def nar(self, path: StorePath) -> Iterator[bytes]:
        """An object's NAR."""
        ...

    def add_nar(self, info: PathInfo, chunks: Iterator[bytes]) -> None:
        """Add an object from its NAR. AniccaError unless it is what `info` says."""
        ...
