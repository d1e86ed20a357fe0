"""The walk itself: directories listed depth first, names in the order of their bytes.

`Walk` looks at each name itself, which is all that it takes where no content is wanted. `Listing` only names what
others look at.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift.descent import Descent
from anicca.drift.entry import HIDDEN
from anicca.drift.reader import IS_DIRECTORY, IS_FILE, TAG_DIRECTORY, TAG_FILE, TAG_OTHER, Piece
from anicca.drift.rows import FORMAT, GONE, fields, named_row, row_of, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anicca.drift.rows import Row

    Want = Callable[[bytes], str]
    """Says for a regular file which digest is wanted: an algorithm of hashlib, or nothing."""

RUN_NAMES = 128
"""So many names are told at once."""
SOME = 10_000
ENCODING, ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
DIRECTORY, LINK = stat.S_IFDIR, stat.S_IFLNK


class Places(NamedTuple):
    """Where a walk goes: directories that are open, the mounts it meets, and whether it sees what lies beneath them."""

    tops: dict[bytes, int]
    mounts: frozenset[bytes] = frozenset()
    sees_beneath: bool = False

    def stays_out(self, path: bytes) -> bool:
        """Whether `path` is a mount that is neither visited nor seen through."""
        return path in self.mounts and path not in self.tops and not self.sees_beneath

    def flags_below(self, path: bytes, flags: str) -> str:
        """The flags of what is in a directory that is entered."""
        return HIDDEN if path in self.mounts and path not in self.tops else flags


class Level(NamedTuple):
    """A directory on the way down: its path, what comes before a name in it, the flags of what is in it, names left."""

    path: bytes
    prefix: bytes
    flags: str
    names: Iterator[bytes]


class Walk:
    """One walk, which looks at all it finds."""

    def __init__(self, places: Places, *, xattrs: bool) -> None:
        self._places = places
        self._mounted = places.mounts | places.tops.keys()
        self._xattrs = xattrs
        self._descent = Descent(places.tops)

    def close(self) -> None:
        """Close the directories that are open."""
        self._descent.close()

    def rows(self, top: bytes, flags: str = "") -> Iterator[list[Row]]:
        """All that is below the directory `top`."""
        try:
            self._descent.enter(top)
            # A list of what is left at each level, not recursion: paths are deeper than Python's stack.
            levels = [Level(top, prefix_of(top), flags, self._names())]
        except OSError as error:
            yield unseen(top, error, "")
            return
        rows: list[Row] = []
        while levels:
            level = levels[-1]
            try:
                below = self._look(level, rows)
            except OSError as error:
                # The way back to this directory is gone.
                rows += unseen(level.path, error, "")
                below = None
            if len(rows) >= RUN_NAMES:
                # Small directories share a list: each that is told costs as much as a path.
                yield rows
                rows = []
            if below is None:
                levels.pop()
                if levels:
                    self._descent.up()
            elif below is not level:
                levels.append(below)
        yield rows

    def _look(self, level: Level, rows: list[Row]) -> Level | None:
        """Look at names until there is a directory to enter, which is returned, or enough; None when all is done."""
        _, prefix, flags, names = level
        fd = self._descent.here()
        status, fields_of, xattrs = os.stat, fields, self._xattrs
        place = b"/proc/self/fd/%d/" % fd if xattrs else b""
        for name in names:
            path = prefix + name
            try:
                seen = status(name, dir_fd=fd, follow_symlinks=False)
                form = seen.st_mode & FORMAT
                if form == DIRECTORY:
                    below = self._directory(level, path, seen, rows)
                    if below is not None:
                        return below
                    continue
                target = os.readlink(name, dir_fd=fd) if form == LINK else b""
                if xattrs:
                    rows.append(row_of(path, seen, target, flags, place + name))
                else:
                    rows.append((path, *fields_of(seen), target, (), "", flags, ""))
            except OSError as error:
                rows += unseen(path, error, flags)
                continue
            if len(rows) >= RUN_NAMES:
                return level
        return None

    def _directory(self, level: Level, path: bytes, seen: os.stat_result, rows: list[Row]) -> Level | None:
        """Tell of a directory, and go into it if that is where the walk goes. Raises `OSError`."""
        places, flags, xattrs = self._places, level.flags, self._xattrs
        name = path[len(level.prefix) :]
        # Of nearly all there is nothing to ask.
        mounted = path in self._mounted
        fd = self._descent.here()
        place = b"/proc/self/fd/%d/" % fd if xattrs else None
        if mounted and places.stays_out(path):
            rows.append(named_row(path, name, fd, flags, place))
            return None
        try:
            below = self._descent.down(name)
        except OSError as error:
            rows.append(named_row(path, name, fd, flags, place))
            rows += unseen(path, error, "")
            return None
        try:
            if mounted and path in places.tops:
                # What is mounted there, not what lies beneath.
                seen = os.fstat(below)
            rows.append(row_of(path, seen, b"", flags, below if xattrs else None))
            return Level(path, prefix_of(path), places.flags_below(path, flags) if mounted else flags, self._names())
        except OSError as error:
            rows += unseen(path, error, "")
            self._descent.up()
            return None

    def _names(self) -> Iterator[bytes]:
        """The names in the directory where we are."""
        found: list[Any] = os.listdir(self._descent.here())  # noqa: PTH208 (no path)
        # Some at a time, for there can be a million: both lists together would be too much.
        for at in range(0, len(found), SOME):
            found[at : at + SOME] = [name.encode(ENCODING, ERRORS) for name in found[at : at + SOME]]
        found.sort()
        return iter(found)


class Listed:
    """A directory on the way down whose names are known: `at` is the first that is left, `stops` where directories are.

    `own` are the flags of the directory itself, as long as it was not told of.
    """

    def __init__(self, path: bytes, flags: str, own: str | None, names: list[bytes]) -> None:
        self.path, self.flags, self.own, self.names = path, flags, own, names
        self.at = 0
        self.stops = [at for at, name in enumerate(names) if name[-1] == IS_DIRECTORY]
        self.stops.reverse()


class Listing:
    """One walk that only lists: what is found is for others to look at, who read what `want` asks for."""

    def __init__(self, places: Places, want: Want | str, *, beneath: bool = False) -> None:
        self._places = places
        self._want = want
        self._beneath = beneath
        self._descent = Descent(places.tops)

    def close(self) -> None:
        """Close the directories that are open."""
        self._descent.close()

    def pieces(self, top: bytes, flags: str = "", own: str | None = None) -> Iterator[Piece]:
        """All that is below the directory `top`; itself first, with the flags `own`, if that is not None."""
        try:
            self._descent.enter(top)
            levels = [Listed(top, flags, own, tagged_names(self._descent.here()))]
        except OSError as error:
            yield self._shut(top, own, error)
            return
        while levels:
            level = levels[-1]
            yield from self._up_to_a_directory(level)
            if level.stops:
                below = self._enter(level)
                if isinstance(below, Listed):
                    levels.append(below)
                else:
                    yield below
            else:
                levels.pop()
                if levels:
                    yield from self._back(levels[-1])

    def _up_to_a_directory(self, level: Listed) -> Iterator[Piece]:
        stop = level.stops[-1] if level.stops else len(level.names)
        while level.at < stop or level.own is not None:
            names = level.names[level.at : min(stop, level.at + RUN_NAMES)]
            level.at += len(names)
            own, level.own = level.own, None
            yield Piece(level.path, self._beneath, level.flags, own, "", names, self._asked(level.path, names))

    def _asked(self, directory: bytes, names: list[bytes]) -> str | list[str]:
        """What is asked of each, or of all files."""
        want = self._want
        if isinstance(want, str):
            return want
        prefix = prefix_of(directory)
        return [want(prefix + name[:-2]) if name[-1] == IS_FILE else "" for name in names]

    def _enter(self, level: Listed) -> Listed | Piece:
        """Go into the next directory; or what is to be told of one that is not entered."""
        tagged = level.names[level.stops.pop()]
        level.at += 1
        path = prefix_of(level.path) + tagged[:-2]
        named = Piece(level.path, self._beneath, level.flags, None, "", [tagged], "")
        if self._places.stays_out(path):
            return named
        try:
            self._descent.down(tagged[:-2])
        except OSError as error:
            # Or it is something else by now.
            return named if error.errno in GONE else self._shut(path, level.flags, error)
        try:
            names = tagged_names(self._descent.here())
            return Listed(path, self._places.flags_below(path, level.flags), level.flags, names)
        except OSError as error:
            self._descent.up()
            return self._shut(path, level.flags, error)

    def _back(self, level: Listed) -> Iterator[Piece]:
        """Go up to a level; if there is no way back, what is left of it cannot be looked at."""
        self._descent.up()
        try:
            self._descent.here()
        except OSError as error:
            yield self._shut(level.path, None, error)
            level.stops.clear()
            level.at = len(level.names)

    def _shut(self, path: bytes, own: str | None, error: OSError) -> Piece:
        return Piece(path, self._beneath, "", own, error.strerror or str(error), [], "")


def tagged_names(directory: int) -> list[bytes]:
    """The names in an open directory, sorted, each with the tag of its type. Raises `OSError`."""
    with os.scandir(directory) as entries:
        found = [entry.name.encode(ENCODING, ERRORS) + _tag(entry) for entry in entries]
    found.sort()
    return found


def prefix_of(directory: bytes) -> bytes:
    """What comes before a name in a directory."""
    return b"/" if directory == b"/" else directory + b"/"


def _tag(entry: os.DirEntry[str]) -> bytes:
    try:
        if entry.is_dir(follow_symlinks=False):
            return TAG_DIRECTORY
        return TAG_FILE if entry.is_file(follow_symlinks=False) else TAG_OTHER
    except OSError:
        # Who looks at it is told the same, and says so.
        return TAG_OTHER
