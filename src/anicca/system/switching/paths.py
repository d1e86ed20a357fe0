"""Paths of the root laid out, cleared, bound and unbound on a running host, as the initrd does it at boot."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from anicca import fs, process
from anicca.errors import RefusedError
from anicca.system.live import Clear, Keep, Lay, PathStep, Release
from anicca.system.switching.area import is_parent, make_parents, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anicca.system.erofs import ImageEntry

READ_AHEAD_BYTES = 256 << 20


def do(
    step: PathStep,
    *,
    root: Path = Path("/"),
    kept: Path = Path("/nix/persist"),
    adopt: Callable[[str], object] | None = None,
) -> None:
    """Do one step. Paths are those of a system; no part of them that a user could have made a link is followed.

    `adopt` copies what is at a path of the root to where it is kept.
    """
    match step:
        case Lay(entry=entry):
            lay(entry, root)
        case Clear(path=path):
            clear(_inside(root, path))
        case Keep():
            if step.adopts and adopt is not None:
                _inside(root, step.kept.path)
                adopt(step.kept.path)
            _keep(step, root, kept)
        case Release(path=path):
            process.run(["umount", "--lazy", _inside(root, path)], check=False, timeout_seconds=60)
        case _:
            assert_never(step)


def read_ahead(paths: Iterable[str]) -> None:
    """Have the kernel read files, and what lies in directories, so that who opens them next waits for no disk.

    Up to `READ_AHEAD_BYTES`: more would take from others what they have in memory.
    """
    left = READ_AHEAD_BYTES
    for path in paths:
        names = [os.path.join(top, name) for top, _, files in os.walk(path) for name in files]  # noqa: PTH118 (texts)
        for name in names or [path]:
            # What is not there, or is no file, need not be read.
            with suppress(OSError):
                status = os.stat(name)  # noqa: PTH116 (text)
                if not stat.S_ISREG(status.st_mode):
                    continue
                left -= status.st_size
                if left < 0:
                    return
                fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(fd)


def lay(entry: ImageEntry, root: Path) -> None:
    """Make a path what an entry says, with owner and mode; parents must be there."""
    path = _inside(root, entry.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "directory":
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        path.mkdir(exist_ok=True)
    elif entry.kind == "symlink":
        fs.symlink_atomic(path, os.fsdecode(entry.content))
    else:
        fs.write_atomic(path, entry.content, mode=0o600)
    os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if entry.kind != "symlink":
        path.chmod(stat.S_IMODE(entry.mode))


def clear(path: Path) -> None:
    """Remove a file or link; a directory only if nothing is in it."""
    try:
        if path.is_dir() and not path.is_symlink():
            if not path.is_mount() and not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return


def _keep(step: Keep, root: Path, kept: Path) -> None:
    one = step.kept
    source, target = _inside(kept, one.path), _inside(root, one.path)
    for place in (source, target):
        if place.is_symlink():
            raise RefusedError(f"{place}: is a symbolic link, and {one.path} is to persist", hint="remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    make_parents(root, kept, one.path)
    if not source.exists() or is_parent(kept, one.path):
        staged = source.with_name(f"{source.name}.anicca-new")
        fs.remove_tree(staged)
        _stage(step, staged)
        # Whole or not at all: the initrd takes what is there for the host's own.
        put(kept, one.path, staged)
        fs.remove_tree(staged)
    found = source.stat()
    if (found.st_uid, found.st_gid) != (one.uid, one.gid):
        os.chown(source, one.uid, one.gid)
    if stat.S_IMODE(source.stat().st_mode) != one.mode:
        source.chmod(one.mode)
    if one.kind == "d":
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    if not _is_same(source, target):
        process.run(["mount", "--bind", source, target], timeout_seconds=60)


def _stage(step: Keep, at: Path) -> None:
    """Make what is kept the first time."""
    one = step.kept
    if one.kind == "d":
        at.mkdir(mode=0o700)
    else:
        at.touch(mode=0o600)
    for entry in step.seed:
        if entry.path != one.path:
            lay(_moved(entry, one.path), at)
        elif entry.kind == "file":
            at.write_bytes(entry.content)
    os.chown(at, one.uid, one.gid)
    at.chmod(one.mode)


def _moved(entry: ImageEntry, top: str) -> ImageEntry:
    return replace(entry, path=entry.path.removeprefix(top))


def _is_same(one: Path, other: Path) -> bool:
    first, second = one.stat(), other.stat()
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _inside(root: Path, path: str) -> Path:
    """The path below a root. Refused if one of its directories is a link: a user may have put it there."""
    at = root
    parts = [part for part in path.split("/") if part]
    for part in parts[:-1]:
        at /= part
        if at.is_symlink():
            raise RefusedError(f"{at}: is a symbolic link on the way to {path}")
    return at / parts[-1] if parts else root
