"""`anicca orphans`."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anicca.cli.drift import DIRECTORY
from anicca.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anicca.cli.context import Context
    from anicca.drift.orphans import Aside, Orphan


@click.command
@click.argument("paths", nargs=-1, metavar="[PATH]…")
@click.option("--set-aside", is_flag=True, help="Set all of them aside, or those at the PATHs.")
@click.option("--days", type=click.IntRange(0), default=30, show_default=True, help="How long what is set aside stays.")
@click.option("--put-back", is_flag=True, help="Put the PATHs back that were set aside.")
@click.option("--delete-due", is_flag=True, help="Delete what has been aside for its days.")
@click.option("--root", type=DIRECTORY, help="Look at the host whose root is DIR.", metavar="DIR")
@click.pass_obj
def orphans(
    context: Context,
    *,
    paths: tuple[str, ...],
    set_aside: bool,
    days: int,
    put_back: bool,
    delete_due: bool,
    root: Path | None,
) -> None:
    """List what lies in the persistent area and no generation declares, and what was set aside.

    What is set aside is deleted by --delete-due, no sooner than its days are over. An anicca host that remembers what
    it forgets does that at each shutdown.
    """
    from anicca.drift import orphans as module  # noqa: PLC0415

    if set_aside + put_back + delete_due > 1:
        raise UsageError("--set-aside, --put-back and --delete-due exclude each other")
    if paths and not (set_aside or put_back):
        raise UsageError("a PATH says what to set aside or put back")
    if put_back and not paths:
        raise UsageError("--put-back takes the PATHs that shall be put back")
    top = root or Path("/")
    wanted = [os.fsencode(os.path.normpath(path)) for path in paths]
    if set_aside:
        wanted = wanted or [one.path for one in module.find_orphans(top)]
        _told(context, "set aside", module.set_aside(top, wanted, days=days))
    elif put_back:
        _told(context, "put back", [module.put_back(top, path) for path in wanted])
    elif delete_due:
        _told(context, "deleted", module.delete_due(top))
    else:
        found, aside = module.find_orphans(top), module.read_aside(top)
        record = {
            "orphans": [module.orphan_record(one) for one in found],
            "aside": [module.aside_record(one) for one in aside],
        }
        context.print(record, "\n".join(_lines(found, aside)))


def _told(context: Context, done: str, some: Sequence[Aside]) -> None:
    from anicca.drift.orphans import aside_record  # noqa: PLC0415
    from anicca.drift.report import show  # noqa: PLC0415

    until: Callable[[Aside], str] = lambda one: f" until {_day(one.due)}" if done == "set aside" else ""  # noqa: E731
    record: dict[str, Any] = {done: [aside_record(one) for one in some]}
    context.print(record, "\n".join(f"{done}: {show(one.path)}{until(one)}" for one in some) or f"nothing is {done}")


def _lines(found: Sequence[Orphan], aside: Sequence[Aside]) -> Iterator[str]:
    from anicca.cli.render import size_text  # noqa: PLC0415
    from anicca.drift.report import show  # noqa: PLC0415

    if not found:
        yield "no orphans: all that persists is declared by some generation"
    for one in found:
        held = f", {one.paths} paths" if one.kind == "directory" else ""
        written = dt.datetime.fromtimestamp(one.written_ns // 10**9, dt.UTC).strftime("%Y-%m-%d")
        yield f"{show(one.path)}  {one.kind}{held}, {size_text(one.size_bytes)}, last written {written}"
    if aside:
        yield ""
        yield "set aside:"
    for other in aside:
        yield f"  {show(other.path)}  since {_day(other.since)}, may be deleted from {_day(other.due)} ({other.why})"


def _day(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d")
