"""Hashing beside other work. Light, as `spelling` is: this is what hashing a tree starts with."""

from __future__ import annotations

import hashlib
import queue
import threading

from anicca import fs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Chunk = TypeVar("Chunk", bytes, memoryview)

_AHEAD_CHUNKS = 4
_WORTH_BYTES = 1 << 20


def _keep(_chunk: object) -> None:
    """What becomes of a chunk that is nobody's to give back."""


class AsideHasher:
    """A hash object whose work is done in another thread: hashing needs no lock of the interpreter, reading does.

    The thread is started when a MiB has come together, so that small things cost nothing extra, and only if a core is
    free for it: taking turns with the reader on the same one makes both slower.
    """

    def __init__(self, algorithm: str = "sha256") -> None:
        self._state = hashlib.new(algorithm, usedforsecurity=False)
        self._size = 0
        self._alone = False
        self._queue: queue.Queue[tuple[Any, Callable[[Any], None]] | None] | None = None
        self._thread: threading.Thread | None = None

    def update(self, chunk: Chunk, then: Callable[[Chunk], None] = _keep) -> None:
        """Hash the next bytes, now or soon; `then` is called with them when that is done."""
        self._size += len(chunk)
        if self._size >= _WORTH_BYTES and self._queue is None and not self._alone:
            self._alone = not fs.spare_core()
            if not self._alone:
                self._queue = queue.Queue(_AHEAD_CHUNKS)
                self._thread = threading.Thread(target=self._work, args=(self._queue,), daemon=True)
                self._thread.start()
        if self._queue is not None:
            self._queue.put((chunk, then))
        else:
            self._state.update(chunk)
            then(chunk)

    def _work(self, chunks: queue.Queue[tuple[Any, Callable[[Any], None]] | None]) -> None:
        while (item := chunks.get()) is not None:
            chunk, then = item
            self._state.update(chunk)
            then(chunk)

    def finish(self) -> None:
        """Let go of the thread."""
        if self._thread is not None and self._queue is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = self._queue = None

    def digest(self) -> bytes:
        """The digest of all that came; nothing may follow."""
        self.finish()
        return self._state.digest()
