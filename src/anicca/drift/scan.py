"""A scan of a filesystem tree that harms nothing: no link followed, no access time moved, no mount crossed unasked.

Entries come in the order of `entry.order`, from as little memory for a million of them as for a thousand: this process
walks, others read what is in files, a batch at a time. docs/internals/drift.md tells what is promised about names,
depth and mounts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift import mounts as mounting
from anicca.drift.entry import HIDDEN, Entry, Leaders
from anicca.drift.lines import to_state, with_time
from anicca.drift.pool import Pool
from anicca.drift.reader import TAG_FILE, Piece, Reader
from anicca.drift.rows import row_of
from anicca.drift.view import open_view, quiet_disk, restore_disk
from anicca.drift.walk import Listing, Places, Walk

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from anicca.drift.mounts import Mount
    from anicca.drift.rows import Row
    from anicca.drift.walk import Want

    Blob = tuple[bytes, bytes]
    """Lines of entries, each without its time, and the same with it."""

BATCH_NAMES = 128
BATCH_BYTES = 16_000
_make: Any = partial(tuple.__new__, Entry)


class Options(NamedTuple):
    """What a scan does: which content it reads, where it does not go, and with how many processes (0: all cores).

    `want` may be an algorithm, which is wanted of all files.

    Mounts at `leave` are never visited, whatever they are. Without `beneath`, what lies beneath those that are
    is left out.
    """

    want: Want | str | None = None
    leave: frozenset[bytes] = frozenset()
    cross_mounts: bool = True
    beneath: bool = True
    xattrs: bool = True
    workers: int = 0
    polite: bool = False


class Scan:
    """One scan of the tree at `root`; iterate over it, or take its `blobs`, once. Raises `OSError`.

    `mounts` are those below the root, `visited` those whose files are among the entries, and `sees_beneath` says
    whether entries beneath mounts are among them too (flag HIDDEN; those beneath a visited mount come last). `close`
    may come at any time.

    Where content is wanted it has processes of its own. They are made with it, so that should be before any thread.
    """

    def __init__(self, root: bytes, options: Options | None = None) -> None:
        self.root = os.path.realpath(root)
        self.options = options or Options()
        if self.options.xattrs and not os.access("/proc/self/fd", os.X_OK):
            # Without it each path would look as if it had gone between two calls, and be left out.
            raise OSError(errno.ENOENT, "without /proc no extended attributes can be read", "/proc/self/fd")
        every = mounting.read_mounts()
        self.mounts: list[Mount] = mounting.below(every, self.root)
        holder = mounting.holding(every, self.root)
        left = self.options.leave
        visited = mounting.to_visit(self.mounts, holder) if self.options.cross_mounts else []
        self.visited = [mount for mount in visited if mount.path not in left]
        fd, self.sees_beneath = open_view(self.root)
        self._tops: dict[bytes, int] = {b"/": fd}
        for mount in self.visited:
            try:
                fd, private = open_view(self.root.rstrip(b"/") + mount.path)
            except OSError:
                continue
            self._tops[mount.path] = fd
            # In an ordinary view of it, its own mounts would be walked into as if they were beneath.
            self.sees_beneath = self.sees_beneath and private
        self.visited = [mount for mount in self.visited if mount.path in self._tops]
        mounts = frozenset(mount.path for mount in self.mounts)
        self._places = Places(self._tops, mounts, self.sees_beneath)
        self._reader = Reader(self._tops, xattrs=self.options.xattrs)
        workers = 0 if self.options.want is None else self.options.workers or os.cpu_count() or 1
        self._pool = Pool(self._work, workers if workers > 1 else 0, polite=self.options.polite)

    def __iter__(self) -> Iterator[Entry]:
        """The entries, in order; those beneath visited mounts after all others."""
        with self._quietly():
            if self.options.want is None:
                for rows in self._rows():
                    yield from map(_make, rows)
                return
            with contextlib.closing(self._told(as_lines=False)) as found:
                for rows in found:
                    yield from map(_make, rows)

    def blobs(self) -> Iterator[Blob]:
        """The same as lines, many at once. It takes `want`."""
        leaders = Leaders()
        with self._quietly(), contextlib.closing(self._told(as_lines=True)) as found:
            for parts in found:
                for part in parts:
                    if len(part) == 2:  # noqa: PLR2004 (lines, with and without their times)
                        yield part
                    else:
                        state = to_state(part, leaders.of(part[0], part[8], part[9], part[7]))
                        yield state.encode() + b"\n", with_time(state, part).encode()

    def close(self) -> None:
        """Stop, wherever it is."""
        self._pool.close()
        self._reader.close()
        for fd in self._tops.values():
            os.close(fd)
        self._tops.clear()

    @contextlib.contextmanager
    def _quietly(self) -> Generator[None]:
        before = quiet_disk() if self.options.polite else -1
        try:
            yield
        finally:
            restore_disk(before)
            self.close()

    def _work(self, request: tuple[bool, list[tuple[Any, ...]]]) -> list[Any]:
        as_lines, pieces = request
        return self._reader.lines(pieces) if as_lines else self._reader.read(pieces)

    def _told(self, *, as_lines: bool) -> Generator[list[Any]]:
        """What the reader tells of each batch."""
        asked = ((None, (as_lines, batch)) for batch in self._batches())
        with contextlib.closing(self._pool.run(asked)) as answers:
            for _, answer in answers:
                yield answer

    def _batches(self) -> Iterator[list[tuple[Any, ...]]]:
        batch: list[tuple[Any, ...]] = []
        names = size = 0
        for piece in self._pieces():
            more = len(piece.directory) + sum(map(len, piece.names)) + sum(map(len, piece.asked))
            # Two that are large are not sent as one, which could be too large.
            if batch and (names >= BATCH_NAMES or size + more > BATCH_BYTES):
                yield batch
                batch = []
                names = size = 0
            batch.append(tuple(piece))
            names += 1 + len(piece.names)
            size += more
        if batch:
            yield batch

    def _pieces(self) -> Iterator[Piece]:
        """All names; at the end those that lie beneath a visited mount."""
        want = self.options.want
        assert want is not None
        with contextlib.closing(Listing(self._places, want)) as walk:
            yield from walk.pieces(b"/", own="")
        for mount in self._covering():
            with contextlib.closing(Listing(self._beneath(), want, beneath=True)) as walk:
                yield from walk.pieces(mount.path, HIDDEN)

    def _rows(self) -> Iterator[list[Row]]:
        """The same, looked at here: that is quicker than to tell others of names where nothing is to be read."""
        xattrs, top = self.options.xattrs, self._tops[b"/"]
        yield [row_of(b"/", os.fstat(top), b"", "", top if xattrs else None)]
        with contextlib.closing(Walk(self._places, xattrs=xattrs)) as walk:
            yield from walk.rows(b"/")
        for mount in self._covering():
            with contextlib.closing(Walk(self._beneath(), xattrs=xattrs)) as walk:
                yield from walk.rows(mount.path, HIDDEN)

    def _covering(self) -> list[Mount]:
        """The visited mounts beneath which is looked as well."""
        return self.visited if self.sees_beneath and self.options.beneath else []

    def _beneath(self) -> Places:
        return Places({b"/": self._tops[b"/"]})


def look_at(root: bytes, path: bytes, algorithm: str = "") -> Entry | None:
    """One path of a root as a scan sees it, None where nothing is; its directory must be reached without links."""
    directory, _, name = path.rpartition(b"/")
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.closing(Reader({b"/": top}, xattrs=True)) as reader:
            piece = Piece(directory or b"/", False, "", None if name else "", "", [name + TAG_FILE] if name else [], "")
            rows = reader.read([piece])
            if rows and algorithm and stat.S_ISREG(rows[0][1]):
                rows = reader.read([piece._replace(asked=algorithm)])
        return Entry(*rows[0]) if rows else None
    finally:
        os.close(top)
