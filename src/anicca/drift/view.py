"""A view of one mount that nobody else has: read-only, no access times, nothing mounted over it; and quiet I/O.

System calls by number, as the standard library has no names for them; they are the same on every architecture but
where noted. Where the kernel refuses, the caller gets the ordinary view.
"""

from __future__ import annotations

import os
import platform
import struct
from typing import Any

OPEN_TREE, MOUNT_SETATTR = 428, 442
# The number after each is that of ioprio_get.
IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "i686": 289, "ppc64le": 273, "s390x": 282}
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
OPEN_TREE_CLONE = 1
RDONLY, NOATIME, ATIME_MASK = 0x1, 0x10, 0x70
LOWEST = 2 << 13 | 7
"""Best effort, last of its class. The idle class could wait for ever on a busy disk."""


def open_view(path: bytes) -> tuple[int, bool]:
    """A directory's file descriptor, and whether it is a private view. Raises `OSError` if there is no such directory.

    In a private view the mounts below `path` are not there, so that what lies beneath them is seen. It takes
    CAP_SYS_ADMIN and Linux 5.12.
    """
    plain = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    call = _syscall()
    if call is None:
        return plain, False
    view = call(OPEN_TREE, AT_FDCWD, path, OPEN_TREE_CLONE | os.O_CLOEXEC)
    if view < 0:
        return plain, False
    attributes = struct.pack("QQQQ", RDONLY | NOATIME, ATIME_MASK, 0, 0)
    if call(MOUNT_SETATTR, view, b"", AT_EMPTY_PATH, attributes, len(attributes)) < 0:
        os.close(view)
        return plain, False
    os.close(plain)
    # What open_tree gives is a handle; reading a directory takes a real one, opened from it.
    try:
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=view), True
    finally:
        os.close(view)


def yield_machine() -> None:
    """Let everyone else's I/O go first, and their processes too."""
    os.nice(5)
    quiet_disk()


def quiet_disk() -> int:
    """Let everyone else's I/O go first; what this thread's priority was (-1: nobody can tell)."""
    call, number = _syscall(), IOPRIO_SET.get(platform.machine())
    if call is None or number is None:
        return -1
    before = int(call(number + 1, 1, 0))
    call(number, 1, 0, LOWEST)
    return before


def restore_disk(priority: int) -> None:
    """Give this thread back the priority that `quiet_disk` told of."""
    call, number = _syscall(), IOPRIO_SET.get(platform.machine())
    if priority >= 0 and call is not None and number is not None:
        call(number, 1, 0, priority)


def _syscall() -> Any:
    try:
        import ctypes  # noqa: PLC0415 (small Pythons lack it)
    except ImportError:
        return None
    return ctypes.CDLL(None, use_errno=True).syscall
