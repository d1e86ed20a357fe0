"""`anicca drift`: what is on a filesystem and nobody declared."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anicca.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anicca.cli.context import Context
    from anicca.drift.findings import Findings
    from anicca.drift.remote import Host

DRIFT, NOT_SEEN = 4, 1
PIECES = 1000
"""So many pieces of text are printed at once."""
DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.command
@click.option("--root", type=DIRECTORY, help="Look at the Debian root in DIR instead of this host.", metavar="DIR")
@click.option("--host", help="Look at another host over ssh; it needs python3, nothing else.", metavar="USER@HOST")
@click.option("--ssh", "ssh_command", default="ssh", show_default=True, help="The ssh command for --host.")
@click.option("--sudo", is_flag=True, help="With --host: look as root, by sudo without a password.")
@click.option("--deep", is_flag=True, help="Also verify the system's store objects, /usr and /etc.")
@click.option("--summary", is_flag=True, help="Only how much of what.")
@click.option("--all", "everything", is_flag=True, help="Every difference, one a line.")
@click.option("-x", "--one-file-system", is_flag=True, help="Do not go into other filesystems mounted below the root.")
@click.pass_obj
def drift(
    context: Context,
    *,
    root: Path | None,
    host: str | None,
    ssh_command: str,
    sudo: bool,
    deep: bool,
    summary: bool,
    everything: bool,
    one_file_system: bool,
) -> None:
    """Show every difference between a filesystem and what its system says must be there.

    What must be there comes from the anicca system where there is one, else from dpkg's own records. Exits with 4 if
    there is drift, with 1 if there is none but something could not be read.
    """
    from anicca.drift.examine import examine, examine_host  # noqa: PLC0415

    if summary and everything:
        raise UsageError("--summary and --all exclude each other")
    if deep and host is not None:
        raise UsageError("--deep looks into the store, which is here or nowhere", hint="run it on that host")
    cross = not one_file_system
    if host is None:
        findings = examine(root or Path("/"), cross_mounts=cross, report=context.report)
        if deep:
            findings = _deep(context, root, findings)
    else:
        there = reach(host, ssh_command, sudo=sudo)
        findings = examine_host(there, root=str(root or "/"), cross_mounts=cross, report=context.report)
    show(context, findings, everything=everything, summary=summary)


def _deep(context: Context, root: Path | None, findings: Findings) -> Findings:
    from anicca.drift.deep import examine_deep  # noqa: PLC0415
    from anicca.store import LocalStore  # noqa: PLC0415

    with LocalStore.open(context.store_root or root) as store:
        return examine_deep(root or Path("/"), store, findings, report=context.report)


def reach(host: str, ssh_command: str, *, sudo: bool) -> Host:
    """How a host that was named is reached."""
    from anicca.drift.remote import ssh  # noqa: PLC0415

    return replace(ssh(host, shlex.split(ssh_command)), sudo=sudo)


def show(context: Context, findings: Findings, *, everything: bool = False, summary: bool = False) -> None:
    """Print findings and leave with the status that they mean."""
    from anicca.drift.findings import to_record  # noqa: PLC0415
    from anicca.drift.report import render  # noqa: PLC0415

    if context.json:
        print_pieces(json_pieces(to_record(findings, summary=summary)))
    else:
        print_pieces(f"{line}\n" for line in render(findings, everything=everything, summary=summary))
    if findings.drift:
        sys.exit(DRIFT)
    if findings.unread or findings.unseen:
        sys.exit(NOT_SEEN)


def print_pieces(pieces: Iterable[str]) -> None:
    """Print text that may be too long to be held."""
    rest = iter(pieces)
    while some := "".join(itertools.islice(rest, PIECES)):
        click.echo(some, nl=False)


def json_pieces(record: dict[str, Any]) -> Iterator[str]:
    """A record as `Context.print` prints it, in pieces: iterators in it are lists that may be too long to be held."""
    import json  # noqa: PLC0415 (where asked for)

    def text(value: Any, depth: int) -> str:
        return json.dumps(value, indent=2, sort_keys=True).replace("\n", "\n" + "  " * depth)

    def pieces(value: Any, depth: int) -> Iterator[str]:
        inside = "\n" + "  " * (depth + 1)
        if isinstance(value, dict) and value:
            for number, name in enumerate(sorted(value)):
                yield f"{',' if number else '{'}{inside}{json.dumps(name)}: "
                yield from pieces(value[name], depth + 1)
            yield "\n" + "  " * depth + "}"
        elif isinstance(value, Iterator):
            number = -1
            for number, one in enumerate(value):
                yield f"{',' if number else '['}{inside}{text(one, depth + 1)}"
            yield "[]" if number < 0 else "\n" + "  " * depth + "]"
        else:
            yield text(value, depth)

    yield from pieces(record, 0)
    yield "\n"
