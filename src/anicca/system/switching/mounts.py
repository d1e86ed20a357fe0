"""Mounts changed in place under running programs, with no moment at which a path is missing (mount_setattr(2), …).

A new mount goes beneath the one that is there, then that one is taken away: whoever opens a path sees the old or the
new, whoever has a file open keeps it. Python has no names for these calls; Linux has them from 6.5 on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING

from anicca import process
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
"""The same numbers on all architectures (linux/unistd.h)."""
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_BENEATH = 0x4, 0x200
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NODEV = 0x1, 0x4
MS_PRIVATE, MS_SLAVE, MS_REC = 1 << 18, 1 << 19, 1 << 14
CLONE_NEWNS = 0x20000
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


class Detached:
    """A mount that hangs nowhere yet. Closing it, once it is attached, only closes the file descriptor."""

    def __init__(self, fd: int, what: str) -> None:
        self.fd = fd
        self.what = what

    def close(self) -> None:
        """Let go; what is attached stays."""
        os.close(self.fd)


def clone(path: Path, *, read_only: bool, devices: bool = False) -> Detached:
    """A detached copy of the mount at `path`, or of a directory or file as a mount of its own; none of those below it.

    It is private: what happens to its original later does not reach it.
    """
    fd = _call(OPEN_TREE, AT_FDCWD, os.fsencode(path), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, what=f"cloning {path}")
    attributes = _Attributes(
        set=(MOUNT_ATTR_RDONLY if read_only else 0) | (0 if devices else MOUNT_ATTR_NODEV), propagation=MS_PRIVATE
    )
    try:
        size = ctypes.sizeof(attributes)
        _call(MOUNT_SETATTR, fd, b"", AT_EMPTY_PATH, ctypes.byref(attributes), size, what=f"setting up {path}")
    except BaseException:
        os.close(fd)
        raise
    return Detached(fd, str(path))


def attach(mount: Detached, path: Path, *, beneath: bool = False) -> None:
    """Hang a detached mount onto `path`: over what is there, or beneath it and so unseen for now."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (MOVE_MOUNT_BENEATH if beneath else 0)
    _call(MOVE_MOUNT, mount.fd, b"", AT_FDCWD, os.fsencode(path), flags, what=f"mounting {mount.what} on {path}")


def detach(path: Path) -> None:
    """Take away what is mounted last on `path`, at once; what programs have open of it stays theirs."""
    if _libc().umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
        raise _error(f"unmounting {path}")


def replace(path: Path, mount: Detached) -> None:
    """Put a mount in the place of the one on `path`. No moment has neither."""
    attach(mount, path, beneath=True)
    detach(path)


def enter_writable(path: Path) -> None:
    """Where `path` is a read-only mount, give this process, if it is root's, mounts of its own in which it is writable.

    For what writes to a host's store: nobody else sees it writable. Mounts made afterwards are this process's alone.
    Call it before there are threads.
    """
    if os.geteuid() != 0 or not path.is_dir() or not os.statvfs(path).f_flag & os.ST_RDONLY:
        return
    libc = _libc()
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_SLAVE), None) != 0:
        raise _error("entering a mount namespace")
    attributes = _Attributes(clear=MOUNT_ATTR_RDONLY)
    size = ctypes.sizeof(attributes)
    what = f"making {path} writable for this process"
    _call(MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), 0, ctypes.byref(attributes), size, what=what)


@contextlib.contextmanager
def mounted_image(image: Path, at: Path) -> Iterator[None]:
    """An EROFS image mounted read-only on the directory `at`, which is gone from there afterwards.

    Clones of it stay valid: it itself is only where they are taken from.
    """
    mount_image(image, at)
    try:
        yield
    finally:
        detach(at)


def mount_image(image: Path, at: Path) -> None:
    """Mount an EROFS image read-only: straight from the file where the kernel can, else through a loop device."""
    argv = ["mount", "-t", "erofs", "-o"]
    straight = process.run([*argv, "ro,nodev,X-mount.noloop", image, at], check=False, timeout_seconds=60)
    if straight.status != 0:
        process.run([*argv, "ro,nodev,loop", image, at], timeout_seconds=60)


def mount_tree(metadata: Path, store: Path, at: Path) -> None:
    """Mount a system's tree: the metadata image mounted at `metadata`, its contents from the store."""
    options = f"ro,nodev,metacopy=on,redirect_dir=on,lowerdir={metadata}::{store}"
    process.run(["mount", "-t", "overlay", "-o", options, "anicca-tree", at], timeout_seconds=60)


def mount_points(below: Sequence[str], *, mountinfo: str) -> list[str]:
    """The mount points at or below some paths, the deepest first (proc_pid_mountinfo(5))."""
    found = []
    for line in mountinfo.splitlines():
        path = line.split(" ")[4].encode().decode("unicode_escape")
        if any(path == top or path.startswith(f"{top}/") for top in below):
            found.append(path)
    return sorted(found, key=lambda path: -path.count("/"))


def _call(number: int, *arguments: object, what: str) -> int:
    """A system call by number. Raises `AniccaError` that says what was tried."""
    result = int(_libc().syscall(ctypes.c_long(number), *(_argument(one) for one in arguments)))
    if result < 0:
        raise _error(what)
    return result


def _argument(value: object) -> object:
    # As long: on 64 bits a variadic int leaves the upper half of a register undefined.
    return ctypes.c_long(value) if isinstance(value, int) else value


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error(what: str) -> AniccaError:
    number = ctypes.get_errno()
    hint = "this takes root" if number in (1, 13) else "this takes Linux 6.5 or later" if number in (22, 38) else None
    return AniccaError(f"{what}: {os.strerror(number)}", hint=hint)
