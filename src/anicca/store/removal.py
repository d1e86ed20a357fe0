"""Removing trees that somebody else made: read-only, without end in depth, with paths too long to be said."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def remove(path: Path) -> int:
    """Remove `path` and all below it; how many bytes of disk that frees. Nothing there is fine.

    Directories are moved up beside `path` before they are emptied, so that neither the depth nor the length of a
    path matters. Links are not followed.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISDIR(status.st_mode):
        path.unlink()
        return _freed(status)
    freed = _freed(status)
    top = os.fsencode(path)
    todo = [top]
    number = 0
    while todo:
        current = todo.pop()
        os.chmod(current, 0o700)  # noqa: PTH101 (bytes)
        for name in os.listdir(current):  # noqa: PTH208 (bytes)
            child = current + b"/" + name
            status = os.lstat(child)
            freed += _freed(status)
            if stat.S_ISDIR(status.st_mode):
                number += 1
                moved = b"%b.%d" % (top, number)
                # To give a directory another parent, its owner must be able to write it.
                os.chmod(child, 0o700)  # noqa: PTH101 (bytes)
                os.rename(child, moved)  # noqa: PTH104 (bytes)
                todo.append(moved)
            else:
                os.unlink(child)  # noqa: PTH108 (bytes)
        os.rmdir(current)  # noqa: PTH106 (bytes)
    return freed


def _freed(status: os.stat_result) -> int:
    """What goes with the last name of a file."""
    last = status.st_nlink == 1 or stat.S_ISDIR(status.st_mode)
    return status.st_blocks * 512 if last else 0
