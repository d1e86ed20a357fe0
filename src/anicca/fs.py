"""Files written so that a power cut leaves the old or the new, and trees removed whatever their modes."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LONG_PATH = 900
"""In characters, of up to four bytes; with one more name that is still a path (4096 bytes)."""


def sync_directory(directory: Path) -> None:
    """Make a directory's entries durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by a regular file with `content`: written, synced, renamed."""
    temporary = _temporary(path)
    # Exclusive: in a directory that others may write to, somebody could have put a link there.
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            # Sync before rename: a power cut must leave the old file or the new.
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def symlink_atomic(path: Path, target: str) -> None:
    """Point the symlink `path` at `target` in one rename."""
    temporary = _temporary(path)
    temporary.symlink_to(target)
    try:
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _temporary(path: Path) -> Path:
    """A name beside `path` that no other thread or process uses; what a killed one of our id left there is removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    temporary.unlink(missing_ok=True)
    return temporary


def make_private_directory(path: Path) -> None:
    """A directory that only we may enter, made with its parents if missing."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def remove_tree(path: Path) -> None:
    """Remove `path` and all below it, whatever its modes and however deep. Nothing there is fine; no link is followed.

    What has too long a name is moved up before it is looked into: programs make deeper trees than a path can name.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        path.unlink()
        return
    path.chmod(0o700)
    top = os.fspath(path)
    token = os.urandom(8).hex()
    directories = [top]
    for directory in directories:
        with os.scandir(directory) as entries:
            found = list(entries)
        for entry in found:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108 (a Path for each of many files costs more than removing it)
                continue
            os.chmod(entry.path, 0o700)  # noqa: PTH101
            below = entry.path
            if len(below) > LONG_PATH:
                below = f"{top}/{token}-{len(directories)}"
                os.rename(entry.path, below)  # noqa: PTH104
            directories.append(below)
    for directory in reversed(directories):
        os.rmdir(directory)  # noqa: PTH106
