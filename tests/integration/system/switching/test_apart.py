"""Work that a copy of this process does: what it raises comes back, and whatever ends one ends the other."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from anicca.errors import AniccaError, DeclarationError, Fault, Place, RefusedError
from anicca.process import ProgramError, run
from anicca.system.switching.apart import apart

pytestmark = pytest.mark.integration


def test_what_it_does_to_itself_ends_with_it(tmp_path: Path) -> None:
    before = Path.cwd()

    def work() -> None:
        os.chdir(tmp_path)
        Path("done").write_text(str(os.getpid()))

    apart(work)
    assert Path.cwd() == before
    assert int((tmp_path / "done").read_text()) != os.getpid()


@pytest.mark.parametrize(
    "error",
    [
        AniccaError("no", hint="yes", detail="the log"),
        RefusedError("never"),
        DeclarationError(Fault(message="wrong", places=(Place("host.py", 9),)), Fault(message="worse")),
        ProgramError("mkfs: failed", status=3, tail="mkfs: no"),
    ],
)
def test_errors_say_the_same(error: AniccaError) -> None:
    def work() -> None:
        raise error

    with pytest.raises(AniccaError) as raised:
        apart(work)
    found = raised.value
    assert (found.faults, found.detail, found.exit_status) == (error.faults, error.detail, error.exit_status)
    assert str(found) == str(error)


def test_a_full_disk_and_a_bug_of_ours() -> None:
    def full() -> None:
        raise OSError(28, "No space left", "/nix")

    with pytest.raises(OSError, match="No space left") as raised:
        apart(full)
    assert (raised.value.errno, raised.value.filename) == (28, "/nix")

    def bug() -> None:
        raise KeyError("a bug")

    with pytest.raises(RuntimeError, match=r"test_apart.py(.|\n)*KeyError: 'a bug'"):
        apart(bug)


def test_one_that_is_killed_is_said() -> None:
    with pytest.raises(AniccaError, match="ended with status -9"):
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_what_was_printed_before_is_printed_once() -> None:
    program = "from anicca.system.switching.apart import apart; print('before'); apart(lambda: print('work'))"
    assert run([sys.executable, "-c", program]).text.split() == ["before", "work"]


def test_an_interrupt_is_passed_on_and_waited_for(tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"

    def work() -> None:
        with suppress(KeyboardInterrupt):
            started.touch()
            time.sleep(60)
            return
        ended.touch()

    def interrupt() -> None:
        while not started.exists():
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    # Started before the copy is made, it is not in the copy.
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        apart(work)
    assert ended.exists()
