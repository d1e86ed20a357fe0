"""The manifest of a tree: one JSON object a line, sorted by path, owners by name.

Written by `assemble`, read by every builder after it. Standard library only: it runs on the toolchain's Python.
The format is described in docs/internals/tree.md.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

XATTRS = frozenset({"security.capability", "system.posix_acl_access", "system.posix_acl_default"})
"""The extended attributes that are kept, besides `user.*`."""
ACL_USER, ACL_GROUP = 0x02, 0x08
"""Tags of access list entries that name somebody (linux/posix_acl_xattr.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of the tree.

    `kind` is one of "file", "directory", "symlink"; `source` is the store path that holds a file's content
    (None for an empty file); paths that share a `link` are one file with several names.
    """

    path: str
    kind: str
    mode: int
    user: str
    group: str
    mtime: int
    size: int = 0
    target: str = ""
    source: str | None = None
    link: int | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()

    def to_line(self) -> bytes:
        """The entry as a line of the manifest; defaults are left out."""
        record: dict[str, Any] = {
            "path": self.path,
            "kind": self.kind,
            "mode": f"{self.mode:04o}",
            "user": self.user,
            "group": self.group,
            "mtime": self.mtime,
        }
        if self.kind == "file":
            record["size"] = self.size
        if self.target:
            record["target"] = self.target
        if self.source is not None:
            record["source"] = self.source
        if self.link is not None:
            record["link"] = self.link
        if self.xattrs:
            record["xattrs"] = {name: base64.b64encode(value).decode() for name, value in self.xattrs}
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """The entry that `to_line` wrote. Raises `ValueError` or `KeyError` on anything else."""
        record = json.loads(line)
        return cls(
            path=record["path"],
            kind=record["kind"],
            mode=int(record["mode"], 8),
            user=record["user"],
            group=record["group"],
            mtime=record["mtime"],
            size=record.get("size", 0),
            target=record.get("target", ""),
            source=record.get("source"),
            link=record.get("link"),
            xattrs=tuple((name, base64.b64decode(value)) for name, value in record.get("xattrs", {}).items()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Numbers for names, as the lock allocated them."""

    users: Mapping[str, int]
    groups: Mapping[str, int]

    @classmethod
    def read(cls, path: Path) -> Ids:
        """Read `{"users": {name: uid}, "groups": {name: gid}}`."""
        record = json.loads(path.read_bytes())
        return cls(users=record["users"], groups=record["groups"])


def read(path: Path) -> Iterator[Entry]:
    """The manifest's entries in order."""
    with path.open("rb") as lines:
        for line in lines:
            yield Entry.from_line(line)


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Write the manifest; `entries` are sorted by the bytes of their paths."""
    with path.open("wb") as file:
        file.writelines(entry.to_line() for entry in sorted(entries, key=lambda entry: os.fsencode(entry.path)))


def place(entry: Entry, path: str, ids: Ids) -> None:
    """Make `path` what `entry` says, except a file's content and links: owner, mode, xattrs, time."""
    os.chown(path, ids.users[entry.user], ids.groups[entry.group], follow_symlinks=False)
    if entry.kind != "symlink":
        # After chown, which clears setuid and file capabilities.
        os.chmod(path, entry.mode)  # noqa: PTH101
    for name, value in entry.xattrs:
        os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)


def copy_out(entries: Iterable[Entry], root: str, ids: Ids) -> None:
    """Lay entries out below `root` with their content; directories get their times last."""
    directories: list[tuple[Entry, str]] = []
    links: dict[int, str] = {}
    for entry in entries:
        path = root + entry.path
        if entry.kind == "directory":
            os.makedirs(path, exist_ok=True)  # noqa: PTH103
            directories.append((entry, path))
            continue
        if entry.kind == "symlink":
            os.symlink(entry.target, path)  # noqa: PTH211
        elif entry.link in links and entry.link is not None:
            os.link(links[entry.link], path)
            continue
        else:
            copy_content(entry, path)
            if entry.link is not None:
                links[entry.link] = path
        place(entry, path, ids)
    for entry, path in reversed(directories):
        place(entry, path, ids)


def copy_content(entry: Entry, path: str) -> None:
    """Write the entry's content to `path`, in the kernel where it can."""
    with open(path, "xb") as target:  # noqa: PTH123
        if entry.source is None:
            return
        with open(entry.source, "rb") as source:  # noqa: PTH123
            size = os.fstat(source.fileno()).st_size
            copied = 0
            while copied < size:
                count = os.sendfile(target.fileno(), source.fileno(), copied, size - copied)
                if count == 0:
                    raise OSError(f"{entry.source} ended at {copied} of {size} bytes")
                copied += count


def is_below(path: str, *tops: str) -> bool:
    """Whether `path` is one of `tops` or below it."""
    return any(path == top or path.startswith(top + "/") for top in tops)


def kind_of(mode: int) -> str:
    """The entry kind of an `st_mode`. Raises `ValueError` for sockets, fifos and device nodes."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "symlink"
    raise ValueError(f"file type {stat.S_IFMT(mode):o}")


def acl_ids(value: bytes) -> list[int]:
    """The ids that an access list names: after a version of 4 bytes, entries of tag, permissions and id."""
    return [number for tag, _mode, number in struct.iter_unpack("<HHI", value[4:]) if tag in {ACL_USER, ACL_GROUP}]
