from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from anicca import process
from anicca.process import TAIL_LINES, ProgramError

PATH = {"PATH": os.environ["PATH"]}


def test_what_a_program_writes_is_kept_apart() -> None:
    done = process.run(["sh", "-c", "cat; echo err >&2"], stdin=b"in\xff", env=PATH)
    assert (done.status, done.stdout, done.stderr, done.text) == (0, b"in\xff", b"err\n", "in\udcff")


def test_stdin_is_closed_and_the_environment_is_what_is_given() -> None:
    done = process.run(["sh", "-c", 'cat; echo "$ONE,${HOME-none}"'], env={**PATH, "ONE": "1"}, timeout_seconds=10)
    assert done.text == "1,none\n"


def test_lines_come_in_order_and_the_tail_is_kept() -> None:
    lines: list[str] = []
    done = process.run(["sh", "-c", "for i in $(seq 100); do echo $i; done; echo end >&2"], on_line=lines.append)
    assert lines == [*map(str, range(1, 101)), "end"]
    assert done.stdout.decode().split() == lines[-TAIL_LINES:]


def test_lines_of_a_program_that_is_fed_more_than_a_pipe_holds() -> None:
    lines: list[str] = []
    process.run(["wc", "-c"], stdin=bytes(1 << 20), on_line=lines.append, timeout_seconds=20)
    assert lines == [str(1 << 20)]
    process.run(["true"], stdin=bytes(1 << 20), on_line=lines.append, timeout_seconds=20)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_has_the_status_and_the_last_words(streamed: bool) -> None:
    with pytest.raises(ProgramError, match="sh: failed with status 3") as caught:
        process.run(["sh", "-c", "echo why >&2; exit 3"], on_line=(lambda _: None) if streamed else None)
    assert (caught.value.status, caught.value.detail, caught.value.exit_status) == (3, "why", 1)


def test_a_failure_that_is_expected_is_a_value() -> None:
    assert process.run(["sh", "-c", "kill -TERM $$"], check=False).status == -signal.SIGTERM
    with pytest.raises(ProgramError, match="killed by SIGTERM"):
        process.run(["sh", "-c", "kill -TERM $$"])


def test_what_cannot_be_started_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="no-such-program: program not found") as caught:
        process.run(["no-such-program"])
    assert caught.value.faults[0].hint == "install the package that has no-such-program"
    (tmp_path / "text").write_text("no program")
    with pytest.raises(ProgramError, match="cannot be started: Permission denied"):
        process.run([tmp_path / "text"])
    with pytest.raises(FileNotFoundError):
        process.run(["true"], cwd=tmp_path / "gone")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        "sleep 60",
        # Background jobs of a shell ignore SIGINT; these hold the output open after the shell has gone.
        "sleep 60 & wait",
        "sleep 60 & exit 0",
    ],
)
def test_one_that_takes_too_long_ends_with_all_it_started(script: str, streamed: bool, tmp_path: Path) -> None:
    marked = named_sleep(tmp_path)
    started = time.monotonic()
    with pytest.raises(ProgramError, match=r"still running after 0\.3 s"):
        process.run(
            ["sh", "-c", script.replace("sleep", marked)],
            timeout_seconds=0.3,
            on_line=(lambda _: None) if streamed else None,
        )
    assert time.monotonic() - started < 10
    deadline = time.monotonic() + 10
    while alive_with(marked):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_reader_that_fails_ends_the_program(tmp_path: Path) -> None:
    marked = named_sleep(tmp_path)

    def fail(_line: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        process.run(["sh", "-c", f"echo line; exec {marked} 60"], on_line=fail)
    assert not alive_with(marked)


def test_an_interrupt_ends_the_program_in_its_own_way(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"trap 'echo good-bye > {said}; exit 1' INT; echo ready; while :; do sleep 0.05; done"

    def interrupt(_line: str) -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        process.run(["sh", "-c", script], on_line=interrupt)
    assert said.read_text() == "good-bye\n"


def test_the_signals_of_the_command_line_end_what_it_started(tmp_path: Path) -> None:
    marked, log = named_sleep(tmp_path), tmp_path / "log"
    code = (
        "import signal\nfrom anicca import process\nfrom anicca.cli import app\n"
        f"app.app.main = lambda **_: process.run([{marked!r}, '60'])\n"
        "app.main()\n"
    )
    for sign in (signal.SIGTERM, signal.SIGHUP):
        child = process.start([sys.executable, "-c", code], output=log)
        deadline = time.monotonic() + 20
        while not alive_with(marked):
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # It runs before `Popen` has returned: interrupted there, nobody would know of it.
        time.sleep(0.5)
        os.kill(child.pid, sign)
        assert child.wait(20) == 130, log.read_text()
        assert not alive_with(marked)


def named_sleep(directory: Path) -> str:
    """A name of sleep's that no other process has."""
    (directory / "sleep").symlink_to("/bin/sleep")
    return f"{directory}/sleep"


def alive_with(word: str) -> list[int]:
    """The processes that have this word on their command line and are no zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() == path.read_bytes().split(b"\0")[0]:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
