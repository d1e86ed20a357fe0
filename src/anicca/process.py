"""The only door to other programs: argument lists, explicit environment, stdin closed, bounded time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TAIL_LINES = 40
"""How many of a failed program's last lines its error keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that ended: its status, what it wrote to stdout, and to stderr."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Stdout as text, undecodable bytes kept as surrogates."""
        return self.stdout.decode("utf-8", "surrogateescape")


class ProgramError(AniccaError):
    """A program failed, was not found or took too long. `status` is its own, never ours; None if it has none."""

    def __init__(self, message: str, *, status: int | None = None, tail: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint, detail=tail or None)
        self.status = status


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    timeout_seconds: float | None = None,
    check: bool = True,
    on_line: Callable[[str], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run a program to its end.

    `env` replaces the whole environment (None: ours). With `on_line`, each line of stdout and stderr is handed
    over as it comes, merged in order, and only the tail is kept as `stdout`. On timeout or interrupt the program's
    whole process group gets SIGINT, then SIGTERM, then SIGKILL; what is left of it when the program itself has ended
    is killed. Raises `ProgramError` if it cannot be started, takes too long or (with `check`) ends with a status
    other than 0.
    """
    args = tuple(os.fspath(a) for a in argv)
    try:
        child = subprocess.Popen(
            args,
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if on_line is None else subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        if cwd is not None and not cwd.is_dir():
            raise
        raise _cannot_start(args[0], error) from error
    try:
        if on_line is None:
            out, err = child.communicate(stdin, timeout=timeout_seconds)
        else:
            out, err = _stream(child, stdin, timeout_seconds, on_line), b""
    except subprocess.TimeoutExpired as error:
        _end(child)
        raise ProgramError(f"{args[0]}: still running after {timeout_seconds:g} s; ended") from error
    except BaseException:
        _end(child)
        raise
    finally:
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    done = Completed(argv=args, status=child.returncode, stdout=out, stderr=err)
    if check and done.status != 0:
        tail = (done.stderr or done.stdout).decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
        raise ProgramError(f"{args[0]}: {_how(done.status)}", status=done.status, tail="\n".join(tail))
    return done


class Child:
    """A program that goes on while we do other things; made by `start`. Whoever starts it ends it."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

    @property
    def pid(self) -> int:
        """Its process id, also the id of its process group."""
        return self._popen.pid

    def poll(self) -> int | None:
        """Its status if it has ended (negative: the signal that ended it), else None."""
        return self._popen.poll()

    def wait(self, timeout_seconds: float) -> int | None:
        """Its status as soon as it ends, None if it still runs after that time."""
        try:
            return self._popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """SIGKILL, at once, for its whole process group: what a power cut is to a virtual machine.

        `ProgramError` if the kernel has not let go of it after a minute, as when a device does not answer.
        """
        if self._popen.poll() is None:
            _signal_group(self._popen, signal.SIGKILL)
            if self.wait(60) is None:
                raise ProgramError(f"process {self.pid}: was killed and does not end; what does it wait for?")

    def end(self) -> None:
        """Interrupt, terminate, kill: each with a short time to comply. Ended already is fine."""
        _end(self._popen)


def start(
    argv: Sequence[str | Path],
    *,
    output: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    umask: int | None = None,
) -> Child:
    """Start a program in the background, in a process group of its own, stdout and stderr appended to `output`.

    `umask` (None: ours) is what it takes from the modes of what it makes. Raises `ProgramError` if it cannot be
    started.
    """
    args = tuple(os.fspath(a) for a in argv)
    with output.open("ab") as log:
        try:
            return Child(
                subprocess.Popen(
                    args,
                    env=None if env is None else dict(env),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    umask=-1 if umask is None else umask,
                )
            )
        except OSError as error:
            raise _cannot_start(args[0], error) from error


def run_on_terminal(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> int:
    """Give our terminal to a program until it ends; its status. Interrupts are for it, not for us."""
    args = tuple(os.fspath(a) for a in argv)
    # A handler, not SIG_IGN: the child would inherit that.
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(args, env=None if env is None else dict(env), check=False).returncode
    except OSError as error:
        raise _cannot_start(args[0], error) from error
    finally:
        signal.signal(signal.SIGINT, previous)


def _cannot_start(program: str, error: OSError) -> ProgramError:
    """The error for a program that the system would not start."""
    if isinstance(error, FileNotFoundError):
        return ProgramError(f"{program}: program not found", hint=f"install the package that has {program}")
    return ProgramError(f"{program}: cannot be started: {error.strerror}", hint="is it a program that may run here?")


def _how(status: int) -> str:
    """A status as a person says it."""
    if status >= 0:
        return f"failed with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _stream(
    child: subprocess.Popen[bytes],
    stdin: bytes | None,
    timeout_seconds: float | None,
    on_line: Callable[[str], None],
) -> bytes:
    """Hand over lines as they come; give back the last ones."""
    assert child.stdout is not None
    tail: deque[bytes] = deque(maxlen=TAIL_LINES)
    feeder: threading.Thread | None = None
    if stdin is not None:
        assert child.stdin is not None
        feeder = threading.Thread(target=_feed, args=(child, stdin), daemon=True)
        feeder.start()
    expired = threading.Event()
    timer: threading.Timer | None = None
    if timeout_seconds is not None:

        def expire() -> None:
            expired.set()
            _end(child)

        timer = threading.Timer(timeout_seconds, expire)
        timer.start()
    try:
        for line in child.stdout:
            tail.append(line)
            on_line(line.decode("utf-8", "replace").rstrip("\n"))
        child.wait()
    finally:
        if timer is not None:
            timer.cancel()
    if expired.is_set():
        raise subprocess.TimeoutExpired(child.args, timeout_seconds or 0)
    return b"".join(tail)


def _feed(child: subprocess.Popen[bytes], stdin: bytes) -> None:
    """Write all of stdin; a program that stops reading has its reasons."""
    assert child.stdin is not None
    try:
        with child.stdin as pipe:
            pipe.write(stdin)
    except BrokenPipeError:
        return


def _end(child: subprocess.Popen[bytes]) -> None:
    """Interrupt, terminate, kill: each with a short time to comply; then kill what is left of its process group.

    A program that was waited for is left alone: its id may be another's by now.
    """
    if child.returncode is not None:
        return
    try:
        for sign, wait_seconds in ((signal.SIGINT, 3), (signal.SIGTERM, 3), (signal.SIGKILL, 10)):
            _signal_group(child, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(wait_seconds)
                return
    finally:
        # Background jobs of a shell ignore SIGINT, outlive it, and hold our pipes open. Whoever interrupts us a second
        # time does not want to wait either.
        _signal_group(child, signal.SIGKILL)


def _signal_group(child: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    """Signal the program's whole process group, if anybody is left in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, sign)
