"""Progress and errors on stderr: bars on a terminal, plain lines elsewhere, JSON lines where asked for."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

from anicca.events import Advanced, Event, Finished, LogLine, Notice, Report, Started

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from anicca.errors import AniccaError

QUIET_SECONDS = 10.0
"""On plain output, how long a task must last before its progress is told again."""


def make_report(*, as_json: bool, verbose: int, closer: Callable[[Callable[[], None]], object]) -> Report:
    """How events are shown: chosen by the options and by what stderr is. `closer` registers the clean-up."""
    if as_json:
        return _json_line
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        bars = Bars(verbose=verbose)
        closer(bars.close)
        return bars.report
    return Lines(verbose=verbose).report


def _json_line(event: Event) -> None:
    import json  # noqa: PLC0415 (where asked for)

    record = {"event": type(event).__name__.lower(), **dataclasses.asdict(event)}
    sys.stderr.write(json.dumps(record, sort_keys=True) + "\n")
    sys.stderr.flush()


class Lines:
    """Plain lines, for logs and pipes: each task's start and end with its seconds, and now and then how far it is."""

    def __init__(self, *, verbose: int) -> None:
        self._verbose = verbose
        self._started: dict[str, float] = {}
        self._totals: dict[str, tuple[int | None, str]] = {}
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def report(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            text = self._text(event)
            if text is not None:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()

    def _text(self, event: Event) -> str | None:
        now = time.monotonic()
        match event:
            case Started():
                self._started[event.task] = self._told[event.task] = now
                self._totals[event.task] = (event.total, event.unit)
                size = f" ({_amount(event.total, event.unit)})" if event.total is not None else ""
                return f"{event.task}{size} …"
            case Advanced():
                if now - self._told.get(event.task, now) < QUIET_SECONDS:
                    return None
                self._told[event.task] = now
                total, unit = self._totals.get(event.task, (None, ""))
                of = f" of {_amount(total, unit)}" if total is not None else ""
                return f"{event.task}: {_amount(event.done, unit)}{of}"
            case Finished():
                seconds = now - self._started.pop(event.task, now)
                note = f", {event.note}" if event.note else ""
                return f"{event.task}: done in {seconds:.1f} s{note}"
            case LogLine():
                return f"{event.task}> {event.text}" if self._verbose else None
            case Notice():
                return f"warning: {event.text}" if event.warning else event.text
            case _:
                assert_never(event)


class Bars:
    """Bars and spinners of rich, on a terminal, as long as a task is under way; else the terminal is left alone."""

    def __init__(self, *, verbose: int) -> None:
        self._verbose = verbose
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._units: dict[str, str] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Take the bars away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console  # noqa: PLC0415 (slow to import, and who has nothing to do needs none)

        return Console(stderr=True)

    def _open(self) -> Progress:
        if self._progress is None:
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[amount]}", markup=False),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
                # What others print to stdout is a result, and stays there.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._progress.start()
        return self._progress

    def report(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            match event:
                case Started():
                    self._units[event.task] = event.unit
                    self._started[event.task] = time.monotonic()
                    self._tasks[event.task] = self._open().add_task(event.task, total=event.total, amount="")
                case Advanced():
                    if event.task in self._tasks:
                        amount = f"{_amount(event.done, self._units[event.task])} {event.note}"
                        self._open().update(self._tasks[event.task], completed=event.done, amount=amount)
                case Finished():
                    self._finish(event)
                case LogLine():
                    if self._verbose:
                        text = f"[dim]{_plain(event.task)}>[/] {_plain(event.text)}"
                        self._console.print(text, highlight=False)
                    elif event.task in self._tasks:
                        self._open().update(self._tasks[event.task], amount=event.text[:60])
                case Notice():
                    mark = "[yellow]![/] " if event.warning else ""
                    self._console.print(f"{mark}{_plain(event.text)}")
                case _:
                    assert_never(event)

    def _finish(self, event: Finished) -> None:
        """A task's last line; with the last task the bars go, for a program may want the terminal for itself."""
        seconds = time.monotonic() - self._started.pop(event.task, time.monotonic())
        if event.task in self._tasks:
            self._open().remove_task(self._tasks.pop(event.task))
        note = f"  {_plain(event.note)}" if event.note else ""
        self._console.print(f"[green]✓[/] {_plain(event.task)} [dim]{seconds:.1f} s{note}[/]")
        if not self._tasks:
            self.close()


def _plain(text: str) -> str:
    """Text in which rich finds no markup."""
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)


def _amount(number: int | None, unit: str) -> str:
    """A number of units as a person reads it."""
    if number is None:
        return "?"
    if unit != "B":
        return f"{number} {unit}".strip()
    return size_text(number)


def size_text(size_bytes: float) -> str:
    """A size in decimal units, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:  # noqa: PLR2004
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def show_error(error: AniccaError) -> None:
    """What failed, where, and what to do about it; then the details."""
    lines = []
    for fault in error.faults:
        lines.append(f"error: {fault}")
        if fault.hint:
            lines.append(f"  hint: {fault.hint}")
    if error.detail:
        lines.extend("  | " + line for line in error.detail.splitlines())
    sys.stderr.write("\n".join(lines) + "\n")


def show_bug() -> None:
    """A traceback is a bug of ours, and says so."""
    import traceback  # noqa: PLC0415 (rare, it is to be hoped)

    traceback.print_exc()
    sys.stderr.write("error: this is a bug in anicca, not in your declaration; please report the lines above\n")
