"""`anicca rescue`: what a boot forgot and was remembered, put back whole, through no link, over nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from anicca.drift.area import own_place
from anicca.drift.descent import open_directory
from anicca.drift.entry import is_below
from anicca.drift.lost import LOST
from anicca.errors import AniccaError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from anicca.drift.compare import Drift
    from anicca.drift.lost import Lost, Saved


def plan_rescue(lost: Lost, path: bytes) -> list[bytes]:
    """The files to get back: the one at `path`, or all below it. Raises `AniccaError` where none was kept."""
    found = [one for one in lost.saved if is_below(one, path)]
    if found:
        return sorted(found)
    forgotten = {one.drift.path: one for one in lost.findings.drift}
    if path not in forgotten:
        raise AniccaError(
            f"{os.fsdecode(path)} was not forgotten by boot {lost.boot.name}", hint="anicca lost tells what was"
        )
    raise AniccaError(
        f"{os.fsdecode(path)} was forgotten, and only its name was remembered",
        hint="remember in host.py says how large a file may be; secrets, caches and locks are never kept",
    )


def rescue(
    top: Path, lost: Lost, paths: Sequence[bytes], *, to: bytes | None = None, base: bytes = b"/"
) -> list[bytes]:
    """Put files back where they were, or below `to` with the part of their path after `base`.

    With owner, mode, times and attributes; no link is followed. Raises `RefusedError` if anything is there already,
    before anything is written, and `AniccaError` for what is damaged.
    """
    targets = [(path, path if to is None else _below(to, path, base)) for path in paths]
    for _, target in targets:
        if os.path.lexists(os.fsencode(top) + target):
            raise RefusedError(f"{os.fsdecode(target)} is there already", hint="--to PATH puts it somewhere else")
    known = {one.drift.path: one.drift for one in lost.findings.drift}
    for path, target in targets:
        saved = lost.saved[path]
        file = own_place(top, LOST) / lost.boot.name / "files" / str(saved.number)
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != saved.sha256:
            raise AniccaError(f"{file}: damaged: not what was kept of {os.fsdecode(path)}")
        drift = known[path]
        directory = _open_parent(top, target, known if to is None else {})
        try:
            _write(directory, target.rpartition(b"/")[2], content, drift, saved)
        finally:
            os.close(directory)
    return [target for _, target in targets]


def _below(to: bytes, path: bytes, base: bytes) -> bytes:
    rest = path[len(base) :].lstrip(b"/") if path != base else path.rpartition(b"/")[2]
    return to.rstrip(b"/") + b"/" + rest


def _open_parent(top: Path, target: bytes, known: Mapping[bytes, Drift]) -> int:
    """The directory of a path, made where missing as it was then. No link is followed: it could be anybody's."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    at = b""
    try:
        for name in target.split(b"/")[1:-1]:
            at += b"/" + name
            try:
                below = open_directory(name, fd)
            except FileNotFoundError:
                was = known.get(at)
                os.mkdir(name, 0o700, dir_fd=fd)
                below = open_directory(name, fd)
                os.fchown(below, was.uid if was else 0, was.gid if was else 0)
                os.fchmod(below, stat.S_IMODE(was.mode) if was else 0o755)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise RefusedError(
                        f"{os.fsdecode(at)} is not a plain directory", hint="--to PATH puts it elsewhere"
                    ) from error
                raise
            os.close(fd)
            fd = below
    except BaseException:
        os.close(fd)
        raise
    return fd


def _write(directory: int, name: bytes, content: bytes, drift: Drift, saved: Saved) -> None:
    temporary = b".anicca-rescue-%d" % os.getpid()
    fd = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
    )
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchown(fd, drift.uid, drift.gid)
            os.fchmod(fd, stat.S_IMODE(drift.mode))
            for key, value in saved.xattrs:
                os.setxattr(fd, key, value)
            os.utime(fd, ns=(drift.mtime_ns, drift.mtime_ns))
            os.fsync(fd)
        # A link fails where something is by now; a rename would replace it.
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError as error:
        raise RefusedError(f"{os.fsdecode(drift.path)} came while we were at it; nothing was replaced") from error
    finally:
        os.unlink(temporary, dir_fd=directory)
