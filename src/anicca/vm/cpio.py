"""Archives in the `newc` format that the kernel unpacks as an initial root (initramfs buffer format). In memory."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAGIC = "070701"
_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True, kw_only=True)
class CpioEntry:
    """A file, directory or symlink (whose `content` is its target); `path` is relative, `mode` has the type."""

    path: str
    mode: int
    content: bytes = b""


def directory(path: str) -> CpioEntry:
    """A directory that everybody may enter."""
    return CpioEntry(path=path, mode=stat.S_IFDIR | 0o755)


def file(path: str, content: bytes, *, executable: bool = False) -> CpioEntry:
    """A regular file."""
    return CpioEntry(path=path, mode=stat.S_IFREG | (0o755 if executable else 0o644), content=content)


def write_cpio(entries: Sequence[CpioEntry]) -> bytes:
    """The archive, root's, without times: the same entries are the same bytes. Parents must come first."""
    parts: list[bytes] = []
    for number, entry in enumerate(entries, start=1):
        parts += _record(number, entry.mode, entry.path, entry.content)
    parts += _record(0, 0, _TRAILER, b"")
    return b"".join(parts)


def _record(number: int, mode: int, name: str, content: bytes) -> list[bytes]:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = (_MAGIC + "".join(f"{value:08x}" for value in fields)).encode() + encoded
    return [head, _padding(len(head)), content, _padding(len(content))]


def _padding(length: int) -> bytes:
    return bytes(-length % 4)
