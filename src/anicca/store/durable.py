"""Making trees survive a power cut before they are registered."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MANY = 48
"""From so many files on, syncing the whole filesystem once is cheaper than each file."""


def make_durable(paths: Iterable[Path]) -> None:
    """Return when everything below `paths`, which lie on one filesystem, is on stable storage."""
    files: list[bytes] = []
    for path in paths:
        files.append(os.fsencode(path))
        if stat.S_ISDIR(path.lstat().st_mode):
            for directory, directories, names in os.walk(os.fsencode(path)):
                files += (os.path.join(directory, name) for name in directories + names)  # noqa: PTH118 (bytes)
                if len(files) > _MANY:
                    break
        if len(files) > _MANY:
            _sync_filesystem(path.parent)
            return
    for file in files:
        mode = os.lstat(file).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            _fsync(file)


def _fsync(path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_filesystem(directory: Path) -> None:
    """syncfs(2) of the filesystem that `directory` is on; Python has no name for it."""
    import ctypes  # noqa: PLC0415 (only when much was written)

    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), os.fspath(directory))
    finally:
        os.close(fd)
