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
from anicca.store.hashes import Hash, hash_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from anicca.store.nar_reader import Listing

CHUNK_BYTES = 1 << 18
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


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


def dump(  # noqa: C901, PLR0915 (one loop without calls: it runs once for each of many thousand files)
    path: Path | bytes,
    *,
    visit: Callable[[bytes, os.stat_result], None] | None = None,
    keep: Callable[[bytes, os.stat_result], bool] | None = None,
    copy: Callable[[bytes, os.stat_result], int] | None = None,
) -> Iterator[bytes]:
    """The NAR of a tree on disk, in chunks of some hundred KiB.

    `visit` is called for each entry before it is read, a directory before its children, with its path and status:
    the way for canonical metadata to be set in the same walk. `keep` says of each entry below the top whether it is
    part of the NAR. `copy` gives for each file a descriptor to which its contents are written as well, and which is
    closed. Raises AniccaError on anything that is not a file, a directory or a link, and on a file that
    changes its size meanwhile.
    """
    parts: list[bytes] = [MAGIC]
    gathered = 0
    # What is still to be written, last first: a node (what goes before it, its path) or a text.
    todo: list[tuple[bytes, bytes] | bytes] = [(b"", os.fsencode(path))]
    while todo:
        item = todo.pop()
        if isinstance(item, bytes):
            parts.append(item)
            continue
        before, current = item
        status = os.lstat(current)
        if keep is not None and before and not keep(current, status):
            todo.pop()
            continue
        mode = status.st_mode
        if visit is not None:
            visit(current, status)
        parts.append(before)
        gathered += 200
        if stat.S_ISREG(mode):
            size = status.st_size
            parts.append((_EXECUTABLE if mode & stat.S_IXUSR else _REGULAR) + size.to_bytes(8, "little"))
            fd = os.open(current, _READ)
            out = -1
            try:
                if copy is not None:
                    out = copy(current, status)
                left = size
                while left:
                    chunk = os.read(fd, min(CHUNK_BYTES, left))
                    if not chunk:
                        raise AniccaError(f"{os.fsdecode(current)}: shrank while it was read")
                    left -= len(chunk)
                    parts.append(chunk)
                    gathered += len(chunk)
                    if out >= 0:
                        _write(out, chunk)
                    if gathered >= CHUNK_BYTES:
                        yield b"".join(parts)
                        parts.clear()
                        gathered = 0
            finally:
                os.close(fd)
                if out >= 0:
                    os.close(out)
            parts.append(bytes(-size % 8) + _CLOSE)
        elif stat.S_ISDIR(mode):
            parts.append(_DIRECTORY)
            todo.append(_CLOSE)
            for name in sorted(os.listdir(current), reverse=True):  # noqa: PTH208 (bytes, in the inner loop)
                todo += (_CLOSE, (_ENTRY + _string(name) + _NODE, current + b"/" + name))
        elif stat.S_ISLNK(mode):
            parts += (_SYMLINK, _string(os.readlink(current)), _CLOSE)  # noqa: PTH115 (bytes)
        else:
            raise refused(current, mode)
        if gathered >= CHUNK_BYTES:
            yield b"".join(parts)
            parts.clear()
            gathered = 0
    yield b"".join(parts)


def _write(fd: int, chunk: bytes) -> None:
    """Write all of it."""
    written = os.write(fd, chunk)
    while written < len(chunk):
        chunk = chunk[written:]
        written = os.write(fd, chunk)


def refused(path: bytes, mode: int) -> AniccaError:
    """Why a device, a socket or a pipe cannot be a store object."""
    return AniccaError(
        f"{os.fsdecode(path)}: {_kind(mode)} cannot be a store object",
        hint="the store holds regular files, directories and symbolic links",
    )


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
    return hash_stream(dump(path, keep=keep), algorithm)


def hash_stream(chunks: Iterator[bytes], algorithm: str = "sha256") -> tuple[Hash, int]:
    """The hash and the size in bytes of chunks."""
    size = 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            size += len(chunk)
            yield chunk

    digest = hash_chunks(counted(), algorithm)
    return digest, size


def restore(stream: Iterator[bytes], destination: Path) -> None:
    """Lay a NAR out at `destination`, which must not exist. See `nar_restore.restore`."""
    from anicca.store.nar_restore import restore as lay_out  # noqa: PLC0415 (writing needs no reader)

    lay_out(stream, destination)


def listing(stream: Iterator[bytes]) -> Listing:
    """What a NAR holds, with the offset of each file's contents. See `nar_reader.listing`."""
    from anicca.store.nar_reader import listing as read  # noqa: PLC0415 (writing needs no reader)

    return read(stream)
