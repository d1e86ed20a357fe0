"""`anicca keep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca import events
from anicca.cli.drift import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.cli.context import Context
    from anicca.drift.area import Copied
    from anicca.drift.keep import Plan


@click.command
@click.argument("path")
@click.option("--root", type=DIRECTORY, help="PATH is on the host whose root is DIR.", metavar="DIR")
@click.option("--replace", is_flag=True, help="Where something is kept from an earlier time, set it aside first.")
@click.option("--days", type=click.IntRange(0), default=30, show_default=True, help="How long that stays aside.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.pass_obj
def keep(context: Context, *, path: str, root: Path | None, replace: bool, days: int, dry_run: bool) -> None:
    """Copy what is at PATH now into the persistent area, and say how to declare it so that it stays.

    Content, owners, modes, times, extended attributes and hard links are verified. It is in use from the next switch
    or boot of a system that declares it.
    """
    from anicca.drift.keep import keep as carry_out  # noqa: PLC0415
    from anicca.drift.keep import plan_keep, to_record  # noqa: PLC0415

    top = root or Path("/")
    plan = plan_keep(top, path, replace=replace)
    for warning in plan.warnings:
        context.report(events.Notice(text=f"{path}: {warning}", warning=True))
    copied = None
    if not dry_run and not plan.already:
        copied = carry_out(top, plan, days=days, report=context.report)
    context.print(to_record(plan, copied), "\n".join(_lines(plan, copied)))


def _lines(plan: Plan, copied: Copied | None) -> Iterator[str]:
    from anicca.cli.render import size_text  # noqa: PLC0415
    from anicca.drift.report import show, show_text  # noqa: PLC0415

    shown = show(plan.path)
    if plan.already:
        yield f"{shown}: is kept already, by {show_text(plan.already)}"
        return
    if copied is None:
        yield f"{shown} would be copied to /nix/persist{shown}"
    else:
        paths = "1 path" if copied.paths == 1 else f"{copied.paths} paths"
        yield f"{shown}: {paths}, {size_text(copied.size_bytes)}, copied to /nix/persist{shown} and verified"
        if copied.linked_elsewhere:
            yield f"  {copied.linked_elsewhere} files in it have names elsewhere too, which are not kept"
    yield "say in host.py:"
    yield f"    {plan.line},"
    yield "then switch to it, or boot it; what is written at the old place until then is not in the copy"
