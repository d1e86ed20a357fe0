"""A scan of a filesystem tree that harms nothing: no link followed, no access time moved, no mount crossed unasked.

Entries come in the order of `entry.order`, from as little memory for a million of them as for a thousand: this process
walks, others read what is in files, a batch at a time. docs/internals/drift.md tells what is promised about names,
depth and mounts.
"""

from __future__ import annotations

import contextlib
import errno
import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift import mounts as mounting
from anicca.drift.content import Reader
from anicca.drift.entry import HIDDEN, Entry
from anicca.drift.pool import Pool
from anicca.drift.view import open_view, quiet_disk, restore_disk
from anicca.drift.walk import Places, Run, Walk, top_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.drift.content import Answer, Piece
    from anicca.drift.mounts import Mount
    from anicca.drift.walk import Row, Want

    Batch = tuple[tuple[list[Row], list[int]], list[Piece] | None]
    """Rows, and the places of those that wait for what is in their files; and these files."""

BATCH_NAMES = 256
BATCH_BYTES = 16_000
BATCH_CONTENT = 8 << 20
_make: Any = partial(tuple.__new__, Entry)


class Options(NamedTuple):
    """What a scan does: which content it reads, where it does not go, and with how many processes (0: all cores).

    Mounts at `leave` are never visited, whatever they are.
    """

    want: Want | None = None
    leave: frozenset[bytes] = frozenset()
    cross_mounts: bool = True
    xattrs: bool = True
    workers: int = 0
    polite: bool = False


class Scan:
    """One scan of the tree at `root`; iterate over it once. `close` may come at any time. Raises `OSError`.

    `mounts` are those below the root, `visited` those whose files are among the entries, and `sees_beneath` says
    whether entries beneath mounts are among them too (flag HIDDEN; those beneath a visited mount come last).

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
        self._reader = Reader(self._tops, xattrs=self.options.xattrs)
        workers = 0 if self.options.want is None else self.options.workers or os.cpu_count() or 1
        self._pool = Pool(self._reader.read, workers if workers > 1 else 0, polite=self.options.polite)

    def __iter__(self) -> Iterator[Entry]:
        """The entries, in order; those beneath visited mounts after all others."""
        before = quiet_disk() if self.options.polite else -1
        try:
            with contextlib.closing(self._pool.run(self._batches())) as found:
                for (rows, waiting), answers in found:
                    yield from map(_make, _filled(rows, waiting, answers) if waiting else rows)
        finally:
            restore_disk(before)
            self.close()

    def close(self) -> None:
        """Stop, wherever it is."""
        self._pool.close()
        self._reader.close()
        for fd in self._tops.values():
            os.close(fd)
        self._tops.clear()

    def _batches(self) -> Iterator[Batch]:
        rows: list[Row] = []
        waiting: list[int] = []
        pieces: list[Piece] = []
        bytes_named = bytes_held = 0
        for run, beneath in self._runs():
            if run.unread:
                waiting += [len(rows) + place for place, _ in run.unread]
                files = [file for _, file in run.unread]
                pieces.append((run.directory, beneath, files))
                bytes_named += len(run.directory) + sum(len(file[0]) + len(file[1]) for file in files)
                bytes_held += sum(file[4] for file in files if file[1])
            rows += run.rows
            if len(rows) >= BATCH_NAMES or bytes_named > BATCH_BYTES or bytes_held > BATCH_CONTENT:
                yield (rows, waiting), pieces or None
                rows, waiting, pieces = [], [], []
                bytes_named = bytes_held = 0
        yield (rows, waiting), pieces or None

    def _runs(self) -> Iterator[tuple[Run, bool]]:
        """All that is seen; with True, what lies beneath a visited mount."""
        want, xattrs = self.options.want, self.options.xattrs
        mounts = frozenset(mount.path for mount in self.mounts)
        yield Run(b"/", [top_row(b"/", self._tops[b"/"], xattrs=xattrs)], []), False
        with contextlib.closing(Walk(Places(self._tops, mounts, self.sees_beneath), want, xattrs=xattrs)) as walk:
            for run in walk.runs(b"/"):
                yield run, False
        for mount in self.visited if self.sees_beneath else ():
            with contextlib.closing(Walk(Places({b"/": self._tops[b"/"]}), want, xattrs=xattrs)) as walk:
                for run in walk.runs(mount.path, HIDDEN):
                    yield run, True


def _filled(rows: list[Row], waiting: list[int], answers: list[Answer]) -> list[Row]:
    """Rows with what was found in their files, without those whose files were gone."""
    gone = []
    for place, answer in zip(waiting, answers):  # noqa: B905 (as many)
        if answer is None:
            gone.append(place)
        else:
            attributes, digest, noted, wrong = answer
            *known, flags = rows[place]
            rows[place] = (*known, attributes, digest, flags + noted, wrong)
    for place in reversed(gone):
        del rows[place]
    return rows


def look_at(root: bytes, path: bytes, algorithm: str = "") -> Entry | None:
    """One path of a root as a scan sees it, None where nothing is; its directory must be reached without links."""
    directory, _, name = path.rpartition(b"/")
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    tops = {b"/": top}
    try:
        if not name:
            return Entry(*top_row(b"/", top, xattrs=True))
        with contextlib.closing(Walk(Places(tops), lambda _path: algorithm, xattrs=True)) as walk:
            run = walk.look_at(directory or b"/", name)
        with contextlib.closing(Reader(tops, xattrs=True)) as reader:
            answers = reader.read([(run.directory, False, [file for _, file in run.unread])])
        rows = _filled(run.rows, [place for place, _ in run.unread], answers)
        return Entry(*rows[0]) if rows else None
    finally:
        os.close(top)
