"""Reading NARs: a stream of bytes becomes a stream of events; all that Nix refuses is refused, with the offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NAME_BYTES = 255
MAX_TARGET_BYTES = 4095
MAX_DEPTH = 256
"""Deeper trees than this are refused: paths on disk end at 4096 bytes anyway."""
_MAX_TOKEN_BYTES = 4096


class NarError(AniccaError):
    """Bytes that are no NAR. `offset` is where the offending string begins."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"not a valid NAR: {reason} at offset {offset}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class RegularStart:
    """A file's contents follow as `Chunk`s, `size_bytes` in all, from `offset` of the NAR."""

    path: tuple[bytes, ...]
    executable: bool
    size_bytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next bytes of the file begun last."""

    content: bytes


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """A symbolic link."""

    path: tuple[bytes, ...]
    target: bytes


@dataclass(frozen=True, slots=True)
class DirectoryStart:
    """A directory; its entries follow until its `DirectoryEnd`."""

    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DirectoryEnd:
    """The directory begun last and not yet ended has no more entries."""

    path: tuple[bytes, ...]


NarEvent = RegularStart | Chunk | LinkSeen | DirectoryStart | DirectoryEnd


class ByteReader:
    """Exact reads from an iterator of chunks, with the offset kept. What is left over can be read on."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._at = 0
        self.offset = 0

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes; NarError if the stream ends before."""
        at, buffer = self._at, self._buffer
        if len(buffer) - at >= size:
            self._at = at + size
            self.offset += size
            return buffer[at : at + size]
        parts = [buffer[at:]]
        have = len(buffer) - at
        while have < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise NarError(self.offset, "the stream ends early")
            parts.append(chunk)
            have += len(chunk)
        self._buffer = b"".join(parts)
        self._at = size
        self.offset += size
        return self._buffer[:size]

    def some(self, limit: int) -> bytes:
        """At least one and at most `limit` bytes; nothing at the end of the stream."""
        while self._at == len(self._buffer):
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._buffer, self._at = chunk, 0
        piece = self._buffer[self._at : self._at + limit]
        self._at += len(piece)
        self.offset += len(piece)
        return piece

    def number(self) -> int:
        """A 64-bit little-endian number."""
        return int.from_bytes(self.exactly(8), "little")

    def string(self, limit: int = _MAX_TOKEN_BYTES) -> bytes:
        """A padded string of at most `limit` bytes."""
        start = self.offset
        size = self.number()
        if size > limit:
            raise NarError(start, f"a string of {size} bytes where at most {limit} are allowed")
        raw = self.exactly(size + -size % 8)
        if raw[size:].strip(b"\0"):
            raise NarError(start, "padding that is not zero")
        return raw[:size]

    def expect(self, token: bytes) -> None:
        """Read the string `token`, or raise NarError."""
        start = self.offset
        found = self.string()
        if found != token:
            raise NarError(start, f"{found[:40]!r} where {token!r} was expected")


def read_nar(reader: ByteReader) -> Iterator[NarEvent]:
    """The events of the NAR that begins at the reader's position; leaves the reader just after it."""
    reader.expect(b"nix-archive-1")
    yield from _node(reader, ())


def parse(chunks: Iterator[bytes]) -> Iterator[NarEvent]:
    """The events of a NAR that is the whole of `chunks`; raises NarError on anything after it."""
    reader = ByteReader(chunks)
    yield from read_nar(reader)
    if reader.some(1):
        raise NarError(reader.offset - 1, "bytes after the end")


def _node(reader: ByteReader, path: tuple[bytes, ...]) -> Iterator[NarEvent]:
    if len(path) > MAX_DEPTH:
        raise NarError(reader.offset, f"more than {MAX_DEPTH} directories deep")
    reader.expect(b"(")
    reader.expect(b"type")
    start = reader.offset
    kind = reader.string()
    if kind == b"regular":
        yield from _regular(reader, path)
    elif kind == b"symlink":
        reader.expect(b"target")
        start = reader.offset
        target = reader.string(MAX_TARGET_BYTES)
        if not target or b"\0" in target:
            raise NarError(start, "a link whose target is empty or has a NUL")
        yield LinkSeen(path, target)
        reader.expect(b")")
    elif kind == b"directory":
        yield DirectoryStart(path)
        yield from _entries(reader, path)
        yield DirectoryEnd(path)
    else:
        raise NarError(start, f"a node of type {kind[:40]!r}")


def _regular(reader: ByteReader, path: tuple[bytes, ...]) -> Iterator[NarEvent]:
    start = reader.offset
    token = reader.string()
    executable = token == b"executable"
    if executable:
        reader.expect(b"")
        start = reader.offset
        token = reader.string()
    if token == b")":
        # Nix writes contents always, but reads files without.
        yield RegularStart(path, executable, 0, reader.offset)
        return
    if token != b"contents":
        raise NarError(start, f"{token[:40]!r} where 'contents' was expected")
    size = reader.number()
    yield RegularStart(path, executable, size, reader.offset)
    left = size
    while left:
        piece = reader.some(left)
        if not piece:
            raise NarError(reader.offset, "the stream ends early")
        left -= len(piece)
        yield Chunk(piece)
    start = reader.offset
    if reader.exactly(-size % 8).strip(b"\0"):
        raise NarError(start, "padding that is not zero")
    reader.expect(b")")


def _entries(reader: ByteReader, path: tuple[bytes, ...]) -> Iterator[NarEvent]:
    last = b""
    while True:
        start = reader.offset
        token = reader.string()
        if token == b")":
            return
        if token != b"entry":
            raise NarError(start, f"{token[:40]!r} where 'entry' was expected")
        reader.expect(b"(")
        reader.expect(b"name")
        start = reader.offset
        name = reader.string(MAX_NAME_BYTES)
        if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
            raise NarError(start, f"{name!r} cannot be a file's name")
        if name <= last:
            raise NarError(start, f"{name!r} after {last!r}: entries are not sorted, or twice there")
        last = name
        reader.expect(b"node")
        yield from _node(reader, (*path, name))
        reader.expect(b")")


Listing = dict[str, "str | int | bool | dict[str, Listing]"]
"""A tree as `.ls` files hold it: type, size, executable, narOffset, target, entries."""


def listing(chunks: Iterator[bytes]) -> Listing:  # noqa: C901 (a match over five events)
    """The listing of a NAR, as binary caches serve it under `root` of a `.ls` file."""
    top: Listing = {}
    stack: list[dict[str, Listing]] = []

    def place(path: tuple[bytes, ...], node: Listing) -> None:
        if path:
            stack[-1][path[-1].decode("utf-8", "surrogateescape")] = node
        else:
            top.update(node)

    for event in parse(chunks):
        match event:
            case RegularStart():
                node: Listing = {"type": "regular", "size": event.size_bytes}
                if event.executable:
                    node["executable"] = True
                if event.size_bytes:
                    node["narOffset"] = event.offset
                place(event.path, node)
            case LinkSeen():
                place(event.path, {"type": "symlink", "target": event.target.decode("utf-8", "surrogateescape")})
            case DirectoryStart():
                entries: dict[str, Listing] = {}
                place(event.path, {"type": "directory", "entries": entries})
                stack.append(entries)
            case DirectoryEnd():
                stack.pop()
            case Chunk():
                pass
    return top
