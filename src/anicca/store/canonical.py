"""Canonical metadata: an object's NAR must be all there is to it (nix `posix-fs-canonicalise.cc`).

Files are 0444 or 0555, directories 0555, all of 1970-01-01 00:00:01, owned by root where we are root, without
extended attributes. Setting this, hashing and looking for references is one walk.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.store.aside import AsideHasher
from anicca.store.hashes import Hash
from anicca.store.nar import dump
from anicca.store.nar_fill import MTIME_NANOSECONDS
from anicca.store.references import ReferenceScanner

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from anicca.store.path import StorePath

_ALIVE_ATTRIBUTES = frozenset({"security.selinux", "system.nfs4_acl"})
"""What the kernel or the filesystem gives every file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """A tree whose metadata is canonical: its NAR's hash and size, and what it refers to."""

    nar_hash: Hash
    nar_size: int
    references: frozenset[StorePath]


def canonicalise(path: Path, candidates: Iterable[StorePath] = ()) -> Canonical:
    """Set canonical metadata below `path`, and say which of `candidates` it refers to.

    Raises AniccaError on devices, sockets and pipes, OSError where the metadata cannot be set.
    """
    scanner = ReferenceScanner(candidates)
    state = AsideHasher()
    size = 0
    try:
        for chunk in dump(path, visit=set_metadata):
            state.update(chunk)
            scanner.update(chunk)
            size += len(chunk)
    finally:
        state.finish()
    return Canonical(nar_hash=Hash("sha256", state.digest()), nar_size=size, references=frozenset(scanner.found))


def set_metadata(path: bytes, status: os.stat_result) -> None:
    """Set one entry's canonical metadata, if it differs."""
    mode = status.st_mode
    if not stat.S_ISLNK(mode):
        wanted = 0o555 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o444
        if _privileged() and (status.st_uid or status.st_gid):
            os.chown(path, 0, 0)
            os.chmod(path, wanted)  # noqa: PTH101 (bytes, once per file)
        elif stat.S_IMODE(mode) != wanted:
            os.chmod(path, wanted)  # noqa: PTH101
        # After chmod: an unprivileged owner may only remove attributes from what it may write.
        for name in os.listxattr(path, follow_symlinks=False):
            if name not in _ALIVE_ATTRIBUTES:
                _remove_attribute(path, name, wanted)
    elif _privileged() and (status.st_uid or status.st_gid):
        os.chown(path, 0, 0, follow_symlinks=False)
    if status.st_mtime_ns != MTIME_NANOSECONDS:
        os.utime(path, ns=(MTIME_NANOSECONDS, MTIME_NANOSECONDS), follow_symlinks=False)


def _remove_attribute(path: bytes, name: str, mode: int) -> None:
    """Remove an extended attribute of a file that may be read-only."""
    try:
        os.removexattr(path, name, follow_symlinks=False)
    except PermissionError:
        os.chmod(path, mode | stat.S_IWUSR)  # noqa: PTH101
        os.removexattr(path, name, follow_symlinks=False)
        os.chmod(path, mode)  # noqa: PTH101


def _privileged() -> bool:
    return os.geteuid() == 0


def set_tree_metadata(path: Path) -> None:
    """Set canonical metadata of everything below `path`, reading no contents."""
    todo = [os.fsencode(path)]
    while todo:
        current = todo.pop()
        status = os.lstat(current)
        set_metadata(current, status)
        if stat.S_ISDIR(status.st_mode):
            todo += (current + b"/" + name for name in os.listdir(current))  # noqa: PTH208 (bytes)
