"""Writing NARs: the archive that a store object's hash is taken of (nix `nix-archive/index.md`).

Strings are a 64-bit little-endian length, the bytes, and zeros up to a multiple of 8. A tree has one NAR: entries in
byte order, no times, no owners, one bit of mode. Reading is in `nar_reader`, laying out on disk in `nar_restore`.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.store.hashes import Hash, hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from anicca.store.nar_reader import Listing

CHUNK_BYTES = 1 << 18


def _string(raw: bytes) -> bytes:
    return len(raw).to_bytes(8, "little") + raw + bytes(-len(raw) % 8)


MAGIC = _string(b"nix-archive-1")
_OPEN = _string(b"(")
_CLOSE = _string(b")")
_REGULAR = _OPEN + _string(b"type") + _string(b"regular") + _string(b"contents")
_EXECUTABLE = (
    _OPEN + _string(b"type") + _string(b"regular") + _string(b"executable") + _string(b"") + _string(b"contents")
)
_SYMLINK = _OPEN + _string(b"type") + _string(b"symlink") + _string(b"target")
_DIRECTORY = _OPEN + _string(b"type") + _string(b"directory")
_ENTRY = _string(b"entry") + _OPEN + _string(b"name")
_NODE = _string(b"node")


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
            parts += [_EXECUTABLE if node.executable else _REGULAR, _string(node.content), _CLOSE]
        case Symlink():
            parts += [_SYMLINK, _string(node.target), _CLOSE]
        case Directory():
            parts.append(_DIRECTORY)
            for name, child in sorted(node.entries.items()):
                parts += [_ENTRY, _string(name), _NODE]
                _put(child, parts)
                parts.append(_CLOSE)
            parts.append(_CLOSE)


def dump(
    path: Path,
    *,
    visit: Callable[[bytes, os.stat_result], None] | None = None,
    keep: Callable[[bytes, os.stat_result], bool] | None = None,
) -> Iterator[bytes]:
    """The NAR of a tree on disk, in chunks of some hundred KiB.

    `visit` is called for each entry before it is read, a directory before its children, with its path and status:
    the way for canonical metadata to be set in the same walk. `keep` says of each entry below the top whether it is
    part of the NAR. Raises AniccaError on anything that is not a file, a directory or a link, and on a file that
    changes its size meanwhile.
    """
    yield from _Dump(visit, keep).chunks(os.fsencode(path))


class _Dump:
    """One walk: small pieces are gathered so that consumers see few large chunks."""

    def __init__(
        self,
        visit: Callable[[bytes, os.stat_result], None] | None,
        keep: Callable[[bytes, os.stat_result], bool] | None,
    ) -> None:
        self._visit = visit
        self._keep = keep
        self._parts: list[bytes] = [MAGIC]
        self._size = 0

    def chunks(self, path: bytes) -> Iterator[bytes]:
        yield from self._walk(path, os.lstat(path))
        yield b"".join(self._parts)

    def _flush(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return whole

    def _walk(self, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        mode = status.st_mode
        parts = self._parts
        if self._visit is not None:
            self._visit(path, status)
        if stat.S_ISREG(mode):
            yield from self._file(path, status)
        elif stat.S_ISDIR(mode):
            parts.append(_DIRECTORY)
            names = os.listdir(path)  # noqa: PTH208 (bytes, in the walk's inner loop)
            names.sort()
            for name in names:
                child = path + b"/" + name
                seen = os.lstat(child)
                if self._keep is not None and not self._keep(child, seen):
                    continue
                parts += (_ENTRY, _string(name), _NODE)
                self._size += 128
                yield from self._walk(child, seen)
                parts.append(_CLOSE)
            parts.append(_CLOSE)
        elif stat.S_ISLNK(mode):
            parts += (_SYMLINK, _string(os.readlink(path)), _CLOSE)  # noqa: PTH115 (bytes)
        else:
            raise AniccaError(
                f"{os.fsdecode(path)}: {_kind(mode)} cannot be a store object",
                hint="the store holds regular files, directories and symbolic links",
            )
        if self._size >= CHUNK_BYTES:
            yield self._flush()

    def _file(self, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        size = status.st_size
        parts = self._parts
        parts.append(_EXECUTABLE if status.st_mode & stat.S_IXUSR else _REGULAR)
        parts.append(size.to_bytes(8, "little"))
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            left = size
            while left:
                chunk = os.read(fd, min(left, CHUNK_BYTES))
                if not chunk:
                    raise AniccaError(f"{os.fsdecode(path)}: shrank while it was read")
                left -= len(chunk)
                parts.append(chunk)
                self._size += len(chunk)
                if self._size >= CHUNK_BYTES:
                    yield self._flush()
        finally:
            os.close(fd)
        if size % 8:
            parts.append(bytes(-size % 8))
        parts.append(_CLOSE)


def _kind(mode: int) -> str:
    """What a person calls a file of this mode."""
    if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
        return "a device node"
    return "a socket" if stat.S_ISSOCK(mode) else "a pipe"


def hash_path(
    path: Path,
    algorithm: str = "sha256",
    *,
    keep: Callable[[bytes, os.stat_result], bool] | None = None,
) -> tuple[Hash, int]:
    """The hash and the size in bytes of a tree's NAR."""
    state = hasher(algorithm)
    size = 0
    for chunk in dump(path, keep=keep):
        state.update(chunk)
        size += len(chunk)
    return Hash(algorithm, state.digest()), size


def restore(stream: Iterator[bytes], destination: Path) -> None:
    """Lay a NAR out at `destination`, which must not exist. See `nar_restore.restore`."""
    from anicca.store.nar_restore import restore as lay_out  # noqa: PLC0415 (writing needs no reader)

    lay_out(stream, destination)


def listing(stream: Iterator[bytes]) -> Listing:
    """What a NAR holds, with the offset of each file's contents. See `nar_reader.listing`."""
    from anicca.store.nar_reader import listing as read  # noqa: PLC0415 (writing needs no reader)

    return read(stream)
