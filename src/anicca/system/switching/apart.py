"""Work done in a copy of this process: what it does to the process, as to see other mounts, ends with the copy."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from contextlib import suppress
from traceback import format_exception
from typing import TYPE_CHECKING, NoReturn

from anicca import errors
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def apart(work: Callable[[], object]) -> None:
    """Have a copy of this process do some work, and wait for it; what the work raises is raised here.

    Call it before there are threads. Whatever interrupts this process interrupts the work, which ends in good order.
    """
    reader, writer = os.pipe()
    # What is not written yet would be written by both.
    sys.stdout.flush()
    sys.stderr.flush()
    # Until somebody is there who passes them on.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    copy = os.fork()
    if copy == 0:
        _work(work, writer, mask)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            raised = answer.read()
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(copy, signal.SIGINT)
        raise
    finally:
        _, status = os.waitpid(copy, 0)
    if raised:
        raise pickle.loads(raised)  # noqa: S301 (our own copy wrote it)
    if status != 0:
        how = os.waitstatus_to_exitcode(status)
        raise AniccaError(f"a process of this command ended with status {how}", hint="is memory short?")


def _work(work: Callable[[], object], writer: int, mask: Collection[int]) -> NoReturn:
    """What the copy does: whatever happens, it ends here."""
    raised = b""
    status = 1
    try:
        # What a terminal sends to all would interrupt it twice: its own process group gets what we pass on.
        os.setpgid(0, 0)
        # Shells have their background jobs ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            work()
        except BaseException as error:  # noqa: BLE001 (raised again by whoever waits)
            raised = pickle.dumps(_portable(error))
        sys.stdout.flush()
        sys.stderr.flush()
        with os.fdopen(writer, "wb") as answer:
            answer.write(raised)
        status = 0
    finally:
        os._exit(status)


def _portable(error: BaseException) -> BaseException:
    """An error that says the same, of a kind that can be made from what it says."""
    if isinstance(error, AniccaError):
        kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
        plain: AniccaError = kind(str(error))
        plain.faults, plain.detail = error.faults, error.detail
        return plain
    if isinstance(error, (OSError, KeyboardInterrupt)):
        return error
    return RuntimeError("".join(format_exception(error)))
