"""One path as it was found, and the order in which paths come. Standard library only: it is sent to other hosts."""

from __future__ import annotations

import stat
from functools import lru_cache
from typing import NamedTuple

Xattrs = tuple[tuple[str, bytes], ...]


class Entry(NamedTuple):
    """A path below the scanned root. `path` is absolute from that root; sizes in bytes, times in nanoseconds.

    `digest` is `<algorithm>:<hex>` or empty where content was not read. `flags` is a string of the letters below.
    `error` says why the path, or its content, could not be read; with `mode` 0 nothing else is known.
    """

    path: bytes
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    nlink: int = 1
    dev: int = 0
    ino: int = 0
    rdev: int = 0
    target: bytes = b""
    xattrs: Xattrs = ()
    digest: str = ""
    flags: str = ""
    error: str = ""

    @property
    def kind(self) -> str:
        """Its type as a word."""
        return kind_of(self.mode)


HIDDEN = "h"
"""Lies beneath a mount, where nobody sees it."""
CHANGING = "c"
"""Changed while it was read; its digest is unknown."""
UNREAD = "u"
"""So large and so empty that it was not read for the digest that was asked for."""

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}
FORMATS = {kind: number for number, kind in KINDS.items()}


@lru_cache(maxsize=1024)
def kind_of(mode: int) -> str:
    """The word for the type in an `st_mode`."""
    return KINDS.get(stat.S_IFMT(mode), "unknown")


def order(path: bytes) -> bytes:
    """The key by which paths are sorted everywhere: a directory, then all below it, then its next sibling."""
    # NUL sorts before all that a name can have, as no name has it.
    return b"" if path == b"/" else path.replace(b"/", b"\0")


def join(directory: bytes, name: bytes) -> bytes:
    """The path of a name in a directory."""
    return b"/" + name if directory == b"/" else directory + b"/" + name


def parent(path: bytes) -> bytes:
    """The directory of a path; the root's is the root."""
    return path[: path.rfind(b"/")] or b"/"


def is_below(path: bytes, top: bytes) -> bool:
    """Whether `path` is `top` or below it."""
    return top in (path, b"/") or path.startswith(top + b"/")


class Leaders:
    """The first name of each file that has several. It is forgotten when all of them were seen."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[bytes, int]] = {}

    def of(self, path: bytes, dev: int, ino: int, nlink: int) -> bytes:
        """The first name, which is `path` itself if no other was seen before."""
        first, left = self._known.pop((dev, ino), (path, nlink))
        if left > 1:
            self._known[dev, ino] = first, left - 1
        return first
