"""The compressions of binary caches, as streams: bounded memory whatever the bytes are."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, cast

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MEMORY_BYTES = 100 << 20
_PIECE_BYTES = 1 << 18


def compress(method: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks compressed. AniccaError on a method that is not known."""
    if method == "none":
        yield from chunks
        return
    feed, finish = _compressor(method)
    for chunk in chunks:
        if out := feed(chunk):
            yield out
    yield finish()


def _compressor(method: str) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    # Each library is imported where it is used: none is needed by most runs.
    if method == "xz":
        import lzma  # noqa: PLC0415

        xz = lzma.LZMACompressor()
        return xz.compress, xz.flush
    if method == "bzip2":
        import bz2  # noqa: PLC0415

        bzip2 = bz2.BZ2Compressor()
        return bzip2.compress, bzip2.flush
    if method == "zstd":
        import zstandard  # noqa: PLC0415

        zstd = zstandard.ZstdCompressor().compressobj()
        return zstd.compress, zstd.flush
    raise AniccaError(f"{method!r}: not a compression that can be written", hint="none, xz, bzip2 or zstd")


def decompress(method: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks as they were before. AniccaError on damage, on an early end, on a method that is not known."""
    if method in ("none", ""):
        yield from chunks
    elif method == "zstd":
        yield from _zstd(chunks)
    elif method in ("xz", "bzip2", "gzip"):
        yield from _bounded(method, chunks)
    else:
        raise AniccaError(f"{method!r}: not a compression that can be read", hint="none, xz, bzip2, zstd or gzip")


def _zstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415 (see `_compressor`)

    pieces = zstandard.ZstdDecompressor(max_window_size=_MEMORY_BYTES).stream_reader(
        cast("IO[bytes]", _File(chunks)), read_across_frames=True
    )
    try:
        while piece := pieces.read(_PIECE_BYTES):
            yield piece
    except zstandard.ZstdError as error:
        raise AniccaError(f"damaged zstd data: {error}") from error


class _File:
    """An iterator of chunks with the one method of a file that zstandard wants."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`."""
        if not self._rest:
            self._rest = next(self._chunks, b"")
        piece = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(piece) :]
        return piece


def _bounded(method: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The standard library's decompressors, never asked for more than a piece at a time."""
    import bz2  # noqa: PLC0415 (see `_compressor`)
    import lzma  # noqa: PLC0415

    if method == "gzip":
        yield from _gzip(chunks)
        return

    def fresh() -> lzma.LZMADecompressor | bz2.BZ2Decompressor:
        return lzma.LZMADecompressor(memlimit=_MEMORY_BYTES) if method == "xz" else bz2.BZ2Decompressor()

    state = fresh()
    try:
        for chunk in chunks:
            rest = chunk
            while rest or not (state.eof or state.needs_input):
                if state.eof:
                    state = fresh()
                if piece := state.decompress(rest, _PIECE_BYTES):
                    yield piece
                rest = state.unused_data if state.eof else b""
    except (lzma.LZMAError, OSError, EOFError) as error:
        raise AniccaError(f"damaged {method} data: {error}") from error
    if not state.eof:
        raise AniccaError(f"damaged {method} data: it ends early")


def _gzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zlib  # noqa: PLC0415 (see `_compressor`)

    state = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if piece := state.decompress(rest, _PIECE_BYTES):
                    yield piece
                rest = state.unconsumed_tail
                if state.eof:
                    return
    except zlib.error as error:
        raise AniccaError(f"damaged gzip data: {error}") from error
    if not state.eof:
        raise AniccaError("damaged gzip data: it ends early")
