"""What other processes do in a scan: look at names that the walk gives them, read files, and tell what they saw."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift.content import CHUNK_BYTES, HASHES, digest_of, open_file
from anicca.drift.descent import Descent
from anicca.drift.entry import parent
from anicca.drift.lines import to_state, with_time
from anicca.drift.rows import FORMAT, fields, named_row, read_attributes, row_of, unseen, unseen_row

if TYPE_CHECKING:
    from anicca.drift.entry import Xattrs
    from anicca.drift.rows import Row

    Part = tuple[bytes, bytes] | Row
    """Lines of entries, each without and with its time; or the row of one that has other names somewhere."""

TAG_DIRECTORY, TAG_FILE, TAG_OTHER = b"\0d", b"\0f", b"\0o"
"""After a name in a listing, which is sorted with it as by the name alone."""
IS_DIRECTORY, IS_FILE = ord("d"), ord("f")
REPLACED = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV})
"""Why a file cannot be opened that has just become something else."""


class Piece(NamedTuple):
    """Names of one directory, in order, to be looked at.

    `beneath` says whether it is the directory of that path that lies beneath a mount, `flags` are those of its entries.
    If `own` is not None the directory itself is told of first, with these flags; `wrong` is why it could not be listed.
    Names have the tags of a listing. `asked` is the algorithm by which the content of files is wanted, or has one for
    each name; nothing where it is not wanted.
    """

    directory: bytes
    beneath: bool
    flags: str
    own: str | None
    wrong: str
    names: list[bytes]
    asked: str | list[str]


class Reader:
    """Looks at what a walk has named in a tree; its directories at `tops` are open.

    In a process that was made later the current directory is its own to change.
    """

    def __init__(self, tops: dict[bytes, int], *, xattrs: bool) -> None:
        self._descents = Descent(tops), Descent({b"/": tops[b"/"]})
        self._xattrs = xattrs
        self._made_in = os.getpid()

    def close(self) -> None:
        """Close the directories that were opened."""
        for descent in self._descents:
            descent.close()

    def read(self, pieces: list[tuple[Any, ...]]) -> list[Row]:
        """A row for each name that is there still, in order. The pieces are plain tuples."""
        rows: list[Row] = []
        private = os.getpid() != self._made_in
        for directory, beneath, flags, own, wrong, names, asked in pieces:
            try:
                fd = self._descents[beneath].enter(directory)
                if own is not None:
                    rows.append(row_of(directory, os.fstat(fd), b"", own, fd if self._xattrs else None))
                if private:
                    # Names alone are the shortest way to attributes.
                    os.fchdir(fd)
            except OSError as error:
                rows += self._shut(directory, beneath, own, wrong, error)
                continue
            if wrong:
                rows.append(unseen_row(directory, wrong, ""))
            prefix = b"/" if directory == b"/" else directory + b"/"
            place = None if not self._xattrs else b"" if private else b"/proc/self/fd/%d/" % fd
            algorithms = itertools.repeat(asked) if isinstance(asked, str) else asked
            for tagged, algorithm in zip(names, algorithms):  # noqa: B905 (as many)
                name = tagged[:-2]
                path = prefix + name
                try:
                    found = self._file(path, name, fd, flags, algorithm) if algorithm and tagged[-1] == IS_FILE else ""
                    if isinstance(found, str):
                        found = named_row(path, name, fd, flags, place, wrong=found)
                    rows.append(found)
                except OSError as error:
                    rows += unseen(path, error, flags)
        return rows

    def lines(self, pieces: list[tuple[Any, ...]]) -> list[Part]:
        """The same as lines, but for files with several names: who has seen all others knows the first of them."""
        found: list[Part] = []
        states: list[str] = []
        lines: list[str] = []
        for row in self.read(pieces):
            if row[7] > 1 and row[1] & FORMAT != stat.S_IFDIR:
                _put_lines(states, lines, found)
                found.append(row)
            else:
                state = to_state(row, b"")
                states.append(state)
                lines.append(with_time(state, row))
        _put_lines(states, lines, found)
        return found

    def _file(self, path: bytes, name: bytes, fd: int, flags: str, algorithm: str) -> Row | str:
        """The row of a file that is read; why it cannot be opened, nothing if it is no file any more."""
        try:
            file = open_file(name, fd)
        except OSError as error:
            return "" if error.errno in REPLACED else error.strerror or str(error)
        try:
            seen = os.fstat(file)
            if seen.st_mode & FORMAT != stat.S_IFREG:
                return ""
            attributes: Xattrs = ()
            digest = noted = wrong = ""
            size = seen.st_size
            try:
                if self._xattrs:
                    attributes = read_attributes(file)
                if size < CHUNK_BYTES and algorithm in HASHES:
                    # The short way, for nearly all: with one byte more, by which its end is seen.
                    content = os.read(file, size + 1) if size else b""
                    after = os.fstat(file)
                    if len(content) == size and after.st_ctime_ns == seen.st_ctime_ns:
                        digest = f"{algorithm}:{HASHES[algorithm](content).hexdigest()}"
                        return (path, *fields(after), b"", attributes, digest, flags, "")
                    os.lseek(file, 0, os.SEEK_SET)
                digest, noted, seen = digest_of(file, seen, algorithm)
            except OSError as error:
                wrong = error.strerror or str(error)
            return (path, *fields(seen), b"", attributes, digest, flags + noted, wrong)
        finally:
            os.close(file)

    def _shut(self, directory: bytes, beneath: bool, own: str | None, wrong: str, error: OSError) -> list[Row]:
        """The rows of a directory that cannot be opened."""
        rows: list[Row] = []
        if own is not None:
            try:
                fd = self._descents[beneath].enter(parent(directory))
                place = b"/proc/self/fd/%d/" % fd if self._xattrs else None
                rows.append(named_row(directory, directory.rpartition(b"/")[2], fd, own, place))
            except OSError as gone:
                return unseen(directory, gone, own)
        return rows + ([unseen_row(directory, wrong, "")] if wrong else unseen(directory, error, ""))


def _put_lines(states: list[str], lines: list[str], found: list[Part]) -> None:
    if states:
        found.append(("\n".join([*states, ""]).encode(), "".join(lines).encode()))
        states.clear()
        lines.clear()
