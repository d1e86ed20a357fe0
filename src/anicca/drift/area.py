"""The persistent area of a host: where it is, what generations declare of it, and how something gets into it whole."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from anicca import fs, process
from anicca.drift import system
from anicca.drift.entry import Entry, Leaders, is_below
from anicca.drift.scan import Options, Scan, look_at
from anicca.errors import AniccaError
from anicca.store import locks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anicca.drift.inside import Root

AREA = b"/nix/persist"
OWN = AREA + b"/.anicca"
"""Our own things in it: never declared, never an orphan."""
PROFILES = b"/nix/var/nix/profiles"
_GENERATION = re.compile(rb"system-([0-9]+)-link")


class Declared(NamedTuple):
    """What each generation and the running system keep. `running` are the paths that are kept now."""

    paths: dict[bytes, system.Kept]
    running: frozenset[bytes]


def read_declared(root: Root) -> Declared:
    """What any generation of the host in `root` declares to persist, and what is running.

    Raises `AniccaError` where there is no generation and no running system, or one cannot be read: then nobody may be
    told that something is declared by none.
    """
    systems = {}
    for name in root.names(PROFILES):
        match = _GENERATION.fullmatch(name)
        if match is not None:
            systems[f"generation {int(match[1])}"] = PROFILES + b"/" + name
    if root.exists(system.CURRENT):
        systems["the running system"] = system.CURRENT
    if not systems:
        raise AniccaError(
            "no generation of anicca's is here, so nothing says what is declared to persist",
            hint="this is for hosts that anicca built",
        )
    found: dict[bytes, system.Kept] = {}
    running: frozenset[bytes] = frozenset()
    for who, place in systems.items():
        try:
            kept = system.parse_kept(root.read(place + b"/layout/persist"))
        except (OSError, ValueError) as error:
            raise AniccaError(
                f"{who} ({os.fsdecode(place)}): what it keeps cannot be read: {error}",
                hint="anicca store verify tells whether the store is whole; anicca gc --keep drops old generations",
            ) from error
        for one in kept:
            by = found[one.path].by if one.path in found else ()
            found[one.path] = one._replace(by=(*by, who))
        if place == system.CURRENT:
            running = frozenset(one.path for one in kept)
    return Declared(found, running)


def area_of(top: Path) -> Path:
    """Where the persistent area of the host whose root is `top` lies."""
    return top / os.fsdecode(AREA[1:])


def in_area(top: Path, path: bytes) -> Path:
    """Where a path of the host whose root is `top` lies in its persistent area."""
    return area_of(top) / os.fsdecode(path.lstrip(b"/"))


def own_place(top: Path, name: str) -> Path:
    """Where a thing of ours lies in the persistent area, whether it is there or not."""
    return top / os.fsdecode(OWN[1:]) / name


def own(top: Path, name: str) -> Path:
    """A directory of ours in the persistent area, which is made if missing. Raises `AniccaError` where none is."""
    area = area_of(top)
    if not area.is_dir():
        raise AniccaError(f"{area}: no persistent area is there", hint="this is for hosts that anicca built")
    directory = own_place(top, name)
    fs.make_private_directory(own_place(top, ""))
    fs.make_private_directory(directory)
    return directory


@contextmanager
def held(top: Path) -> Iterator[None]:
    """Nobody else changes the persistent area through anicca meanwhile."""
    fd = locks.open_lock(own(top, "") / "lock")
    try:
        locks.lock(fd, exclusive=True)
        yield
    finally:
        os.close(fd)


class Copied(NamedTuple):
    """What was copied and found equal: how many paths, how many bytes, and files that have names elsewhere too."""

    paths: int
    size_bytes: int
    linked_elsewhere: int


def copy_verified(source: Path, target: Path) -> Copied:
    """Copy what is at `source` to `target`, which must not be there; then read both and compare.

    Every path has its content, owner, mode, times, extended attributes and hard links. What is mounted below is not
    entered. It is on disk when this returns. Raises `AniccaError` if the two differ: something writes there.
    """
    process.run(["cp", "-a", "-x", "--reflink=auto", "--sparse=auto", "-T", "--", source, target])
    copied = _compare(source, target)
    process.run(["sync", "-f", target if not target.is_symlink() else target.parent])
    return copied


def _compare(source: Path, target: Path) -> Copied:
    one, other = _states(source), _states(target)
    paths = size = linked = 0
    while True:
        before, after = next(one, None), next(other, None)
        if before is None and after is None:
            return Copied(paths, size, linked)
        wrong = _difference(before, after)
        if wrong:
            place = (before or after or (Entry(b"", 0), b""))[0].path
            raise AniccaError(
                f"{source}{os.fsdecode(place) if place != b'/' else ''}: {wrong}; nothing was kept",
                hint="stop what writes there and try again",
            )
        assert before is not None
        paths += 1
        size += before[0].size if before[0].kind == "file" else 0
        linked += (
            before[0].nlink > 1 and before[0].kind != "directory" and before[0].nlink != (after or before)[0].nlink
        )


def _difference(before: tuple[Entry, bytes] | None, after: tuple[Entry, bytes] | None) -> str:
    """How two entries differ that should be equal; empty if they do not."""
    if before is None:
        return "is gone since it was copied"
    if after is None:
        return "was made since the copy began, or was not copied"
    one, other = before[0], after[0]
    if one.path != other.path:
        return "was made, renamed or removed while it was copied"
    if one.error or other.error:
        return f"cannot be read: {one.error or other.error}"
    if before[1] != after[1]:
        return "its hard links are not those of the copy"
    sizes = one.size == other.size or one.kind != "file"
    names = ("mode", "uid", "gid", "mtime_ns", "rdev", "target", "xattrs", "digest", "flags")
    differing = [name for name in names if getattr(one, name) != getattr(other, name)]
    if one.flags or differing or not sizes:
        return f"changed while it was copied ({', '.join(differing) or 'content'})"
    return ""


def _states(top: Path) -> Iterator[tuple[Entry, bytes]]:
    """All that is at and below a path, in order, each with the first name of its file."""
    leaders = Leaders()
    place = os.fsencode(top)
    if top.is_dir() and not top.is_symlink():
        entries: Iterator[Entry] = iter(Scan(place, Options(want="sha256", cross_mounts=False, polite=True)))
    else:
        directory, name = os.path.split(place)
        found = look_at(directory, b"/" + name, "sha256")
        entries = iter([] if found is None else [found._replace(path=b"/")])
    for entry in entries:
        yield entry, leaders.of(entry.path, entry.dev, entry.ino, entry.nlink) if entry.nlink > 1 else entry.path


def plain_parents(area: Path, path: bytes) -> Path | None:
    """The first symbolic link among the directories that lead to a path in the area, where there is one."""
    at = area
    for name in path.strip(b"/").split(b"/")[:-1]:
        at = at / os.fsdecode(name)
        if at.is_symlink():
            return at
    return None


def leads_to(directory: bytes, declared: Declared) -> bool:
    """Whether something declared lies below a directory."""
    return any(is_below(path, directory) and path != directory for path in declared.paths)
