"""`anicca report`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.cli.drift import DIRECTORY
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.cli.context import Context
    from anicca.drift.inside import Root
    from anicca.drift.pages import PastBoot
    from anicca.roots.facts import GuardFacts

GUARD = b"/run/anicca/guard.json"


@click.command
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The page's file.")
@click.option("--root", type=DIRECTORY, help="Look at the root in DIR instead of this host's.", metavar="DIR")
@click.option("-x", "--one-file-system", is_flag=True, help="Do not go into other filesystems mounted below the root.")
@click.pass_obj
def report(context: Context, *, output: Path, root: Path | None, one_file_system: bool) -> None:
    """Write a page about this host: its drift as a map and a table, what earlier boots forgot, what the guard did.

    One file that needs nothing else. Who may read it, reads the names of all that is not declared: it is made for its
    owner alone.
    """
    from anicca import fs  # noqa: PLC0415
    from anicca.drift import system  # noqa: PLC0415
    from anicca.drift.examine import examine  # noqa: PLC0415
    from anicca.drift.facts import facts_of  # noqa: PLC0415
    from anicca.drift.inside import Root  # noqa: PLC0415
    from anicca.drift.pages import Page, render  # noqa: PLC0415

    top = root or Path("/")
    inside = Root(os.fsencode(top))
    findings = examine(top, cross_mounts=not one_file_system, report=context.report)
    running = os.fsdecode(inside.real(system.CURRENT)) if inside.exists(system.CURRENT) else ""
    guard = read_guard(inside)
    page = Page(facts_of(os.fsencode(top)), findings, running, guard, tuple(_boots(top) if running else ()))
    text = render(page)
    fs.write_atomic(output, text.encode("utf-8", "replace"), mode=0o600)
    record = {"file": str(output), "drift": len(findings.drift), "size": output.stat().st_size}
    context.print(record, str(output))


def read_guard(root: Root) -> GuardFacts | str | None:
    """What the guard said of this boot, or why that cannot be read; None where there is no guard."""
    from anicca.roots.facts import parse_facts  # noqa: PLC0415

    try:
        text = root.read_if_there(GUARD)
        return parse_facts(text) if text or root.exists(GUARD) else None
    except (OSError, ValueError) as error:
        return f"{os.fsdecode(GUARD)} cannot be read: {error}"


def _boots(top: Path) -> Iterator[PastBoot]:
    from anicca.drift.lost import boot_id, read_boots, read_lost  # noqa: PLC0415
    from anicca.drift.pages import PastBoot  # noqa: PLC0415
    from anicca.drift.rules import SUSPICIOUS  # noqa: PLC0415

    for boot in read_boots(top, current=boot_id()):
        try:
            found = read_lost(top, boot)
        except AniccaError:
            yield PastBoot(boot.name, boot.ended, None)
            continue
        drift = found.findings.drift
        paths, suspicious = drift.count.paths + found.more, drift.of(SUSPICIOUS).count.paths
        yield PastBoot(boot.name, boot.ended, paths, suspicious, found.guard)
