"""What lies in the persistent area and no generation declares: found, set aside for some days, put back, deleted.

Nothing is deleted that was not set aside before, and no sooner than was said then.
"""

from __future__ import annotations

import json
import os
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca import fs
from anicca.drift.area import (
    AREA,
    OWN,
    Declared,
    area_of,
    held,
    in_area,
    leads_to,
    own,
    own_place,
    plain_parents,
    read_declared,
)
from anicca.drift.entry import kind_of, parent
from anicca.drift.inside import Root
from anicca.drift.lines import get_path, put_path
from anicca.drift.scan import Options, Scan
from anicca.errors import AniccaError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ASIDE = "aside"
DAY = 86400


class Orphan(NamedTuple):
    """A path that nobody declares: how many paths and bytes it has, and when something of it was last written."""

    path: bytes
    kind: str
    paths: int
    size_bytes: int
    written_ns: int


class Aside(NamedTuple):
    """Something that was set aside: `number` names it, `due` is when it may be deleted (seconds since 1970)."""

    number: str
    path: bytes
    why: str
    since: float
    due: float


def find_orphans(top: Path) -> list[Orphan]:
    """What no generation declares, the highest paths only. Raises `AniccaError`."""
    declared = read_declared(Root(os.fsencode(top)))
    area = area_of(top)
    if not area.is_dir():
        raise AniccaError(f"{area}: no persistent area is there", hint="this is for hosts that anicca built")
    return [_measured(top, path) for path in _undeclared(top, b"/", declared)]


def _undeclared(top: Path, directory: bytes, declared: Declared) -> Iterator[bytes]:
    with os.scandir(in_area(top, directory)) as found:
        names = sorted((os.fsencode(one.name), one.is_dir(follow_symlinks=False)) for one in found)
    for name, is_directory in names:
        path = directory.rstrip(b"/") + b"/" + name
        if path in declared.paths or AREA + path == OWN:
            continue
        if is_directory and leads_to(path, declared):
            yield from _undeclared(top, path, declared)
        else:
            yield path


def _measured(top: Path, path: bytes) -> Orphan:
    place = in_area(top, path)
    seen = place.lstat()
    if not stat.S_ISDIR(seen.st_mode):
        return Orphan(path, kind_of(seen.st_mode), 1, seen.st_size, seen.st_mtime_ns)
    paths = size = written = 0
    for entry in Scan(os.fsencode(place), Options(cross_mounts=False, xattrs=False, polite=True)):
        paths += 1
        size += entry.size if stat.S_ISREG(entry.mode) else 0
        written = max(written, entry.mtime_ns)
    return Orphan(path, "directory", paths, size, written)


def set_aside(top: Path, paths: Sequence[bytes], *, days: int) -> list[Aside]:
    """Set orphans aside: each by one rename. Raises `RefusedError` for what is declared, before anything is moved."""
    with held(top):
        known = {one.path for one in find_orphans(top)}
        for path in paths:
            if path not in known:
                raise RefusedError(
                    f"{os.fsdecode(path)} is not an orphan, or only a part of one",
                    hint="anicca orphans lists them; what a generation declares is never moved",
                )
        return [move_aside(top, path, days=days, why="no generation declared it") for path in paths]


def move_aside(top: Path, path: bytes, *, days: int, why: str, source: Path | None = None) -> Aside:
    """Move what is at a path of the area, or `source`, among our own things; the caller holds the area."""
    now = time.time()
    aside = own(top, ASIDE)
    number = str(1 + max((int(one.name) for one in aside.iterdir() if one.name.isdigit()), default=0))
    place = aside / number
    fs.make_private_directory(place)
    record: dict[str, Any] = {"why": why, "since": now, "due": now + days * DAY}
    put_path(record, "path", path)
    # What it is comes first: something set aside whose place is not known could not be put back.
    fs.write_atomic(place / "about.json", json.dumps(record).encode() + b"\n", mode=0o600)
    fs.sync_directory(aside)
    source = source or in_area(top, path)
    source.rename(place / "what")
    fs.sync_directory(place)
    fs.sync_directory(source.parent)
    return Aside(number, path, why, now, now + days * DAY)


def read_aside(top: Path) -> list[Aside]:
    """What was set aside and is there still, oldest first. Raises `AniccaError` where a record is damaged."""
    aside = own_place(top, ASIDE)
    found = []
    for place in aside.iterdir() if aside.is_dir() else ():
        # Without `what` the power went before it was moved, or while it was put back: it is where it was.
        if not place.name.isdigit() or not os.path.lexists(place / "what"):
            continue
        try:
            record = json.loads((place / "about.json").read_bytes())
            found.append(Aside(place.name, get_path(record, "path"), record["why"], record["since"], record["due"]))
        except (OSError, ValueError, KeyError) as error:
            raise AniccaError(
                f"{place}: what was set aside there is not known: {error}", hint="look into it; nothing deletes it"
            ) from error
    return sorted(found, key=lambda one: (one.since, int(one.number)))


def put_back(top: Path, path: bytes) -> Aside:
    """Put the newest of that path back where it was. Raises `RefusedError` where something is by now."""
    with held(top):
        known = [one for one in read_aside(top) if one.path == path]
        if not known:
            raise AniccaError(f"{os.fsdecode(path)} was not set aside", hint="anicca orphans lists what was")
        target = in_area(top, path)
        if os.path.lexists(target):
            raise RefusedError(f"{target} is there again", hint="move one of the two away by hand")
        if plain_parents(area_of(top), path) is not None or not in_area(top, parent(path)).is_dir():
            raise RefusedError(f"{target.parent} is not a plain directory any more", hint="make it first")
        one = known[-1]
        place = own_place(top, ASIDE) / one.number
        (place / "what").rename(target)
        fs.sync_directory(target.parent)
        fs.remove_tree(place)
        return one


def delete_due(top: Path, *, now: float | None = None) -> list[Aside]:
    """Delete what has been aside for as long as was said. The clock decides, and it is the host's."""
    at = time.time() if now is None else now
    if not (own_place(top, ASIDE)).is_dir():
        return []
    with held(top):
        due = [one for one in read_aside(top) if one.due <= at]
        for one in due:
            # Its record goes last: a power cut leaves a part of it due, not a part of nothing known.
            place = own_place(top, ASIDE) / one.number
            fs.remove_tree(place / "what")
            fs.remove_tree(place)
        return due


def orphan_record(one: Orphan) -> dict[str, Any]:
    """An orphan as JSON has it."""
    record: dict[str, Any] = {"kind": one.kind, "paths": one.paths, "size": one.size_bytes, "mtime_ns": one.written_ns}
    put_path(record, "path", one.path)
    return record


def aside_record(one: Aside) -> dict[str, Any]:
    """Something set aside as JSON has it."""
    record: dict[str, Any] = {"number": one.number, "why": one.why, "since": one.since, "due": one.due}
    put_path(record, "path", one.path)
    return record
