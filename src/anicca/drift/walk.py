"""The walk itself: directories listed depth first, names in the order of their bytes, each one looked at."""

from __future__ import annotations

import os
import stat
import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift.content import GONE, read_attributes
from anicca.drift.descent import Descent
from anicca.drift.entry import HIDDEN, join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anicca.drift.content import File
    from anicca.drift.entry import Xattrs

    Want = Callable[[bytes], str]
    """Says for a regular file which digest is wanted: an algorithm of hashlib, or nothing."""
    Row = tuple[Any, ...]
    """The fields of an entry, plain: it is made into one where it is needed."""
    Level = tuple[bytes, str, Iterator[bytes]]
    """A directory on the way down: its path, the flags of what is in it, and the names that are left."""

RUN_NAMES = 256
RUN_BYTES = 16_000
RUN_CONTENT = 8 << 20
"""So many entries are told at once, or so much of what is asked of files, or of their content."""
ENCODING, ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
FORMAT = stat.S_IFMT(0xFFFF)
_fields = attrgetter(
    *("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink", "st_dev", "st_ino", "st_rdev")
)
"""As an entry has them."""
DIRECTORY, FILE, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK


class Run(NamedTuple):
    """Entries of one directory, one after another.

    Of `unread` the content or the attributes are wanted from somebody else: each is the place of a row, which ends with
    target and flags, and the file.
    """

    directory: bytes
    rows: list[Row]
    unread: list[tuple[int, File]]


class Places(NamedTuple):
    """Where a walk goes: directories that are open, the mounts it meets, and whether it sees what lies beneath them."""

    tops: dict[bytes, int]
    mounts: frozenset[bytes] = frozenset()
    sees_beneath: bool = False


class Walk:
    """One walk. With `want`, which says of which files the content is wanted, somebody else reads what is in files."""

    def __init__(self, places: Places, want: Want | None, *, xattrs: bool) -> None:
        self._places = places
        self._want = want
        self._xattrs = xattrs
        self._descent = Descent(places.tops)

    def close(self) -> None:
        """Close the directories that are open."""
        self._descent.close()

    def runs(self, top: bytes, flags: str = "") -> Iterator[Run]:
        """All that is below the directory `top`."""
        try:
            self._descent.enter(top)
            # A list of what is left at each level, not recursion: paths are deeper than Python's stack.
            levels = [(top, flags, self._names())]
        except OSError as error:
            yield Run(top, unseen(top, error, ""), [])
            return
        while levels:
            level = levels[-1]
            run = Run(level[0], [], [])
            try:
                below = self._look(level, run)
            except OSError as error:
                # The way back to this directory is gone.
                run.rows.extend(unseen(run.directory, error, ""))
                below = None
            if run.rows:
                yield run
            if below is None:
                levels.pop()
                if levels:
                    self._descent.up()
            elif below is not level:
                levels.append(below)

    def look_at(self, directory: bytes, name: bytes) -> Run:
        """One name of a directory. Raises `OSError`."""
        self._descent.enter(directory)
        run = Run(directory, [], [])
        self._look((directory, "", iter([name])), run)
        return run

    def _look(self, level: Level, run: Run) -> Level | None:
        """Look at names until there is a directory to enter, which is returned, or enough; None when all is done."""
        directory, flags, names = level
        _, rows, unread = run
        fd = self._descent.here()
        prefix = b"/" if directory == b"/" else directory + b"/"
        want, status, fields_of = self._want, os.stat, _fields
        plain = not self._xattrs
        by_path = b"/proc/self/fd/%d/" % fd
        named = content = 0
        for name in names:
            path = prefix + name
            try:
                seen = status(name, dir_fd=fd, follow_symlinks=False)
                form = seen.st_mode & FORMAT
                target = os.readlink(name, dir_fd=fd) if form == LINK else b""
            except OSError as error:
                rows += unseen(path, error, flags)
                continue
            if form == DIRECTORY:
                below = self._directory(level, name, seen, rows)
                if below is not None:
                    return below
                continue
            algorithm = want(path) if want is not None and form == FILE else ""
            if algorithm or (want is not None and not plain):
                row = (path, *fields_of(seen), target, flags)
                unread.append((len(rows), (name, algorithm, row[9], row[8], *row[4:7])))
                rows.append(row)
                named += len(name) + len(algorithm)
                content += seen.st_size if algorithm else 0
            elif plain:
                rows.append((path, *fields_of(seen), target, (), "", flags, ""))
            else:
                rows += self._told(path, seen, target, flags, by_path + name)
            if len(rows) >= RUN_NAMES or named > RUN_BYTES or content > RUN_CONTENT:
                return level
        return None

    def _directory(self, level: Level, name: bytes, seen: os.stat_result, rows: list[Row]) -> Level | None:
        """Tell of a directory, and go into it if that is where the walk goes."""
        path, flags, places = join(level[0], name), level[1], self._places
        here, below = b"/proc/self/fd/%d/%b" % (self._descent.here(), name), flags
        if path in places.mounts:
            if path in places.tops:
                # What is mounted there, not what lies beneath.
                seen = os.fstat(places.tops[path])
            elif places.sees_beneath:
                below = HIDDEN
            else:
                rows += self._told(path, seen, b"", flags, here)
                return None
        try:
            fd = self._descent.down(name)
        except OSError as error:
            rows += self._told(path, seen, b"", flags, here)
            rows += unseen(path, error, "")
            return None
        rows += self._told(path, seen, b"", flags, fd)
        try:
            return path, below, self._names()
        except OSError as error:
            rows += unseen(path, error, "")
            self._descent.up()
            return None

    def _told(self, path: bytes, seen: os.stat_result, target: bytes, flags: str, place: bytes | int) -> list[Row]:
        """The row of what is not to be read, with the attributes of what is at a place; none if it is gone."""
        attributes: Xattrs = ()
        wrong = ""
        try:
            if self._xattrs:
                attributes = read_attributes(place)
        except OSError as error:
            if error.errno in GONE:
                return []
            wrong = error.strerror or str(error)
        return [(path, *_fields(seen), target, attributes, "", flags, wrong)]

    def _names(self) -> Iterator[bytes]:
        """The names in the directory where we are."""
        found: list[Any] = os.listdir(self._descent.here())  # noqa: PTH208 (no path)
        # One by one, for there can be a million: both lists together would be too much.
        for place, name in enumerate(found):
            found[place] = name.encode(ENCODING, ERRORS)
        found.sort()
        return iter(found)


def top_row(path: bytes, fd: int, *, xattrs: bool) -> Row:
    """The row of a directory that is open. Raises `OSError`."""
    return (path, *_fields(os.fstat(fd)), b"", read_attributes(fd) if xattrs else (), "", "", "")


def unseen(path: bytes, error: OSError, flags: str) -> list[Row]:
    """The row of what could not be looked at; none if it is gone."""
    if error.errno in GONE:
        return []
    return [(path, *[0] * 10, b"", (), "", flags, error.strerror or str(error))]
