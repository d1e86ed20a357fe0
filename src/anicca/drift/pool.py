"""Processes of our own that do pieces of work, whoever is free; what they find is given back in the order of asking.

A fork, not a fresh Python: it starts at once and has what is wanted in memory already. Make one while this process has
no threads.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import marshal
import os
import pickle
import select
import signal
import struct
import threading
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

from anicca.drift.view import yield_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    Work = Callable[[Any], Any]

REQUEST_BYTES = 60_000
"""A request fits into an empty pipe, so that who writes one never waits for who writes an answer."""
QUEUED = 2
"""One that is worked at, and one to go on with."""
TOLD = 100
"""So many things are told at once."""
ENDING_SECONDS = 1
MOST_PENDING = 32
"""So many answers a process may be ahead of the one that is waited for."""


class Pool:
    """`count` processes that do `work`; requests and answers are what `marshal` takes. None: it is done here."""

    def __init__(self, work: Work, count: int, *, polite: bool = False) -> None:
        self._work = work
        self._workers: list[_Worker] = []
        if count:
            _let_threads_end()
        for _ in range(count):
            self._workers.append(_Worker(work, self._workers, polite=polite))

    def close(self) -> None:
        """End them, wherever they are."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def run(self, asked: Iterable[tuple[Any, Any]]) -> Generator[tuple[Any, Any]]:
        """For each (what is kept here, request): what was kept, and the answer. A request that is None has none.

        Raises `OSError` if a process ends early.
        """
        rest = iter(asked)
        if not self._workers:
            for kept, request in rest:
                yield kept, None if request is None else self._work(request)
            return
        kept_here: deque[Any] = deque()
        answers: dict[int, Any] = {}
        told = 0
        more = True
        while True:
            while more and len(kept_here) < MOST_PENDING * len(self._workers):
                free = min(self._workers, key=lambda worker: len(worker.queue))
                if len(free.queue) >= QUEUED:
                    break
                following = next(rest, None)
                if following is None:
                    more = False
                    break
                self._ask(free, told + len(kept_here), following[1], answers)
                kept_here.append(following[0])
            if told in answers:
                yield kept_here.popleft(), answers.pop(told)
                told += 1
            elif not kept_here and not more:
                return
            else:
                for worker in self._readable():
                    number, answer = worker.receive()
                    answers[number] = answer

    def _ask(self, worker: _Worker, number: int, request: Any, answers: dict[int, Any]) -> None:
        if request is None:
            answers[number] = None
            return
        message = marshal.dumps(request)
        if len(message) > REQUEST_BYTES:
            answers[number] = self._work(request)
        else:
            worker.send(number, message)

    def _readable(self) -> list[_Worker]:
        poll = select.poll()
        by_fd = {worker.answers: worker for worker in self._workers if worker.queue}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        return [by_fd[fd] for fd, _ in poll.poll()]


def _let_threads_end() -> None:
    """A bar that was just taken away may have its thread for a moment longer."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(ENDING_SECONDS)


class _Worker:
    """One process."""

    def __init__(self, work: Work, others: list[_Worker], *, polite: bool) -> None:
        self.queue: deque[int] = deque()
        self.requests = self.answers = -1
        request_in, request_out = os.pipe()
        answer_in, answer_out = os.pipe()

        def serve() -> None:
            for other in others:
                os.close(other.requests)
                os.close(other.answers)
            os.close(request_out)
            os.close(answer_in)
            _serve(request_in, answer_out, work, polite=polite)

        self.pid = _forked(serve)
        os.close(request_in)
        os.close(answer_out)
        self.requests, self.answers = request_out, answer_in

    def send(self, number: int, message: bytes) -> None:
        """Ask."""
        self.queue.append(number)
        _write(self.requests, message)

    def receive(self) -> tuple[int, Any]:
        """The answer to the oldest question. Raises `OSError` if it is gone, `RuntimeError` for a bug in it."""
        answer, bug = marshal.loads(_told(self.answers))  # noqa: S302 (our own child wrote it)
        if bug:
            raise RuntimeError(bug)
        return self.queue.popleft(), answer

    def end(self) -> None:
        """End the process and wait for it."""
        os.close(self.requests)
        os.close(self.answers)
        _end(self.pid)


class Aside:
    """What one process of our own finds while we do something else; it waits when there is much that nobody took.

    Each thing is what `marshal` takes. The process is made with this, so that should be before any thread.
    """

    def __init__(self, found: Callable[[], Iterable[Any]], *, polite: bool = False) -> None:
        _let_threads_end()
        self._answers, answers = os.pipe()

        def tell() -> None:
            os.close(self._answers)
            _tell(answers, found, polite=polite)

        self._pid = _forked(tell)
        os.close(answers)

    def __iter__(self) -> Iterator[Any]:
        """All of it, once. Raises what was raised there, and `OSError` if the process ends early."""
        while message := _told(self._answers):
            some, error = marshal.loads(message)  # noqa: S302 (our own child wrote it)
            if error:
                raise pickle.loads(error)  # noqa: S301 (the same)
            if not some:
                return
            yield from some

    def close(self) -> None:
        """End the process, wherever it is."""
        os.close(self._answers)
        _end(self._pid)


def _forked(work: Callable[[], None]) -> int:
    """A process that does this and ends."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            work()
            status = 0
        except BaseException:  # noqa: BLE001, S110 (a fork must end here whatever happens; its parent sees the end)
            pass
        finally:
            os._exit(status)
    return pid


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _tell(answers: int, found: Callable[[], Iterable[Any]], *, polite: bool) -> None:
    if polite:
        yield_machine()
    try:
        rest = iter(found())
        while some := list(itertools.islice(rest, TOLD)):
            _write(answers, marshal.dumps((some, b"")))
        wrong = b""
    except Exception as error:  # noqa: BLE001 (raised again by our parent)
        error.add_note(traceback.format_exc())
        try:
            wrong = pickle.dumps(error)
        except Exception:  # noqa: BLE001 (whatever an error holds: what it says is told)
            wrong = pickle.dumps(RuntimeError(traceback.format_exc()))
    _write(answers, marshal.dumps(([], wrong)))


def _told(fd: int) -> bytes:
    """What a process tells. Raises `OSError` if it is gone."""
    message = _read(fd)
    if message is None:
        raise OSError(errno.EPIPE, "a process of the scan ended; is memory short?")
    return message


def _serve(requests: int, answers: int, work: Work, *, polite: bool) -> None:
    if polite:
        yield_machine()
    while True:
        request = _read(requests)
        if request is None:
            return
        try:
            answer = work(marshal.loads(request)), ""  # noqa: S302 (our parent wrote it)
        except Exception:  # noqa: BLE001 (raised again by our parent)
            answer = None, traceback.format_exc()
        _write(answers, marshal.dumps(answer))


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
