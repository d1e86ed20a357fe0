"""Files written so that a power cut leaves the old or the new, and trees removed whatever their modes."""

from __future__ import annotations

import os
import stat
from _thread import get_ident

# Without `typing`, which takes longer to import than all that is here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    Item = TypeVar("Item")
    Result = TypeVar("Result")

LONG_PATH = 900
"""In characters, of up to four bytes; with one more name that is still a path (4096 bytes)."""

_SHARED = 16
"""So many pieces of work are worth a second thread."""


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}.tmp")
    temporary.unlink(missing_ok=True)
    return temporary


def make_private_directory(path: Path) -> None:
    """A directory that only we may enter, made with its parents if missing."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def make_public_directory(path: Path) -> None:
    """A directory that all may look into, made with its parents if missing, whatever our umask is."""
    if not path.is_dir():
        make_public_directory(path.parent)
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


def remove_tree(path: Path | str) -> int:
    """Remove `path` and all below it, whatever its modes and however deep; how many bytes of disk that frees.

    Nothing there is fine; no link is followed. What has too long a name is moved up before it is looked into: programs
    make deeper trees than a path can name. Files of different directories are removed side by side.
    """
    top = os.fspath(path)
    try:
        status = os.lstat(top)
    except FileNotFoundError:
        return 0
    freed = _freed(status)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(top)  # noqa: PTH108 (text, as all below)
        return freed
    os.chmod(top, 0o700)  # noqa: PTH101
    prefix = f"{top}/{os.urandom(8).hex()}"
    levels = [[top]]
    while levels[-1]:
        below: list[str] = []
        for directories, size in in_two(_remove_files, levels[-1]):
            freed += size
            below += directories
        for place, directory in enumerate(below):
            if len(directory) > LONG_PATH:
                below[place] = f"{prefix}-{len(levels)}-{place}"
                os.rename(directory, below[place])  # noqa: PTH104
        levels.append(below)
    for level in reversed(levels):
        for directory in level:
            os.rmdir(directory)  # noqa: PTH106
    return freed


def _remove_files(directory: str) -> tuple[list[str], int]:
    """Remove all in `directory` but its directories, which are opened up for us; those, and the bytes freed."""
    directories = []
    freed = 0
    # By names within what is open: no path is followed for each of many files, nor can one lead elsewhere meanwhile.
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(fd) as entries:
            found = [entry.name for entry in entries]
        for name in found:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            freed += _freed(status)
            if stat.S_ISDIR(status.st_mode):
                os.chmod(name, 0o700, dir_fd=fd)
                directories.append(f"{directory}/{name}")
            else:
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
    return directories, freed


def _freed(status: os.stat_result) -> int:
    """What goes with the last name of a file."""
    last = status.st_nlink == 1 or stat.S_ISDIR(status.st_mode)
    return status.st_blocks * 512 if last else 0


def spare_core() -> bool:
    """Whether this process may use a core that the last minute left idle."""
    return os.getloadavg()[0] < len(os.sched_getaffinity(0))


def in_two(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` done with each of `items`, half of them in a second thread where a core is free for it.

    For what the system does most of: taking turns on one core would make it slower, not faster.
    """
    half = len(items) // 2 if len(items) >= _SHARED and spare_core() else 0
    second: list[Result] = []
    failed: list[BaseException] = []

    def aside() -> None:
        try:
            second.extend(map(work, items[:half]))
        except BaseException as error:  # noqa: BLE001 (raised again by whoever waits for us)
            failed.append(error)

    if not half:
        return list(map(work, items))
    from threading import Thread  # noqa: PLC0415 (where used)

    thread = Thread(target=aside)
    thread.start()
    try:
        first = list(map(work, items[half:]))
    finally:
        thread.join()
    if failed:
        raise failed[0]
    return second + first
