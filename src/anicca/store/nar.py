"""Writing NARs: the archive that a store object's hash is taken of (nix `nix-archive/index.md`).

Strings are a 64-bit little-endian length, the bytes, and zeros up to a multiple of 8. A tree has one NAR: entries in
byte order, no times, no owners, one bit of mode. The walk over a tree is in `nar_fill`, reading in `nar_reader`, laying
out on disk in `nar_restore`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.events import Advanced, Finished, Started
from anicca.store import nar_fill
from anicca.store.hashes import Hash
from anicca.store.nar_fill import CLOSE, DIRECTORY, ENTRY, EXECUTABLE, MAGIC, NODE, REGULAR, SYMLINK, string

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import TypeVar

    from anicca.events import Report
    from anicca.store.nar_reader import Listing

    Chunk = TypeVar("Chunk", bytes, memoryview)


@dataclass(frozen=True, slots=True)
class File:
    """A regular file in memory."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link in memory."""

    target: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory in memory, entries by name."""

    entries: Mapping[bytes, Node]


Node = File | Symlink | Directory


def dump_bytes(node: Node) -> bytes:
    """The NAR of a tree in memory."""
    parts = [MAGIC]
    _put(node, parts)
    return b"".join(parts)


def _put(node: Node, parts: list[bytes]) -> None:
    match node:
        case File():
            parts += [EXECUTABLE if node.executable else REGULAR, string(node.content), CLOSE]
        case Symlink():
            parts += [SYMLINK, string(node.target), CLOSE]
        case Directory():
            parts.append(DIRECTORY)
            for name, child in sorted(node.entries.items()):
                parts += [ENTRY, string(name), NODE]
                _put(child, parts)
                parts.append(CLOSE)
            parts.append(CLOSE)


def dump(
    path: Path | bytes,
    *,
    visit: Callable[[bytes, os.stat_result], None] | None = None,
    keep: Callable[[bytes, os.stat_result], bool] | None = None,
) -> Iterator[bytes]:
    """The NAR of a tree on disk, in chunks of up to a MiB.

    `visit` is called for each entry before it is read, a directory before its children, with its path and status:
    the way for canonical metadata to be set in the same walk. `keep` says of each entry below the top whether it is
    part of the NAR. Raises AniccaError on anything that is not a file, a directory or a link, and on a file that
    shrinks meanwhile.
    """
    for view in nar_fill.fill(path, visit=visit, keep=keep):
        chunk = bytes(view)
        nar_fill.give(view)
        yield chunk


def hash_path(
    path: Path | bytes,
    algorithm: str = "sha256",
    *,
    keep: Callable[[bytes, os.stat_result], bool] | None = None,
) -> tuple[Hash, int]:
    """The hash and the size in bytes of a tree's NAR."""
    return hash_views(nar_fill.fill(path, keep=keep), algorithm)


def hash_views(views: Iterator[memoryview], algorithm: str = "sha256") -> tuple[Hash, int]:
    """The hash and the size in bytes of what `nar_fill.fill` gives; the views are given back."""
    digest, size = nar_fill.digest(views, algorithm)
    return Hash(algorithm, digest), size


def watched(chunks: Iterator[Chunk], task: str, report: Report) -> Iterator[Chunk]:
    """The same chunks, while `report` is told how many bytes came."""
    report(Started(task=task, unit="B"))
    size = 0
    for chunk in chunks:
        size += len(chunk)
        yield chunk
        report(Advanced(task=task, done=size))
    report(Finished(task=task))


def restore(stream: Iterator[bytes], destination: Path) -> None:
    """Lay a NAR out at `destination`, which must not exist. See `nar_restore.restore`."""
    from anicca.store.nar_restore import restore as lay_out  # noqa: PLC0415 (writing needs no reader)

    lay_out(stream, destination)


def listing(stream: Iterator[bytes]) -> Listing:
    """What a NAR holds, with the offset of each file's contents. See `nar_reader.listing`."""
    from anicca.store.nar_reader import listing as read  # noqa: PLC0415 (writing needs no reader)

    return read(stream)
