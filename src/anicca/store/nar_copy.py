"""Copying a tree into the store and making its NAR in one walk: every byte is read once."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from anicca.store.canonical import MTIME_NANOSECONDS
from anicca.store.nar import dump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_TIMES = (MTIME_NANOSECONDS, MTIME_NANOSECONDS)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_canonical(
    source: Path, target: Path, *, keep: Callable[[bytes, os.stat_result], bool] | None = None
) -> Iterator[bytes]:
    """The NAR of `source` in chunks, while `target`, which must not exist, becomes a copy with canonical metadata.

    When the iterator has ended, so has the copy. Raises what `dump` raises.
    """
    top, goal = os.fsencode(source), os.fsencode(target)
    directories: list[bytes] = []
    files: list[bytes] = []

    def visit(path: bytes, status: os.stat_result) -> None:
        place = goal + path[len(top) :]
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            os.mkdir(place, 0o755)  # noqa: PTH102 (bytes, in the inner loop)
            directories.append(place)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(path), place)  # noqa: PTH115, PTH211 (bytes)
            os.utime(place, ns=_TIMES, follow_symlinks=False)

    masked = _umask() & 0o555

    def write(path: bytes, status: os.stat_result) -> int:
        place = goal + path[len(top) :]
        mode = 0o555 if status.st_mode & stat.S_IXUSR else 0o444
        fd = os.open(place, _WRITE, mode)
        if masked:
            os.fchmod(fd, mode)
        files.append(place)
        return fd

    yield from dump(source, visit=visit, keep=keep, copy=write)
    for file in files:
        os.utime(file, ns=_TIMES)
    for directory in reversed(directories):
        os.chmod(directory, 0o555)  # noqa: PTH101, S103 (what directories of the store are)
        os.utime(directory, ns=_TIMES)


def _umask() -> int:
    """What the system takes from the modes of new files. Asking the other way would change it for all threads."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 (no Path)
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o777
