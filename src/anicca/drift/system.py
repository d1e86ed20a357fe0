"""What the root of an anicca host must have: its seed, exactly, and nothing else but what programs write while it runs.

Read from the system object: the tree's manifest (docs/internals/tree.md), the spec, and layout/persist. /usr and /etc
are read-only mounts of their own; here they are mount points.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift import records
from anicca.drift.content import SAME_AS
from anicca.drift.entry import is_below, parent
from anicca.drift.expect import Expectation, Expected, in_order
from anicca.drift.rules import declared_rules

if TYPE_CHECKING:
    from anicca.drift.inside import Root
    from anicca.drift.rules import Rule

CURRENT = b"/run/anicca/system"
MANIFEST = b"/manifest.jsonl"
RULES_FILE = "/etc/anicca/rules.json"
ELSEWHERE = {
    b"/boot": 0o755,
    b"/dev": 0o755,
    b"/etc": 0o755,
    b"/nix": 0o755,
    b"/proc": 0o555,
    b"/run": 0o755,
    b"/sys": 0o555,
    b"/tmp": 0o1777,
    b"/usr": 0o755,
}
"""Mount points of the seed: what is in them is not the root's."""
MOUNTED = frozenset((*ELSEWHERE, b"/nix/store", b"/dev/shm"))
EMPTY = f"sha256:{hashlib.sha256().hexdigest()}"
MOUNTED_LINES = (b'{"path":"/usr/', b'{"path":"/etc/')
MERGED = (b"/bin", b"/sbin", b"/lib", b"/lib64")


def read_expectation(root: Root) -> Expectation:
    """What the running system's seed has. Raises `OSError`, or `ValueError` or `KeyError` for a damaged object."""
    system = root.real(CURRENT)
    reading = _Reading(root)
    reading.add_mount_points()
    for line in root.lines(system + MANIFEST):
        # Nearly all of a tree is in these; to parse a hundred thousand lines takes longer than to look at the root.
        if not line.startswith(MOUNTED_LINES):
            reading.add_tree(json.loads(line))
    spec = json.loads(root.read(system + b"/spec.json"))
    for path, declared in spec["files"].items():
        if not path.startswith("/etc/"):
            reading.add_declared(path.encode(), declared)
    kept = reading.add_persisted(root.read(system + b"/layout/persist"))
    reading.add_parents()
    return Expectation(
        name=f"the system of {spec['name']}",
        entries=in_order(reading.found),
        mounts=MOUNTED | kept,
        below=tuple(sorted(kept)),
        own_rules=read_rules(spec),
    )


def running_rules(root: Root) -> tuple[Rule, ...]:
    """What the running system says about undeclared paths. Raises `OSError`, `ValueError` or `KeyError`."""
    return read_rules(json.loads(root.read(CURRENT + b"/spec.json")))


def read_rules(spec: dict[str, Any]) -> tuple[Rule, ...]:
    """What a system's spec says about undeclared paths. Raises `ValueError` or `KeyError`."""
    declared = spec["files"].get(RULES_FILE)
    return () if declared is None else declared_rules(json.loads(_content(declared)))


class Kept(NamedTuple):
    """A path that persists: `d` or `f`, with the owner and mode that every boot gives it; by whom it is declared."""

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    by: tuple[str, ...] = ()


def parse_kept(lines: bytes) -> list[Kept]:
    """The kept paths of a system's `layout/persist` (docs/internals/boot.md). Raises `ValueError`."""
    found = []
    for line in lines.splitlines():
        kind, mode, uid, gid, path = line.split(b" ", 4)
        found.append(Kept(path, kind.decode(), int(mode, 8), int(uid), int(gid)))
    return found


