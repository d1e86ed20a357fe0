"""The mounts of a running system, as `/proc/self/mountinfo` lists them (proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from typing import NamedTuple

from anicca.drift.entry import is_below

DISKS = frozenset(
    "bcachefs btrfs exfat ext2 ext3 ext4 f2fs jfs nilfs2 ntfs ntfs3 reiserfs ubifs vfat xfs zfs".split()  # noqa: SIM905
)
"""Filesystems that hold files of this host on a disk."""


class Mount(NamedTuple):
    """One mount. `root` is the directory of its filesystem that is mounted; `device` is `major:minor`."""

    number: int
    device: str
    root: bytes
    path: bytes
    options: str
    kind: str
    source: bytes


def read_mounts() -> list[Mount]:
    """Those that this process sees; none where the kernel does not tell."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123 (pathlib is slow to import)
            return parse_mountinfo(file.read())
    except FileNotFoundError:
        return []


def parse_mountinfo(text: bytes) -> list[Mount]:
    """All mounts in order; of several at one path the last is the one that is seen. Raises `ValueError`."""
    found = []
    for line in text.splitlines():
        fields = line.split(b" ")
        try:
            bar = fields.index(b"-", 6)
            found.append(
                Mount(
                    number=int(fields[0]),
                    device=fields[2].decode(),
                    root=_unescape(fields[3]),
                    path=_unescape(fields[4]),
                    options=fields[5].decode(),
                    kind=fields[bar + 1].decode(),
                    source=_unescape(fields[bar + 2]),
                )
            )
        except (IndexError, ValueError) as error:
            raise ValueError(f"not a line of mountinfo: {line!r}") from error
    return found


def below(mounts: list[Mount], top: bytes) -> list[Mount]:
    """The mounts strictly below `top`, their paths made absolute from it; the one that is seen at each path."""
    seen: dict[bytes, Mount] = {}
    for mount in mounts:
        if mount.path != top and is_below(mount.path, top):
            path = mount.path if top == b"/" else mount.path[len(top) :]
            seen.pop(path, None)
            seen[path] = mount._replace(path=path)
    return list(seen.values())


def holding(mounts: list[Mount], path: bytes) -> Mount | None:
    """The mount that `path` lies on."""
    found: Mount | None = None
    for mount in mounts:
        if is_below(path, mount.path) and (found is None or len(mount.path) >= len(found.path)):
            found = mount
    return found


def to_visit(mounts: list[Mount], top: Mount | None) -> list[Mount]:
    """Of the mounts below a root, those that are whole filesystems of this host on a disk, each once.

    Binds, overlays and memory are left out: what they show lies somewhere else, or nowhere.
    """
    seen = set() if top is None else {(top.device, top.root if top.kind == "btrfs" else b"")}
    found = []
    for mount in mounts:
        key = (mount.device, mount.root if mount.kind == "btrfs" else b"")
        whole = mount.root == b"/" or mount.kind == "btrfs"
        if mount.kind in DISKS and whole and key not in seen:
            seen.add(key)
            found.append(mount)
    return found


def _unescape(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
