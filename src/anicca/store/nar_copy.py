"""Copying a tree into the store and making its NAR in one walk: every byte is read once."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from anicca.store.nar_fill import MTIME_NANOSECONDS, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_TIMES = (MTIME_NANOSECONDS, MTIME_NANOSECONDS)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_canonical(
    source: Path, target: Path, *, keep: Callable[[bytes, os.stat_result], bool] | None = None
) -> Iterator[memoryview]:
    """The NAR of `source` as `nar_fill.fill` gives it, while `target`, which must not exist, becomes a copy.

    When the iterator has ended, the copy is whole and has canonical metadata. Raises what `fill` raises.
    """
    copy = _Copy(os.fsencode(source), os.fsencode(target))
    yield from fill(source, visit=copy.visit, keep=keep, copy=copy)
    copy.finish()


class _Copy:
    """The copy, made while the source is walked."""

    def __init__(self, source: bytes, target: bytes) -> None:
        self._skip = len(source)
        self._target = target
        self._masked = _umask() & 0o555
        self._directories: list[bytes] = []

    def visit(self, path: bytes, status: os.stat_result) -> None:
        """Make a directory or a link."""
        mode = status.st_mode
        if stat.S_ISREG(mode):
            return
        place = self._target + path[self._skip :]
        if stat.S_ISDIR(mode):
            os.mkdir(place, 0o755)  # noqa: PTH102 (bytes, in the inner loop)
            self._directories.append(place)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(path), place)  # noqa: PTH115, PTH211 (bytes)
            os.utime(place, ns=_TIMES, follow_symlinks=False)

    def open(self, path: bytes, status: os.stat_result) -> int:
        """See `nar_fill.Copier.open`."""
        mode = 0o555 if status.st_mode & stat.S_IXUSR else 0o444
        fd = os.open(self._target + path[self._skip :], _WRITE, mode)
        if self._masked:
            os.fchmod(fd, mode)
        return fd

    def close(self, fd: int) -> None:
        """See `nar_fill.Copier.close`."""
        os.utime(fd, ns=_TIMES)

    def finish(self) -> None:
        """Directories are written to until the end, so theirs comes last."""
        for directory in reversed(self._directories):
            os.chmod(directory, 0o555)  # noqa: PTH101, S103 (what directories of the store are)
            os.utime(directory, ns=_TIMES)


def _umask() -> int:
    """What the system takes from the modes of new files. Asking the other way would change it for all threads."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 (no Path)
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o777
