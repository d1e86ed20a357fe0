"""Reading an EROFS image whose files are not compressed: what the images of a system are (kernel `erofs_fs.h`).

For looking into another generation's /etc without mounting it, as anyone, on hosts that have no erofs-utils. It only
reads: making images is mkfs.erofs's.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = 0xE0F5E1E2
SUPERBLOCK_OFFSET = 1024
UNREADABLE_FEATURES = ~0x5F
"""Incompatible features past the known ones; those of compression are found at each inode."""
FLAT_PLAIN, FLAT_INLINE = 0, 2
NO_BLOCK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEntry:
    """A path of an image: its `st_mode`, owner, and a regular file's content or a link's target."""

    path: str
    mode: int
    uid: int
    gid: int
    content: bytes = b""

    @property
    def kind(self) -> str:
        """One of file, directory, symlink, other."""
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
        return kinds.get(stat.S_IFMT(self.mode), "other")


def read_image(image: bytes) -> Iterator[ImageEntry]:
    """Every path of the image, "/" first, the names of a directory in order.

    Raises `AniccaError` if it is no such image, is cut short or is made in a way that is not known here.
    """
    try:
        reader = _Reader(image)
        yield from reader.walk("/", reader.root_nid)
    except (struct.error, IndexError, OverflowError) as error:
        raise AniccaError("a damaged EROFS image", detail=str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inode:
    mode: int
    uid: int
    gid: int
    size: int
    layout: int
    block: int
    inline_at: int


class _Reader:
    """Offsets in one image."""

    def __init__(self, image: bytes) -> None:
        magic, _checksum, _compatible, bits = struct.unpack_from("<IIIB", image, SUPERBLOCK_OFFSET)
        if magic != MAGIC or not 9 <= bits <= 16:  # noqa: PLR2004 (the sizes of blocks that there are)
            raise AniccaError("not an EROFS image")
        (self.root_nid,) = struct.unpack_from("<H", image, SUPERBLOCK_OFFSET + 14)
        (meta,) = struct.unpack_from("<I", image, SUPERBLOCK_OFFSET + 40)
        (incompatible,) = struct.unpack_from("<I", image, SUPERBLOCK_OFFSET + 80)
        if incompatible & UNREADABLE_FEATURES:
            raise AniccaError(f"an EROFS image with features {incompatible:#x} that are not known here")
        self._image = image
        self._block_bytes = 1 << bits
        self._meta_at = meta << bits
        self._passed: set[int] = set()

    def walk(self, path: str, nid: int) -> Iterator[ImageEntry]:
        """The entry at `nid`, then what is below it."""
        inode = self._inode(nid)
        directory = stat.S_ISDIR(inode.mode)
        if directory and nid in self._passed:
            raise AniccaError(f"a damaged EROFS image: {path} is a directory that was there before")
        self._passed.add(nid)
        holds = stat.S_ISREG(inode.mode) or stat.S_ISLNK(inode.mode)
        content = self._content(inode, path) if holds or directory else b""
        yield ImageEntry(
            path=path, mode=inode.mode, uid=inode.uid, gid=inode.gid, content=b"" if directory else content
        )
        if directory:
            for name, child in sorted(self._names(content)):
                yield from self.walk(f"{path.rstrip('/')}/{os.fsdecode(name)}", child)

    def _inode(self, nid: int) -> _Inode:
        at = self._meta_at + nid * 32
        form, xattrs, mode = struct.unpack_from("<HHH", self._image, at)
        if form & 1:
            size, block, _ino, uid, gid = struct.unpack_from("<QIIII", self._image, at + 8)
            length = 64
        else:
            size, _time, block, _ino, uid, gid = struct.unpack_from("<IIIIHH", self._image, at + 8)
            length = 32
        if xattrs:
            length += 12 + (xattrs - 1) * 4
        return _Inode(
            mode=mode, uid=uid, gid=gid, size=size, layout=(form >> 1) & 7, block=block, inline_at=at + length
        )

    def _content(self, inode: _Inode, path: str) -> bytes:
        if inode.layout not in (FLAT_PLAIN, FLAT_INLINE):
            raise AniccaError(f"{path}: its content is not in the image as it is (layout {inode.layout})")
        tail = inode.size % self._block_bytes if inode.layout == FLAT_INLINE else 0
        whole = inode.size - tail
        start = inode.block * self._block_bytes
        content = self._image[start : start + whole] if whole else b""
        content += self._image[inode.inline_at : inode.inline_at + tail]
        if len(content) != inode.size:
            raise AniccaError(f"a damaged EROFS image: {path} ends too early")
        return content

    def _names(self, content: bytes) -> Iterator[tuple[bytes, int]]:
        """A directory's names with their inodes: each block has its entries, then their names."""
        for start in range(0, len(content), self._block_bytes):
            block = content[start : start + self._block_bytes]
            (first,) = struct.unpack_from("<H", block, 8)
            entries = [struct.unpack_from("<QHBx", block, at) for at in range(0, first, 12)]
            for number, (nid, name_at, _kind) in enumerate(entries):
                end = entries[number + 1][1] if number + 1 < len(entries) else len(block)
                name = block[name_at:end].split(b"\0", 1)[0]
                if name not in (b".", b".."):
                    yield name, nid
