"""`anicca keep`: what is at a path now, copied into the persistent area, so that a declaration can keep it from now on.

Crash safe: the copy is made and verified among our own things, and appears in its place by one rename.
"""

from __future__ import annotations

import os
import posixpath
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca import events, fs
from anicca.declare.paths import FORBIDDEN_PERSIST, path_fault
from anicca.drift import orphans, records, system
from anicca.drift.area import Copied, area_of, copy_verified, held, in_area, own, plain_parents, read_declared
from anicca.drift.entry import is_below, kind_of
from anicca.drift.inside import Root
from anicca.errors import AniccaError, RefusedError, UsageError
from anicca.system.switching.area import is_parent, make_parents, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anicca.events import Report

WORK = "new"
"""Among our own things: what is being copied. What a crash leaves there is removed by the next run."""
SAVES_BY_RENAME = (
    "programs that save by writing a new file and renaming it cannot replace a single kept file: keep its directory"
)


class Plan(NamedTuple):
    """What `keep` will do, and the line for host.py. `already` names the kept path that holds it, if one does."""

    path: bytes
    kind: str
    line: str
    already: str = ""
    warnings: tuple[str, ...] = ()
    replaces: bool = False


def plan_keep(top: Path, path: str, *, replace: bool = False) -> Plan:
    """Look whether a path can be kept, and how it is said. Touches nothing. Raises `AniccaError`."""
    root = Root(os.fsencode(top))
    if not path.startswith("/"):
        raise UsageError(f"{path!r} is relative", hint="give the path from the root of the host")
    directory, name = posixpath.split(posixpath.normpath("/" + path.lstrip("/")))
    place = root.real(os.fsencode(directory)).rstrip(b"/") + b"/" + os.fsencode(name)
    shown = os.fsdecode(place)
    wrong = path_fault(shown, FORBIDDEN_PERSIST)
    if wrong is not None:
        raise UsageError(f"{shown} {wrong[0]}", hint=wrong[1])
    try:
        seen = root.lstat(place)
    except OSError as error:
        raise AniccaError(f"{shown}: {error.strerror}") from error
    kind = kind_of(seen.st_mode)
    if kind not in ("directory", "file"):
        raise UsageError(f"{shown} is a {kind}; what persists is a directory or a file", hint="keep its directory")
    declared = read_declared(root)
    holder = next((one for one in declared.running if is_below(place, one)), None)
    if holder is not None:
        return Plan(place, kind, "", already=os.fsdecode(holder))
    below = [one for one in declared.paths if is_below(one, place)]
    if below:
        raise RefusedError(
            f"{os.fsdecode(below[0])} persists already ({', '.join(declared.paths[below[0]].by)}) and is in {shown}",
            hint="keep what lies beside it, path by path",
        )
    link = plain_parents(area_of(top), place)
    if link is not None:
        raise RefusedError(
            f"{link} is a symbolic link", hint="nothing is kept through one: remove it, or keep elsewhere"
        )
    target = in_area(top, place)
    there = os.path.lexists(target)
    if there and not replace:
        raise RefusedError(
            f"{target} is there already, from an earlier time",
            hint="--replace sets it aside first; anicca orphans lists such things",
        )
    line, warnings = _line(root, place, seen)
    return Plan(place, kind, line, warnings=tuple(warnings), replaces=there)


def keep(top: Path, plan: Plan, *, days: int = 30, report: Report = events.ignore) -> Copied:
    """Copy, verify, put in place. What was there is set aside for some days. Raises `AniccaError`."""
    target = in_area(top, plan.path)
    shown = os.fsdecode(plan.path)
    report(events.Started(task=f"copy {shown}"))
    with held(top), _copy_of(top, plan.path) as (fresh, copied):
        if plan.replaces:
            orphans.move_aside(top, plan.path, days=days, why="replaced by anicca keep")
        # Not over something that came meanwhile: rename(2) would replace a file, or an empty directory.
        if os.path.lexists(target):
            raise RefusedError(f"{target} came while we were copying; nothing was changed")
        _put(top, plan.path, fresh)
    report(events.Finished(task=f"copy {shown}", note=f"{copied.paths} paths"))
    return copied


