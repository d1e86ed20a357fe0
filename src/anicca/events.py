"""What happens while work is under way, as values; `anicca.cli.render` draws them.

Functions that take long accept `report: Report = ignore` and call it; they never print.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Work named `task` began. `total` is its size in `unit`s where known."""

    task: str
    total: int | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """`task` has now done `done` of its units."""

    task: str
    done: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """`task` ended well."""

    task: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line that a program of `task` printed."""

    task: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a person should read although nothing failed."""

    text: str
    warning: bool = False


Event = Started | Advanced | Finished | LogLine | Notice
Report = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """The report of those who do not watch."""
