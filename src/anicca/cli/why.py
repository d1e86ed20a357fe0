"""`anicca why`."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.cli.drift import DIRECTORY
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from anicca.cli.context import Context
    from anicca.drift.why import Why


@click.command
@click.argument("path")
@click.option("--root", type=DIRECTORY, help="PATH is in the root in DIR instead of this host's.", metavar="DIR")
@click.pass_obj
def why(context: Context, *, path: str, root: Path | None) -> None:
    """Say where PATH comes from: a declaration, a package, the seed, a persisted directory; or nobody."""
    from anicca.drift.why import to_record  # noqa: PLC0415
    from anicca.drift.why import why as find  # noqa: PLC0415

    top = root or Path("/")
    try:
        found = find(os.fsencode(top), os.fsencode(path))
    except (OSError, ValueError, KeyError) as error:
        raise AniccaError(f"{path}: cannot be looked at: {error}") from error
    context.print(to_record(found), "\n".join(_lines(found)))


def _lines(found: Why) -> list[str]:
    from anicca.cli.render import size_text  # noqa: PLC0415
    from anicca.drift.report import show, show_text  # noqa: PLC0415

    place = show(found.place)
    if found.origin == "absent":
        return [f"{place}: is not there, and nobody says it should be"]
    lines = [f"{place}: {show_text(found.says) if found.says else 'nobody says that this must be here'}"]
    if found.places:
        lines.append(f"  said in {', '.join(map(show_text, found.places))}")
    if found.entry is None:
        return [*lines, "  it is not there"]
    moment = dt.datetime.fromtimestamp(found.entry.mtime_ns // 10**9, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    size = f" of {size_text(found.entry.size)}" if found.kind == "file" else ""
    lines.append(f"  a {found.kind}{size}, last written {moment}, owned by {show_text(found.owner)}")
    if found.by:
        lines.append(f"  written by {show_text(found.by)}")
    lines += [f"  {one.kind}: {show_text(one.was)} → {show_text(one.now)}" for one in found.differences]
    if found.judgement is not None and found.judgement.why and not found.judgement.expected:
        lines.append(f"  {found.judgement.name}: {found.judgement.why}")
    if found.gone_at_boot:
        lines.append("  it will be gone at the next boot")
    return lines
