"""`anicca drift`: what is on a filesystem and nobody declared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.errors import UsageError

if TYPE_CHECKING:
    from anicca.cli.context import Context
    from anicca.drift.findings import Findings

DRIFT, NOT_SEEN = 4, 1
DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command
@click.option("--root", type=DIRECTORY, help="Look at the Debian root in DIR instead of this host.", metavar="DIR")
@click.option("--summary", is_flag=True, help="Only how much of what.")
@click.option("--all", "everything", is_flag=True, help="Every difference, one a line.")
@click.option("-x", "--one-file-system", is_flag=True, help="Do not go into other filesystems mounted below the root.")
@click.pass_obj
def drift(context: Context, *, root: Path | None, summary: bool, everything: bool, one_file_system: bool) -> None:
    """Show every difference between a filesystem and what its system says must be there.

    What must be there comes from the anicca system where there is one, else from dpkg's own records. Exits with 4 if
    there is drift, with 1 if there is none but something could not be read.
    """
    from anicca.drift.examine import examine  # noqa: PLC0415

    if summary and everything:
        raise UsageError("--summary and --all exclude each other")
    findings = examine(root or Path("/"), cross_mounts=not one_file_system, report=context.report)
    show(context, findings, everything=everything, summary=summary)


def show(context: Context, findings: Findings, *, everything: bool = False, summary: bool = False) -> None:
    """Print findings and leave with the status that they mean."""
    from anicca.drift.findings import to_record  # noqa: PLC0415
    from anicca.drift.report import render  # noqa: PLC0415

    record = to_record(findings)
    if summary:
        for part in ("drift", "unread", "explained"):
            counts: dict[str, int] = {}
            for one in record[part]:
                counts[one["class"]] = counts.get(one["class"], 0) + 1
            record[part] = counts
    text = "" if context.json else "\n".join(render(findings, everything=everything, summary=summary))
    context.print(record, text)
    if findings.drift:
        sys.exit(DRIFT)
    if findings.unread or findings.unseen:
        sys.exit(NOT_SEEN)
