"""The locks that real Nix and anicca share: flock(2) on the same files, taken in the same order."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress

# Light, as `spelling` is.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def open_lock(file: Path | str) -> int:
    """A file descriptor of a lock file, made if missing."""
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def remove(file: str) -> None:
    """Remove a file that somebody else may have removed meanwhile."""
    try:
        os.unlink(file)  # noqa: PTH108 (text)
    except FileNotFoundError:
        return


def lock(fd: int, *, exclusive: bool, wait: bool = True) -> bool:
    """Take the lock; False if it is taken and we do not wait."""
    kind = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(fd, kind)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Give the lock back."""
    fcntl.flock(fd, fcntl.LOCK_UN)


@contextmanager
def path_locks(paths: Iterable[Path]) -> Iterator[None]:
    """Hold `<path>.lock` of each physical path, taken in sorted order; the lock files are gone afterwards."""
    held: list[tuple[Path, int]] = []
    try:
        for path in sorted(paths):
            file = path.with_name(path.name + ".lock")
            held.append((file, _lock_fresh(file)))
        yield
    finally:
        for file, fd in held:
            # Whoever waits for this file sees that it was deleted, and makes a new one.
            file.unlink(missing_ok=True)
            with suppress(OSError):  # on a full disk, that it is gone must be mark enough
                os.write(fd, b"d")
            os.close(fd)


def _lock_fresh(file: Path) -> int:
    """Lock a file that nobody has marked deleted."""
    while True:
        fd = open_lock(file)
        try:
            lock(fd, exclusive=True)
            status = os.fstat(fd)
            if status.st_size == 0 and status.st_nlink > 0:
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
