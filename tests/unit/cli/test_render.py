from __future__ import annotations

import io
import json
import re
import sys

import pytest

from anicca.cli.render import QUIET_SECONDS, Bars, Lines, make_report, show_error, size_text
from anicca.errors import AniccaError, DeclarationError, Fault, Place
from anicca.events import Advanced, Event, Finished, LogLine, Notice, Started

EVENTS: tuple[Event, ...] = (
    Started(task="fetch", total=3_000_000, unit="B"),
    Advanced(task="fetch", done=1_500_000, note="bash"),
    LogLine(task="fetch", text="a line"),
    Notice(text="look [here]"),
    Notice(text="beware", warning=True),
    Finished(task="fetch", note="all"),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def clock(monkeypatch: pytest.MonkeyPatch, *, step: float) -> None:
    now = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: next(now) * step)


def test_lines_tell_starts_ends_and_notices(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, step=1)
    lines = Lines(verbose=0)
    for event in EVENTS:
        lines.report(event)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.splitlines() == [
        "fetch (3.0 MB) …",
        "look [here]",
        "warning: beware",
        "fetch: done in 5.0 s, all",
    ]


def test_lines_tell_how_far_a_long_task_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, step=QUIET_SECONDS)
    lines = Lines(verbose=1)
    for event in EVENTS[:3]:
        lines.report(event)
    assert capsys.readouterr().err.splitlines() == [
        "fetch (3.0 MB) …",
        "fetch: 1.5 MB of 3.0 MB",
        "fetch> a line",
    ]


def test_json_lines_hold_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    report = make_report(as_json=True, verbose=0, closer=lambda _: None)
    for event in EVENTS:
        report(event)
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [record["event"] for record in records] == [
        "started", "advanced", "logline", "notice", "notice", "finished",
    ]  # fmt: skip
    assert records[1] == {"event": "advanced", "task": "fetch", "done": 1_500_000, "note": "bash"}


@pytest.mark.parametrize(
    ("terminal", "term", "kind"),
    [(True, "xterm", Bars), (True, "dumb", Lines), (True, None, Lines), (False, "xterm", Lines)],
)
def test_bars_are_for_terminals_that_can_draw(
    terminal: bool, term: str | None, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal() if terminal else io.StringIO())
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    report = make_report(as_json=False, verbose=0, closer=lambda _: None)
    assert isinstance(getattr(report, "__self__", None), kind)


def test_bars_leave_the_terminal_alone_when_nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    # A program that is given the terminal, such as a machine's console, would be drawn over.
    screen, out = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    bars = Bars(verbose=0)
    for event in EVENTS[:-1]:
        bars.report(event)
    sys.stdout.write("a result\n")
    assert bars._progress is not None
    bars.report(EVENTS[-1])
    assert bars._progress is None
    bars.report(Notice(text="ssh: this way"))
    assert bars._progress is None
    bars.close()
    assert out.getvalue() == "a result\n"
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "a result" not in shown
    assert all(text in shown for text in ("look [here]", "beware", "✓", "ssh: this way"))
    assert shown.rstrip("\r\n").endswith("ssh: this way")


def test_bars_of_several_tasks_go_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    bars = Bars(verbose=1)
    for task in ("one", "two"):
        bars.report(Started(task=task))
    bars.report(LogLine(task="one", text="[not] markup"))
    bars.report(Finished(task="one"))
    assert bars._progress is not None
    bars.report(Finished(task="two"))
    assert bars._progress is None
    bars.report(Finished(task="never started"))


def test_errors_are_told_with_place_hint_and_detail(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(DeclarationError(Fault(message="one", places=(Place("a.py", 1),)), Fault(message="two", hint="do this")))
    show_error(AniccaError("three", detail="line 1\nline 2"))
    assert capsys.readouterr().err.splitlines() == [
        "error: a.py:1: one",
        "error: two",
        "  hint: do this",
        "error: three",
        "  | line 1",
        "  | line 2",
    ]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3e12, "3.0 TB")]
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text
