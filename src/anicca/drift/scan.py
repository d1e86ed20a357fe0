"""A walk over a filesystem tree that harms nothing: no link followed, no access time moved, no mount crossed unasked.

Entries come in the order of `entry.order`, from as little memory for a million of them as for a thousand: one process
lists directories, others look at what is listed and read content, a batch at a time. docs/internals/drift.md tells
what is promised about names, depth and mounts.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import select
import signal
import stat
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift import mounts as mounting
from anicca.drift.content import digest_file
from anicca.drift.entry import HIDDEN, Entry, is_below, join
from anicca.drift.view import open_view, yield_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anicca.drift.mounts import Mount

    Want = Callable[[bytes, os.stat_result], str]
    """Says for a regular file which digest is wanted: an algorithm of hashlib, or nothing."""
    Skip = Callable[[bytes], bool]
    Row = tuple[Any, ...]
    """The fields of an entry, plain: it is made into one where it is needed."""
    Segment = tuple[bytes, tuple[bytes, ...] | None, str]
    """Names in one directory; or, with None, a mount to visit or an error to tell. The last is a flag or the error."""


DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
KEPT_OPEN = 64
"""How many directories of the way down stay open."""
BATCH_NAMES = 512
BATCH_BYTES = 30_000
"""Two batches fit into a pipe, so that no writer of requests waits for a writer of answers."""
QUEUED = 2
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Options(NamedTuple):
    """What a scan does: which content it reads, where it does not go, and with how many processes.

    Mounts at `leave` are never visited, whatever they are.
    """

    want: Want | None = None
    skip: Skip | None = None
    leave: frozenset[bytes] = frozenset()
    cross_mounts: bool = True
    xattrs: bool = True
    workers: int = 0
    polite: bool = False


class Scan:
    """One scan of the tree at `root`; iterate over it once. `close` may come at any time. Raises `OSError`.

    `mounts` are those below the root, `visited` those whose files are among the entries, and `sees_beneath` says
    whether entries beneath mounts are among them too (flag HIDDEN; those beneath a visited mount come last).
    """

    def __init__(self, root: bytes, options: Options | None = None) -> None:
        self.root = os.path.realpath(root)
        self.options = options or Options()
        try:
            with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123 (pathlib is slow to import)
                every = mounting.parse_mountinfo(file.read())
        except FileNotFoundError:
            every = []
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
        self._workers: list[_Worker] = []

    def __iter__(self) -> Iterator[Entry]:
        """The entries, in order; those beneath visited mounts after all others."""
        try:
            yield from map(Entry._make, self._rows())
        finally:
            self.close()

    def close(self) -> None:
        """Stop, wherever it is."""
        for worker in self._workers:
            worker.end()
        self._workers = []
        for fd in self._tops.values():
            os.close(fd)
        self._tops = {}

    def _rows(self) -> Iterator[Row]:
        with contextlib.closing(Looker(self._tops, self.options, private=False)) as looking:
            yield from self._looked(looking)

    def _looked(self, looking: Looker) -> Iterator[Row]:
        batches = _batched(self._segments())
        first = next(batches, [])
        second = next(batches, None)
        if second is None or self.options.workers == 1:
            yield from looking.look(first)
            if second is not None:
                yield from looking.look(second)
                for batch in batches:
                    yield from looking.look(batch)
            return
        for _ in range(self.options.workers or os.cpu_count() or 1):
            self._workers.append(_Worker(self._tops, self.options, self._workers))
        yield from self._share(_chain(first, second, batches), looking)

    def _share(self, batches: Iterator[list[Segment]], looking: Looker) -> Iterator[Row]:
        """Hand batches to whoever is free, give back the answers in order."""
        answers: dict[int, list[Row]] = {}
        sent = told = 0
        more = True
        while True:
            while more and sent - told < 4 * len(self._workers):
                free = min(self._workers, key=lambda worker: len(worker.queue))
                if len(free.queue) >= QUEUED:
                    break
                batch = next(batches, None)
                if batch is None:
                    more = False
                    break
                request = marshal.dumps(batch)
                if len(request) > 2 * BATCH_BYTES:
                    # A path of such a length would not fit into the pipe.
                    answers[sent] = list(looking.look(batch))
                else:
                    free.send(sent, request)
                sent += 1
            if told in answers:
                yield from answers.pop(told)
                told += 1
            elif told == sent and not more:
                return
            else:
                for worker in _readable(self._workers):
                    number, rows = worker.receive()
                    answers[number] = rows

    def _segments(self) -> Iterator[Segment]:
        """What there is to look at, in order; directories listed here and nothing else done."""
        yield b"", (), ""
        walk = _Walk(self._tops, self.options.skip, {mount.path for mount in self.mounts}, beneath=False)
        walk.sees_beneath = self.sees_beneath
        with contextlib.closing(walk):
            yield from walk.segments(b"/", "")
        if self.sees_beneath:
            for mount in self.visited:
                walk = _Walk({b"/": self._tops[b"/"]}, self.options.skip, set(), beneath=True)
                walk.sees_beneath = True
                with contextlib.closing(walk):
                    yield from walk.segments(mount.path, HIDDEN)


def look_at(root: bytes, path: bytes, algorithm: str = "") -> Entry | None:
    """One path of a root as a scan sees it, None where nothing is; its directory must be reached without links."""
    directory, _, name = path.rpartition(b"/")
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    looker = Looker({b"/": top}, Options(want=lambda _path, _seen: algorithm), private=False)
    try:
        segment: Segment = (directory or b"/", (name,), "") if name else (b"", (), "")
        return next((Entry._make(row) for row in looker.look([segment])), None)
    finally:
        looker.close()
        os.close(top)


class Descent:
    """Directories opened one from another, so that neither a link nor the length of a path leads astray."""

    def __init__(self, tops: dict[bytes, int]) -> None:
        self._tops = tops
        self._names: list[bytes] = []
        self._fds: list[int | None] = [tops[b"/"]]
        self._last_names = {path.rsplit(b"/", 1)[1] for path in tops if path != b"/"}

    def enter(self, path: bytes) -> int:
        """A file descriptor of the directory, ours to keep. Raises `OSError`."""
        names = path.split(b"/")[1:] if path != b"/" else []
        common = 0
        for mine, wanted in zip(self._names, names):  # noqa: B905 (the shorter counts)
            if mine != wanted:
                break
            common += 1
        self._leave(common)
        if self._fds[common] is None:
            self._reopen(common)
        for name in names[common:]:
            current = self._fds[-1]
            assert current is not None
            self._fds.append(self._open([*self._names, name], current))
            self._names.append(name)
            stale = len(self._fds) - KEPT_OPEN
            if stale > 0:
                self._close(stale)
        found = self._fds[-1]
        assert found is not None
        return found

    def close(self) -> None:
        """Close all but the tops."""
        self._leave(0)

    def _leave(self, depth: int) -> None:
        for index in range(depth + 1, len(self._fds)):
            self._close(index)
        del self._fds[depth + 1 :]
        del self._names[depth:]

    def _close(self, index: int) -> None:
        fd = self._fds[index]
        if index and fd is not None:
            if fd not in self._tops.values():
                os.close(fd)
            self._fds[index] = None

    def _reopen(self, depth: int) -> None:
        start = max(index for index in range(depth) if self._fds[index] is not None)
        for index in range(start, depth):
            current = self._fds[index]
            assert current is not None
            self._fds[index + 1] = self._open(self._names[: index + 1], current)
            if index > start:
                self._close(index)

    def _open(self, names: list[bytes], directory: int) -> int:
        if names[-1] in self._last_names:
            top = self._tops.get(b"/" + b"/".join(names))
            if top is not None:
                return top
        return open_directory(names[-1], directory)


def open_directory(name: bytes, directory: int) -> int:
    """Open a directory by name, not through a link, its access time left alone where we may. Raises `OSError`."""
    try:
        return os.open(name, DIRECTORY | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        return os.open(name, DIRECTORY, dir_fd=directory)


class _Walk:
    """Lists directories depth first, names in the order of their bytes."""

    def __init__(self, tops: dict[bytes, int], skip: Skip | None, mounts: set[bytes], *, beneath: bool) -> None:
        self._tops = tops
        self._descent = Descent(tops)
        self._skip = skip
        self._mounts = mounts
        self._beneath = "b" if beneath else ""
        self.sees_beneath = False

    def close(self) -> None:
        self._descent.close()

    def segments(self, top: bytes, flag: str) -> Iterator[Segment]:  # noqa: C901 (one loop over levels)
        """The segments of all that is below `top`."""
        # A list of what is left at each level, not recursion: paths are deeper than Python's stack.
        try:
            levels = [(top, flag, iter(self._list(top)))]
        except OSError as error:
            yield top, None, self._told(error)
            return
        run: list[bytes] = []
        while levels:
            directory, flag, names = levels[-1]
            for name, is_directory in names:
                run.append(name)
                if not is_directory:
                    continue
                path = join(directory, name)
                below, visit = flag, False
                if path in self._mounts:
                    visit = path in self._tops
                    if visit:
                        run.pop()
                    elif not self.sees_beneath:
                        continue
                    else:
                        below = HIDDEN
                if self._skip is not None and self._skip(path):
                    continue
                yield directory, tuple(run), flag + self._beneath
                run = []
                if visit:
                    yield path, None, ""
                try:
                    levels.append((path, below, iter(self._list(path))))
                except OSError as error:
                    if error.errno not in GONE:
                        yield path, None, self._told(error)
                    continue
                break
            else:
                if run:
                    yield directory, tuple(run), flag + self._beneath
                    run = []
                levels.pop()

    def _list(self, path: bytes) -> list[tuple[bytes, bool]]:
        with os.scandir(self._descent.enter(path)) as found:
            return sorted(
                (one.name.encode("utf-8", "surrogateescape"), one.is_dir(follow_symlinks=False)) for one in found
            )

    @staticmethod
    def _told(error: OSError) -> str:
        return error.strerror or str(error)


class Looker:
    """Looks at what is listed: metadata, links, attributes, content.

    With `private`, it may change the process's current directory, which is the shortest way to a name's attributes.
    """

    def __init__(self, tops: dict[bytes, int], options: Options, *, private: bool) -> None:
        self._tops = tops
        self._descents = {"": Descent(tops), "b": Descent({b"/": tops[b"/"]})}
        self._private = private
        self._want = options.want
        self._xattrs = options.xattrs

    def close(self) -> None:
        """Close the directories that are open."""
        for descent in self._descents.values():
            descent.close()

    def look(self, batch: list[Segment]) -> Iterator[Row]:
        """The rows of entries for a batch of segments."""
        for directory, names, flag in batch:
            if not directory:
                yield self._top(b"/")
            elif names is None:
                yield (directory, *[0] * 10, b"", (), "", "", flag) if flag else self._top(directory)
            elif names:
                yield from self._names(directory, names, flag)

    def _top(self, path: bytes) -> Row:
        fd = self._tops[path]
        seen = os.fstat(fd)
        return (*_row(path, seen), b"", self._attributes(b"", fd), "", "", "")

    def _names(  # noqa: C901 (the loop that all time goes into)
        self, directory: bytes, names: tuple[bytes, ...], flag: str
    ) -> Iterator[Row]:
        beneath = flag[-1:] if flag.endswith("b") else ""
        flags = flag[: len(flag) - len(beneath)]
        try:
            fd = self._descents[beneath].enter(directory)
        except OSError as error:
            if error.errno not in GONE:
                yield (directory, *[0] * 10, b"", (), "", flags, error.strerror)
            return
        # A process of our own makes the directory its current one: names alone are the kernel's shortest way.
        at = None if self._private else fd
        if self._private:
            os.fchdir(fd)
        prefix = b"" if self._private else b"/proc/self/fd/%d/" % fd
        path = b"/" if directory == b"/" else directory + b"/"
        want, xattrs, lstat, attributes_of = self._want, self._xattrs, os.stat, self._attributes
        for name in names:
            try:
                seen = lstat(name, dir_fd=at, follow_symlinks=False)
            except OSError as error:
                if error.errno not in GONE:
                    yield (path + name, *[0] * 10, b"", (), "", flags, error.strerror)
                continue
            mode = seen.st_mode
            target, attributes, digest, more, wrong = b"", (), "", flags, ""
            try:
                if stat.S_ISLNK(mode):
                    target = os.readlink(name, dir_fd=at)
                if xattrs:
                    attributes = attributes_of(prefix + name)
                if want is not None and stat.S_ISREG(mode):
                    algorithm = want(path + name, seen)
                    if algorithm:
                        digest, noted = digest_file(name, fd, seen, algorithm)
                        more += noted
            except OSError as error:
                if error.errno in GONE:
                    continue
                wrong = error.strerror or str(error)
            yield (*_row(path + name, seen), target, attributes, digest, more, wrong)

    @staticmethod
    def _attributes(path: bytes, fd: int = -1) -> Row:
        try:
            found = os.listxattr(fd) if fd >= 0 else os.listxattr(path, follow_symlinks=False)
            if not found:
                return ()
            return tuple(
                (name, os.getxattr(fd, name) if fd >= 0 else os.getxattr(path, name, follow_symlinks=False))
                for name in sorted(found)
            )
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.ENODATA, errno.EPERM):
                return ()
            raise


def _row(path: bytes, seen: os.stat_result) -> Row:
    return (
        path,
        seen.st_mode,
        seen.st_uid,
        seen.st_gid,
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
        seen.st_nlink,
        seen.st_dev,
        seen.st_ino,
        seen.st_rdev,
    )


def _batched(segments: Iterator[Segment]) -> Iterator[list[Segment]]:
    """Segments in batches of a bounded size; long lists of names are cut."""
    batch: list[Segment] = []
    names_held = bytes_held = 0
    for directory, names, flag in segments:
        rest = names
        while True:
            head = rest
            if rest is not None:
                room, used = 0, len(directory) + 16
                for name in rest:
                    used += len(name) + 8
                    if room >= BATCH_NAMES - names_held or (room and used + bytes_held > BATCH_BYTES):
                        break
                    room += 1
                head = rest[:room]
                rest = rest[room:]
                names_held += room
                bytes_held += used
            batch.append((directory, head, flag))
            if names_held >= BATCH_NAMES or bytes_held > BATCH_BYTES or rest:
                yield batch
                batch, names_held, bytes_held = [], 0, 0
            if not rest:
                break
    if batch:
        yield batch


def _chain(first: list[Segment], second: list[Segment], rest: Iterator[list[Segment]]) -> Iterator[list[Segment]]:
    yield first
    yield second
    yield from rest


class _Worker:
    """A process that looks at batches, one after another."""

    def __init__(self, tops: dict[bytes, int], options: Options, others: list[_Worker]) -> None:
        self.queue: deque[int] = deque()
        self.requests = self.answers = -1
        request_in, request_out = os.pipe()
        answer_in, answer_out = os.pipe()
        # A fork, not a fresh Python: it starts at once and has what is wanted in memory already.
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                for other in others:
                    os.close(other.requests)
                    os.close(other.answers)
                os.close(request_out)
                os.close(answer_in)
                _serve(request_in, answer_out, Looker(tops, options, private=True), polite=options.polite)
                status = 0
            except BaseException:  # noqa: BLE001, S110 (a fork must end here whatever happens; its parent sees the end)
                pass
            finally:
                os._exit(status)
        os.close(request_in)
        os.close(answer_out)
        self.requests, self.answers = request_out, answer_in

    def send(self, number: int, request: bytes) -> None:
        """Ask for a batch."""
        self.queue.append(number)
        _write(self.requests, request)

    def receive(self) -> tuple[int, list[Row]]:
        """The answer to the oldest question. Raises `OSError` if the process is gone."""
        answer = _read(self.answers)
        if answer is None:
            raise OSError(errno.EPIPE, "a process of the scan ended; is memory short?")
        return self.queue.popleft(), marshal.loads(answer)  # noqa: S302 (our own child wrote it)

    def end(self) -> None:
        """End the process and wait for it."""
        os.close(self.requests)
        os.close(self.answers)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _serve(requests: int, answers: int, looker: Looker, *, polite: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if polite:
        yield_disk()
    while True:
        request = _read(requests)
        if request is None:
            return
        _write(answers, marshal.dumps(list(looker.look(marshal.loads(request)))))  # noqa: S302 (our parent wrote it)


def _readable(workers: list[_Worker]) -> list[_Worker]:
    poll = select.poll()
    by_fd = {worker.answers: worker for worker in workers if worker.queue}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll()]


def _write(fd: int, message: bytes) -> None:
    rest = memoryview(struct.pack("<Q", len(message)) + message)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _read(fd: int) -> bytes | None:
    head = _exactly(fd, 8)
    return None if head is None else _exactly(fd, struct.unpack("<Q", head)[0])


def _exactly(fd: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


__all__ = ["Options", "Scan", "is_below"]
