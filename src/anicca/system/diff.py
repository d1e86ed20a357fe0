"""How two systems differ, as a person asks it: packages, /etc, units, accounts, what persists, what needs a reboot."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from anicca.system.treeview import TreeView
from anicca.system.unitfiles import read_units
from anicca.system.units import text_changes
from anicca.system.versions import version_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from anicca.system.erofs import ImageEntry
    from anicca.system.reading import Package, System
    from anicca.system.unitfiles import UnitSet

Move = Literal["added", "removed", "up", "down", "rebuilt"]

SECRETS = ("/etc/shadow", "/etc/gshadow")
"""Hashes of passwords are not for terminals; that they differ is."""
MADE = ("/etc/ld.so.cache",)
LONGEST_BYTES = 1 << 20
BOOT_PARTS = ("kernel", "initrd", "cmdline")

SYSCTL_FILE = "/etc/sysctl.d/60-anicca.conf"
"""Where declared kernel settings are. Said again: to import all that declares takes longer than to plan a switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageMove:
    """A package that is not the same in both. Sizes are those of its unpacked contents, 0 where it is not."""

    name: str
    move: Move
    before: str | None
    after: str | None
    bytes_before: int = 0
    bytes_after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChange:
    """A path that is not the same in both: what happened to it in words, and how its text changed, line by line."""

    path: str
    what: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemDiff:
    """All differences between two systems."""

    packages: tuple[PackageMove, ...] = ()
    etc: tuple[PathChange, ...] = ()
    root: tuple[PathChange, ...] = ()
    """Paths that every boot lays out elsewhere."""
    units: tuple[PathChange, ...] = ()
    users: tuple[PathChange, ...] = ()
    groups: tuple[PathChange, ...] = ()
    persist: tuple[PathChange, ...] = ()
    boot: tuple[PathChange, ...] = field(default=())
    """Kernel, initrd, command line: what only a reboot brings."""

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


def compare(old: System, new: System, *, size_of: Callable[[str], int] = lambda _contents: 0) -> SystemDiff:
    """Compare two systems. `size_of` tells the bytes of a package's contents object."""
    views = TreeView(old), TreeView(new)
    same_units = old.part("manifest.jsonl") == new.part("manifest.jsonl") and old.part("etc.erofs") == new.part(
        "etc.erofs"
    )
    etc = () if old.part("etc.erofs") == new.part("etc.erofs") else compare_paths(old.etc, new.etc)
    return SystemDiff(
        packages=compare_packages(old.packages, new.packages, size_of),
        etc=etc,
        root=() if old.part("seed.erofs") == new.part("seed.erofs") else compare_paths(old.seed, new.seed),
        units=() if same_units else compare_units(read_units(views[0]), read_units(views[1])),
        users=_compare_records(old.spec["users"], new.spec["users"]),
        groups=_compare_records(old.spec["groups"], new.spec["groups"]),
        persist=_compare_records(
            {p: f"{one.kind} {one.mode:04o} {one.uid}:{one.gid}" for p, one in old.persist.items()},
            {p: f"{one.kind} {one.mode:04o} {one.uid}:{one.gid}" for p, one in new.persist.items()},
        ),
        boot=compare_boot(old, new),
    )


def compare_packages(
    old: Mapping[str, Package], new: Mapping[str, Package], size_of: Callable[[str], int]
) -> tuple[PackageMove, ...]:
    """The packages that came, went or have another version, by name."""
    found = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is not None and after is not None and before.contents == after.contents:
            continue
        found.append(
            PackageMove(
                name=name,
                move=_move(before, after),
                before=before.version if before else None,
                after=after.version if after else None,
                bytes_before=size_of(before.contents) if before else 0,
                bytes_after=size_of(after.contents) if after else 0,
            )
        )
    return tuple(found)


def _move(before: Package | None, after: Package | None) -> Move:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    if before.version == after.version:
        return "rebuilt"
    return "up" if version_key(before.version) < version_key(after.version) else "down"


def compare_paths(old: Mapping[str, ImageEntry], new: Mapping[str, ImageEntry]) -> tuple[PathChange, ...]:
    """The paths that differ in kind, owner, mode, target or content, with a unified diff of texts."""
    found = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        if before is None or after is None:
            one = before or after
            assert one is not None
            target = f" to {os.fsdecode(one.content)}" if one.kind == "symlink" else ""
            what = f"{one.kind}{target} {'removed' if after is None else 'added'}"
        else:
            what = ", ".join(_what_changed(before, after))
        found.append(PathChange(path=path, what=what, lines=_lines(path, before, after)))
    return tuple(found)