class Tree(NamedTuple):
    """What it takes to read a tree's manifest: where the store of the host is, and the numbers of its names."""

    same: str
    users: dict[str, int]
    groups: dict[str, int]

    def expected(self, record: dict[str, Any], origin: str, top: str = "") -> Expected:
        """What an entry of the manifest asks for, its path from the directory `top`."""
        kind, source = record["kind"], record.get("source")
        digests: tuple[str, ...] = ()
        if kind == "file":
            digests = (self.same + source,) if source else (EMPTY,)
        attributes: tuple[tuple[str, bytes], ...] = ()
        if "xattrs" in record:
            attributes = tuple(sorted((name, base64.b64decode(value)) for name, value in record["xattrs"].items()))
        return Expected(
            path=record["path"][len(top) :].encode("utf-8", "surrogateescape") or b"/",
            origin=origin,
            kinds=(kind,),
            mode=None if kind == "symlink" else int(record["mode"], 8),
            uid=self.users.get(record["user"]),
            gid=self.groups.get(record["group"]),
            size=record.get("size", 0) if kind == "file" else None,
            targets=(record["target"].encode("utf-8", "surrogateescape"),) if kind == "symlink" else (),
            xattrs=attributes,
            digests=digests,
        )


def read_tree(root: Root) -> Tree:
    """For the manifest of what runs in a root. Raises `OSError`."""
    users, groups = (records.parse_names(root.read(path)) for path in (b"/etc/passwd", b"/etc/group"))
    return Tree(f"{SAME_AS}{os.fsdecode(root.top)}", users, groups)


class _Reading:
    def __init__(self, root: Root) -> None:
        self.root = root
        self.found: dict[bytes, Expected] = {}
        self._tree = read_tree(root)

    def add_mount_points(self) -> None:
        """The root itself and the directories over which the system is mounted."""
        for path, mode in {b"/": 0o755, **ELSEWHERE}.items():
            self.found[path] = Expected(path, "seed", kinds=("directory",), mode=mode, uid=0, gid=0)

    def add_tree(self, record: dict[str, Any]) -> None:
        """An entry of the tree, if it is laid out on the root."""
        entry = self._tree.expected(record, "seed")
        if entry.path != b"/" and not any(is_below(entry.path, top) for top in ELSEWHERE):
            self.found[entry.path] = entry

    def add_declared(self, path: bytes, declared: dict[str, Any]) -> None:
        """A declared file, link or directory on the root."""
        kind = {"file": "file", "link": "symlink", "directory": "directory"}[declared["type"]]
        content = _content(declared)
        self.found[path] = Expected(
            path=path,
            origin="declared",
            kinds=(kind,),
            mode=None if kind == "symlink" else int(declared["mode"], 8),
            uid=self._tree.users.get(declared.get("owner", "root")),
            gid=self._tree.groups.get(declared.get("group", "root")),
            targets=(declared["target"].encode(),) if kind == "symlink" else (),
            xattrs=(),
            digests=(f"sha256:{hashlib.sha256(content).hexdigest()}",) if kind == "file" else (),
        )

    def add_persisted(self, lines: bytes) -> frozenset[bytes]:
        """The mount points of persisted paths, which may have any owner; their content is the host's own."""
        kept = parse_kept(lines)
        for one in kept:
            is_directory = one.kind == "d"
            self.found[one.path] = Expected(
                path=one.path,
                origin="persisted",
                kinds=("directory" if is_directory else "file",),
                mode=one.mode if is_directory else None,
                uid=one.uid,
                gid=one.gid,
            )
        return frozenset(one.path for one in kept)

    def add_parents(self) -> None:
        """The directories that lead to what is laid out."""
        for path in list(self.found):
            at = parent(path)
            while at not in self.found:
                self.found[at] = Expected(at, "seed", kinds=("directory",), mode=0o755, uid=0, gid=0)
                at = parent(at)


def _content(declared: dict[str, Any]) -> bytes:
    content = declared.get("content", "")
    if isinstance(content, dict):
        return base64.b64decode(next(iter(content.values())))
    return bytes(content.encode())
