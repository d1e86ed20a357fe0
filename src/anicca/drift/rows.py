"""What is known of one path, as a plain tuple: there is one for each path of a disk, and it goes between processes."""

from __future__ import annotations

import errno
import gc
import os
import stat
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.drift.entry import Xattrs

    Row = tuple[Any, ...]
    """The fields of an entry, in their order."""

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
NO_ATTRIBUTES = frozenset({errno.ENOTSUP, errno.ENODATA, errno.EPERM})
FORMAT = stat.S_IFMT(0xFFFF)
fields = attrgetter(
    *("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink", "st_dev", "st_ino", "st_rdev")
)
"""Those of a status that an entry has, in its order."""


@contextmanager
def without_collector() -> Iterator[None]:
    """Nobody looks for cycles meanwhile: to go through a million tuples, which have none, takes long."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def row_of(
    path: bytes, seen: os.stat_result, target: bytes, flags: str, place: bytes | int | None, *, wrong: str = ""
) -> Row:
    """The row of what is not read, with the attributes of what is at a place (None: without). Raises `OSError`.

    `wrong` is why it was not read, if it should have been.
    """
    attributes: Xattrs = ()
    if place is not None:
        try:
            attributes = read_attributes(place)
        except OSError as error:
            if error.errno in GONE:
                raise
            wrong = wrong or error.strerror or str(error)
    return (path, *fields(seen), target, attributes, "", flags, wrong)


def named_row(path: bytes, name: bytes, fd: int, flags: str, place: bytes | None, *, wrong: str = "") -> Row:
    """The same of a name in an open directory; `place` and the name lead there too. Raises `OSError`."""
    seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
    target = os.readlink(name, dir_fd=fd) if seen.st_mode & FORMAT == stat.S_IFLNK else b""
    return row_of(path, seen, target, flags, None if place is None else place + name, wrong=wrong)


def unseen(path: bytes, error: OSError, flags: str) -> list[Row]:
    """The row of what could not be looked at; none if it is gone."""
    return [] if error.errno in GONE else [unseen_row(path, error.strerror or str(error), flags)]


def unseen_row(path: bytes, wrong: str, flags: str) -> Row:
    """The row of what could not be looked at, and why."""
    return (path, *[0] * 10, b"", (), "", flags, wrong)


def read_attributes(place: bytes | int) -> Xattrs:
    """The extended attributes of what is open, or is at a path and may be a link. Raises `OSError`."""
    try:
        if isinstance(place, int):
            found = os.listxattr(place)
            return tuple((name, os.getxattr(place, name)) for name in sorted(found)) if found else ()
        found = os.listxattr(place, follow_symlinks=False)
        if not found:
            return ()
        return tuple((name, os.getxattr(place, name, follow_symlinks=False)) for name in sorted(found))
    except OSError as error:
        if error.errno in NO_ATTRIBUTES:
            return ()
        raise
