"""`anicca lost`."""

from __future__ import annotations

import datetime as dt
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anicca.cli.drift import DIRECTORY, json_pieces, print_pieces
from anicca.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anicca.cli.context import Context
    from anicca.drift.lost import Boot, Lost


@click.command
@click.option("--boot", default="-1", show_default=True, help="Which boot: -1 is the last that is over; or its id.")
@click.option("--list", "list_boots", is_flag=True, help="List the boots of which something is remembered.")
@click.option("--summary", is_flag=True, help="Only how much of what.")
@click.option("--all", "everything", is_flag=True, help="Every path, one a line.")
@click.option("--remember", is_flag=True, help="What the unit at shutdown does: remember this boot's.")
@click.option("--root", type=DIRECTORY, help="Look at the host whose root is DIR.", metavar="DIR")
@click.pass_obj
def lost(
    context: Context,
    *,
    boot: str,
    list_boots: bool,
    summary: bool,
    everything: bool,
    remember: bool,
    root: Path | None,
) -> None:
    """Tell what a boot forgot, and which files of that anicca rescue can put back.

    A boot that ended by a power cut has no list: it is made at shutdown.
    """
    from anicca.drift.lost import boot_id, find_boot, read_boots, read_lost  # noqa: PLC0415

    top = root or Path("/")
    if remember + list_boots + summary + everything > 1:
        raise UsageError("--remember, --list, --summary and --all exclude each other")
    if remember:
        _remember(context, top)
        return
    boots = read_boots(top, current=boot_id())
    if list_boots:
        context.print([one._asdict() for one in boots], "\n".join(_boots(boots)))
        return
    found = read_lost(top, find_boot(boots, boot))
    if context.json:
        print_pieces(json_pieces(_record(found)))
    else:
        print_pieces(f"{line}\n" for line in _lines(found, summary=summary, everything=everything))


def _remember(context: Context, top: Path) -> None:
    from anicca.cli.render import size_text  # noqa: PLC0415
    from anicca.drift import orphans, system  # noqa: PLC0415
    from anicca.drift.examine import examine  # noqa: PLC0415
    from anicca.drift.inside import Root  # noqa: PLC0415
    from anicca.drift.lost import boot_id, read_settings  # noqa: PLC0415
    from anicca.drift.lost import remember as keep  # noqa: PLC0415

    root = Root(os.fsencode(top))
    settings = read_settings(root, system.running_rules(root))
    if settings is None:
        context.print({"remembered": None}, "this host remembers nothing of what it forgets")
        return
    findings = examine(top, cross_mounts=False, report=context.report)
    running = os.fsdecode(root.real(system.CURRENT))
    boot = keep(top, findings, settings, boot=boot_id(), running=running)
    deleted = orphans.delete_due(top)
    text = f"remembered {len(findings.drift)} paths of boot {boot.name}, {size_text(boot.size_bytes)}"
    context.print({"remembered": boot._asdict(), "deleted": len(deleted)}, text)


def _record(found: Lost) -> dict[str, Any]:
    from anicca.drift.findings import to_record  # noqa: PLC0415

    return {
        "boot": found.boot._asdict(),
        "findings": to_record(found.findings),
        "more": found.more,
        "saved": sorted(os.fsdecode(path).encode("utf-8", "replace").decode() for path in found.saved),
        "not_saved": found.not_saved,
    }


def _lines(found: Lost, *, summary: bool, everything: bool) -> Iterator[str]:
    from anicca.cli.render import size_text  # noqa: PLC0415
    from anicca.drift.report import render, show  # noqa: PLC0415

    paths = found.findings.drift.count.paths + found.more
    noun = "path" if paths == 1 else "paths"
    yield f"boot {found.boot.name}, until {_moment(found.boot.ended)}: {paths} {noun} forgotten"
    yield from itertools.islice(render(found.findings, everything=everything, summary=summary), 1, None)
    if found.more:
        yield f"and {found.more} more, whose names were not kept"
    size = sum(one.size_bytes for one in found.saved.values())
    yield ""
    yield f"anicca rescue has {len(found.saved)} files, {size_text(size)}" + ("" if not found.saved else ":")
    if found.saved and not summary:
        shown = sorted(found.saved) if everything else sorted(found.saved)[:10]
        yield from (f"  {show(path)}" for path in shown)
        if len(shown) < len(found.saved):
            yield f"  … and {len(found.saved) - len(shown)} more (--all shows them)"
    for why, number in sorted(found.not_saved.items()):
        yield f"not kept: {number} ({why})"


def _boots(boots: Sequence[Boot]) -> Iterator[str]:
    from anicca.cli.render import size_text  # noqa: PLC0415

    if not boots:
        yield "nothing is remembered of any boot"
    for number, boot in enumerate(boots):
        what = f"until {_moment(boot.ended)}, {size_text(boot.size_bytes)}"
        ended = what if boot.ended is not None else "cut off: what it forgot is not known"
        yield f"{number - len(boots):>4}  {boot.name}  {ended}"


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