def _what_changed(before: ImageEntry, after: ImageEntry) -> list[str]:
    found = []
    if before.kind != after.kind:
        found.append(f"{before.kind} became {after.kind}")
    elif before.content != after.content:
        leads = f"leads to {os.fsdecode(after.content)}, before to {os.fsdecode(before.content)}"
        found.append(leads if after.kind == "symlink" else "content changed")
    if before.mode & 0o7777 != after.mode & 0o7777:
        found.append(f"mode {before.mode & 0o7777:04o} became {after.mode & 0o7777:04o}")
    if (before.uid, before.gid) != (after.uid, after.gid):
        found.append(f"owner {before.uid}:{before.gid} became {after.uid}:{after.gid}")
    return found


def _lines(path: str, before: ImageEntry | None, after: ImageEntry | None) -> tuple[str, ...]:
    """The unified diff of two texts; nothing for links, directories, secrets and what is no text."""
    if path in SECRETS or path in MADE:
        return ()
    texts = [_text(before), _text(after)]
    if texts[0] is None or texts[1] is None:
        return ()
    return tuple(
        line.rstrip("\n")
        for line in difflib.unified_diff(
            texts[0].splitlines(keepends=True),
            texts[1].splitlines(keepends=True),
            fromfile="/dev/null" if before is None else f"a{path}",
            tofile="/dev/null" if after is None else f"b{path}",
        )
    )


def _text(entry: ImageEntry | None) -> str | None:
    if entry is None:
        return ""
    if entry.kind != "file" or len(entry.content) > LONGEST_BYTES or b"\0" in entry.content:
        return None
    try:
        return entry.content.decode()
    except UnicodeDecodeError:
        return None


def compare_units(old: UnitSet, new: UnitSet, goal: str = "default.target") -> tuple[PathChange, ...]:
    """Units that came, went, or that a boot starts or starts no more; and whose text changed, in which settings."""
    starts = old.reachable(goal), new.reachable(goal)
    found = []
    for name in sorted(old.units.keys() | new.units.keys()):
        before, after = old.units.get(name), new.units.get(name)
        words = []
        if before is None:
            words.append("added")
        if after is None:
            words.append("removed")
        if before is not None and after is not None:
            if before.masked != after.masked:
                words.append("masked" if after.masked else "not masked any more")
            words += text_changes(before, after) if not before.masked and not after.masked else []
        if (name in starts[0]) != (name in starts[1]):
            words.append("started at boot" if name in starts[1] else "not started at boot any more")
        if words:
            found.append(PathChange(path=name, what=", ".join(words)))
    return tuple(found)


def _compare_records(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[PathChange, ...]:
    found = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            found.append(PathChange(path=name, what="added"))
        elif name not in new:
            found.append(PathChange(path=name, what="removed"))
        elif old[name] != new[name]:
            found.append(PathChange(path=name, what=_record_change(old[name], new[name])))
    return tuple(found)


def _record_change(before: Any, after: Any) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
        return ", ".join(f"{key}: {_show(before.get(key))} became {_show(after.get(key))}" for key in keys)
    return f"{_show(before)} became {_show(after)}"


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def compare_boot(old: System, new: System) -> tuple[PathChange, ...]:
    """What only a reboot brings: kernel, initrd, command line but for the system's name, settings that are let go."""
    found = []
    if _differ(old.kernel, new.kernel):
        same = old.kernel_version == new.kernel_version
        what = "content changed" if same else f"{old.kernel_version} became {new.kernel_version}"
        found.append(PathChange(path="kernel", what=what))
    if _differ(old.initrd, new.initrd):
        found.append(PathChange(path="initrd", what="content changed"))
    words = [
        [word for word in system.cmdline.split() if not word.startswith("anicca.system=")] for system in (old, new)
    ]
    gone = [word for word in words[0] if word not in words[1]]
    came = [word for word in words[1] if word not in words[0]]
    if gone or came:
        what = "; ".join(
            filter(None, (f"without {' '.join(gone)}" if gone else "", " ".join(["with", *came]) if came else ""))
        )
        found.append(PathChange(path="command line", what=what))
    # What they were before anybody set them, only a fresh kernel knows.
    return (*found, *let_go(kernel_settings(old) - kernel_settings(new)))


def let_go(settings: Iterable[str]) -> tuple[PathChange, ...]:
    """What is to be said of kernel settings that are declared no more."""
    return tuple(PathChange(path=f"kernel setting {name}", what="declared no more") for name in sorted(settings))


def kernel_settings(system: System) -> set[str]:
    """The kernel settings that a system declares, by name."""
    entry = system.etc.get(SYSCTL_FILE)
    return set() if entry is None else {line.split(b" = ")[0].decode() for line in entry.content.splitlines()}


def _differ(one: Path, other: Path) -> bool:
    """Whether two boot files have different content; equal ones may lie in different objects."""
    if one == other:
        return False
    return one.stat().st_size != other.stat().st_size or one.read_bytes() != other.read_bytes()
