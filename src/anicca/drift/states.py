"""Two states as lines, in one pass: what is the same byte for byte is counted, the rest is paired. Pure.

Nearly all of two states is the same, and to take a line apart takes ten times as long as to see that.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from anicca.drift.entry import order
from anicca.drift.expect import Expected
from anicca.drift.lines import from_line, path_of, size_of, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anicca.drift.compare import Pair, Tally

TELLING = (b',"e":', b',"f":')
"""In a line: it could not be read, or changed meanwhile, or lies beneath a mount. That is told, whatever it was."""
KNOWN = b',"k":"'
"""In the line of a path of which more is known than that it could not be looked at."""


def pairs_of_lines(
    before: Iterable[bytes], after: Iterable[bytes], tally: Tally, same: Callable[[bytes], None] | None = None
) -> Iterator[Pair]:
    """The pairs that differ or tell something; `same` is told of the other lines. Raises `ValueError`, `KeyError`."""
    rest = (line for line in before if KNOWN in line)
    wanted = next(rest, None)
    for line in after:
        if wanted is not None:
            if (line == wanted or state_of(line) == state_of(wanted)) and not (
                TELLING[0] in line or TELLING[1] in line
            ):
                tally.entries += 1
                tally.expected += 1
                tally.size_bytes += size_of(line)
                if same is not None:
                    same(line)
                wanted = next(rest, None)
                continue
            path = path_of(line)
            key = order(path)
            while wanted is not None and order(path_of(wanted)) < key:
                yield _expected(wanted), None, None
                wanted = next(rest, None)
            if wanted is not None and path_of(wanted) == path:
                yield (_expected(wanted), *from_line(line))
                wanted = next(rest, None)
                continue
        yield (None, *from_line(line))
    while wanted is not None:
        yield _expected(wanted), None, None
        wanted = next(rest, None)


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