def adopt(top: Path, path: str, *, days: int = 30) -> None:
    """Keep what is at a path of the root that comes to persist, before the kept one is bound over it.

    A directory that is there for what is kept below it gets the rest. What is kept there already stays if a generation
    declares it: then what is on the root is set aside for some days, to be put back by `anicca orphans`. Else what was
    kept is set aside. Raises `AniccaError`.
    """
    place = os.fsencode(path)
    declared = read_declared(Root(os.fsencode(top))).paths
    with held(top), _copy_of(top, place) as (fresh, _copied):
        if not os.path.lexists(in_area(top, place)) or is_parent(area_of(top), path):
            _put(top, place, fresh)
        elif place in declared:
            orphans.move_aside(top, place, days=days, why="on the root when its path came to persist", source=fresh)
        else:
            orphans.move_aside(top, place, days=days, why="replaced by what was on the root")
            _put(top, place, fresh)


@contextmanager
def _copy_of(top: Path, path: bytes) -> Iterator[tuple[Path, Copied]]:
    """A verified copy of what is at a path of the root, among our own things; what is left of it at the end goes."""
    work = own(top, WORK)
    fs.remove_tree(work)
    fresh = own(top, WORK) / "copy"
    try:
        yield fresh, copy_verified(top / os.fsdecode(path.lstrip(b"/")), fresh)
    finally:
        fs.remove_tree(work)


def _put(top: Path, path: bytes, fresh: Path) -> None:
    """Give a copy its place in the area."""
    kept, place = area_of(top), os.fsdecode(path)
    make_parents(top, kept, place)
    put(kept, place, fresh)
    fs.sync_directory(own(top, WORK))


def _line(root: Root, place: bytes, seen: os.stat_result) -> tuple[str, list[str]]:
    """The words for host.py that keep a path as it is now, and what is to be thought of."""
    warnings = []
    shown = os.fsdecode(place)
    is_file = stat.S_ISREG(seen.st_mode)
    mode = stat.S_IMODE(seen.st_mode)
    words = [repr(shown)]
    if not _usual(root, place, seen):
        for word, number, table in (("owner", seen.st_uid, b"passwd"), ("group", seen.st_gid, b"group")):
            names = {given: name for name, given in records.parse_names(root.read_if_there(b"/etc/" + table)).items()}
            if number in names:
                words.append(f"{word}={names[number]!r}")
            else:
                warnings.append(f"its {word} is {number}, whom nobody declared: it becomes root's at the next boot")
        words.append(f"mode=0o{mode:o}")
    if is_file:
        words.append('kind="f"')
        warnings.append(SAVES_BY_RENAME)
    if is_file and seen.st_nlink > 1:
        warnings.append("it has other names, which are not kept")
    line = words[0] if len(words) == 1 else f"Persist({', '.join(words)})"
    return f"persist=[{line.replace(chr(39), chr(34))}]", warnings


def _usual(root: Root, place: bytes, seen: os.stat_result) -> bool:
    """Whether a path alone says the owner and mode that it has: those of the tree, else root's and 0755 or 0644."""
    wanted = None
    if root.exists(system.CURRENT):
        wanted = next((one for one in system.read_expectation(root).entries if one.path == place), None)
    mode, uid, gid = (0o755 if stat.S_ISDIR(seen.st_mode) else 0o644), 0, 0
    if wanted is not None:
        mode, uid, gid = wanted.mode or 0, wanted.uid or 0, wanted.gid or 0
    return (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) == (mode, uid, gid)


def to_record(plan: Plan, copied: Copied | None) -> dict[str, Any]:
    """What was done as JSON has it; without `copied`, what would be."""
    return {
        "path": os.fsdecode(plan.path).encode("utf-8", "replace").decode(),
        "kind": plan.kind,
        "line": plan.line,
        "already": plan.already or None,
        "warnings": list(plan.warnings),
        "replaces": plan.replaces,
        "copied": None if copied is None else copied._asdict(),
    }
