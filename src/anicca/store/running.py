"""Running a builder: its lines as they come, its time bounded, ended at once when asked."""

from __future__ import annotations

import os
import select
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from anicca import process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LONGEST_LINE_BYTES = 1 << 16


class Cancelled(Exception):  # noqa: N818 (no error: somebody asked for it)
    """The build was called off."""


class Cancel:
    """A wish to stop, seen by every builder at once, through a pipe that select(2) understands."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._asked = threading.Event()

    def ask(self) -> None:
        """Stop everything that watches."""
        if not self._asked.is_set():
            self._asked.set()
            os.write(self._write, b"x")

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._asked.is_set()

    def fileno(self) -> int:
        """Readable once asked."""
        return self._read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._read)
        os.close(self._write)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds that a builder may take in all, and without printing anything. None: no limit."""

    total_seconds: float | None = None
    silent_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a builder ended; `why` if it was not by itself."""

    status: int
    why: str | None = None


def run_builder(argv: Sequence[str], on_line: Callable[[bytes], None], limits: Limits, cancel: Cancel) -> Ended:
    """Run `argv` to its end, handing over each line that it prints. Raises Cancelled when called off."""
    reading, writing = os.pipe()
    try:
        child = process.start(argv, output=Path(f"/proc/self/fd/{writing}"), env={}, umask=0o022)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        why = _read_lines(reading, on_line, limits, cancel)
        if why is not None:
            child.end()
        while (status := child.wait(3600)) is None:
            pass
    except BaseException:
        child.end()
        raise
    finally:
        os.close(reading)
    return Ended(status=status, why=why)


def _read_lines(  # noqa: C901 (one loop, its cases in order)
    fd: int, on_line: Callable[[bytes], None], limits: Limits, cancel: Cancel
) -> str | None:
    """Read until nobody can write any more; why it was given up before, if it was."""
    started = heard = time.monotonic()
    rest = b""
    while True:
        now = time.monotonic()
        waits = []
        if limits.total_seconds is not None:
            waits.append((started + limits.total_seconds - now, f"after {limits.total_seconds:g} seconds"))
        if limits.silent_seconds is not None:
            waits.append((heard + limits.silent_seconds - now, f"after {limits.silent_seconds:g} seconds of silence"))
        wait, why = min(waits, default=(None, None))
        if wait is not None and wait <= 0:
            return why
        ready, _, _ = select.select([fd, cancel.fileno()], [], [], wait)
        if cancel.asked:
            raise Cancelled
        if fd not in ready:
            continue
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            if rest:
                on_line(rest)
            return None
        heard = time.monotonic()
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            on_line(line)
        if len(rest) > _LONGEST_LINE_BYTES:
            on_line(rest)
            rest = b""
