"""Two states as lines, in one pass: what is the same byte for byte is counted, the rest is paired. Pure.

Nearly all of two states is the same, and to take a line apart takes ten times as long as to see that.
"""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from anicca.drift.entry import order
from anicca.drift.expect import Expected
from anicca.drift.lines import from_line, path_of, size_of, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anicca.drift.compare import Pair, Tally

KNOWN = b',"k":"'
"""In the line of a path of which more is known than that it could not be looked at."""


_SIZE = re.compile(rb',"s":([0-9]+)')
"""Nothing in a text looks like it: quotes there have a backslash before them."""


def pairs_of_lines(
    before: Iterable[bytes], after: Iterable[bytes], tally: Tally, same: Callable[[bytes], None] | None = None
) -> Iterator[Pair]:
    """The pairs that differ or tell something; of the other lines `same` is told. Both sides are pieces of whole lines.

    Raises `ValueError` and `KeyError`.
    """
    rest = _Lines(before)
    for piece in after:
        if same is None and not tells(piece) and rest.skip(piece):
            number = piece.count(b"\n")
            tally.entries += number
            tally.expected += number
            tally.size_bytes += sum(map(int, _SIZE.findall(piece)))
        else:
            yield from _by_line(rest, piece.split(b"\n")[:-1], tally, same)
    while rest.line is not None:
        yield _expected(rest.line), None, None
        rest.next()


def _by_line(rest: _Lines, lines: list[bytes], tally: Tally, same: Callable[[bytes], None] | None) -> Iterator[Pair]:
    for line in lines:
        wanted = rest.line
        if wanted is not None:
            if (line == wanted or state_of(line) == state_of(wanted)) and not tells(line):
                tally.entries += 1
                tally.expected += 1
                tally.size_bytes += size_of(line)
                if same is not None:
                    same(line)
                rest.next()
                continue
            path = path_of(line)
            key = order(path)
            while rest.line is not None and order(path_of(rest.line)) < key:
                yield _expected(rest.line), None, None
                rest.next()
            if rest.line is not None and path_of(rest.line) == path:
                yield (_expected(rest.line), *from_line(line))
                rest.next()
                continue
        yield (None, *from_line(line))


def tells(lines: bytes) -> bool:
    """Whether one of them is told whatever it was: it could not be read, or changed, or lies beneath a mount."""
    return b',"e":' in lines or b',"f":' in lines


class _Lines:
    """Lines that come in pieces; `line` is the first that is left, of which more is known than that nobody saw it."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0
        self.line: bytes | None = None
        self.next()

    def next(self) -> None:
        """Go to the next line."""
        if self.line is not None:
            self._at += len(self.line) + 1
        while True:
            end = self._piece.find(b"\n", self._at)
            if end < 0:
                if not self._more():
                    self.line = None
                    return
                continue
            self.line = self._piece[self._at : end]
            if KNOWN in self.line:
                return
            self._at = end + 1

    def skip(self, lines: bytes) -> bool:
        """Go on after `lines`, if they are what comes next."""
        if self.line is None:
            return False
        while len(self._piece) - self._at < len(lines) and self._more():
            pass
        if not self._piece.startswith(lines, self._at):
            return False
        self._at += len(lines)
        self.line = None
        self.next()
        return True

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._piece = self._piece[self._at :] + piece
        self._at = 0
        return True


def _expected(line: bytes) -> Expected:
    """What a line says must be there: all of it, exactly."""
    entry, leader = from_line(line)
    kind = entry.kind
    return Expected(
        path=entry.path,
        origin="baseline",
        kinds=(kind,),
        mode=stat.S_IMODE(entry.mode),
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size if kind == "file" else None,
        rdev=entry.rdev if "device" in kind else None,
        targets=(entry.target,) if kind == "symlink" else (),
        xattrs=entry.xattrs,
        digests=(entry.digest,) if entry.digest else (),
        link=leader,
        nlink=entry.nlink if kind != "directory" else None,
    )
