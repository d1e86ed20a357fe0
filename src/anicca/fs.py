"""Files written so that a power cut leaves the old or the new, and trees removed whatever their modes."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


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
    """Remove `path` and all below it, read-only directories too. Nothing there is fine; links are not followed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        path.unlink()
        return
    path.chmod(0o700)
    for directory, names, _files in os.walk(path):
        for name in names:
            below = os.path.join(directory, name)  # noqa: PTH118 (walk gives strings)
            # Before walk looks into it.
            if not os.path.islink(below):  # noqa: PTH114
                os.chmod(below, 0o700)  # noqa: PTH101
    shutil.rmtree(path)
