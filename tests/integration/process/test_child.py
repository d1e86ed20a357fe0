from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from anicca import process


def test_output_of_a_program_beside_us_is_appended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    child = process.start(["sh", "-c", "echo out; echo err >&2; exit 3"], output=log)
    assert child.wait(10) == 3
    assert log.read_text() == "before\nout\nerr\n"


def test_waiting_ends_without_ending_the_program(tmp_path: Path) -> None:
    child = process.start(["sleep", "60"], output=tmp_path / "log")
    assert child.wait(0.05) is None
    assert child.poll() is None
    child.end()
    assert child.poll() == -signal.SIGINT
    child.end()


def test_kill_ends_the_whole_group(tmp_path: Path) -> None:
    child = process.start(["sh", "-c", "sleep 60 & echo $!; wait"], output=tmp_path / "log")
    deadline = time.monotonic() + 10
    while not (tmp_path / "log").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    grandchild = int((tmp_path / "log").read_text())
    child.kill()
    assert child.poll() == -signal.SIGKILL
    child.kill()
    while _alive(grandchild):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(process.ProgramError, match="no-such-program: program not found"):
        process.start(["no-such-program"], output=tmp_path / "log")
    with pytest.raises(process.ProgramError, match="no-such-program: program not found"):
        process.run_on_terminal(["no-such-program"])


def test_an_interrupt_is_for_the_program_on_the_terminal() -> None:
    # The child gets the interrupt as any program does, and we do not.
    before = signal.getsignal(signal.SIGINT)
    code = "import os, signal; os.kill(os.getppid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT)"
    assert process.run_on_terminal([sys.executable, "-c", code], env=dict(os.environ)) != 0
    assert signal.getsignal(signal.SIGINT) is before
