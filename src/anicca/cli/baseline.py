"""`anicca baseline`: the whole state of a filesystem in one file, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.cli.drift import DIRECTORY, reach, show
from anicca.errors import UsageError

if TYPE_CHECKING:
    from anicca.cli.context import Context
    from anicca.drift.baseline import Baseline

FILE = click.Path(dir_okay=False, path_type=Path)
READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group
def baseline() -> None:
    """Keep the whole state of a filesystem in one file; see what became of it."""


@baseline.command
@click.argument("file", type=FILE)
@click.option("--root", type=DIRECTORY, help="The root to read, instead of this host's.", metavar="DIR")
@click.option("--host", help="Another host, over ssh; it needs python3, nothing else.", metavar="USER@HOST")
@click.option("--ssh", "ssh_command", default="ssh", show_default=True, help="The ssh command for --host.")
@click.option("--sudo", is_flag=True, help="With --host: read as root, by sudo without a password.")
@click.option("--system", "system_only", is_flag=True, help="Without what is each anicca host's own.")
@click.option("--key", type=READABLE, help="Sign with the secret key in FILE (as `anicca store` makes them).")
@click.option("-x", "--one-file-system", is_flag=True, help="Do not go into other filesystems mounted below the root.")
@click.pass_obj
def save(
    context: Context,
    *,
    file: Path,
    root: Path | None,
    host: str | None,
    ssh_command: str,
    sudo: bool,
    system_only: bool,
    key: Path | None,
    one_file_system: bool,
) -> None:
    """Write the state of a root to FILE: every path, its metadata, the digest of its content."""
    from anicca.drift.examine import save_baseline  # noqa: PLC0415
    from anicca.store.signature import parse_secret_key  # noqa: PLC0415

    secret = None if key is None else parse_secret_key(key.read_text())
    seal = save_baseline(
        root or Path("/"),
        file,
        host=None if host is None else reach(host, ssh_command, sudo=sudo),
        key=secret,
        cross_mounts=not one_file_system,
        system_only=system_only,
        report=context.report,
    )
    size = file.stat().st_size
    record = {"file": str(file), "size": size, **seal._asdict()}
    context.print(record, f"{file}: {seal.entries} paths in {size} bytes, state {seal.state[:16]}")


@baseline.command
@click.argument("file", type=READABLE)
@click.argument("other", type=READABLE, required=False)
@click.option("--root", type=DIRECTORY, help="The root to compare, instead of this host's.", metavar="DIR")
@click.option("--host", help="Another host, over ssh; it needs python3, nothing else.", metavar="USER@HOST")
@click.option("--ssh", "ssh_command", default="ssh", show_default=True, help="The ssh command for --host.")
@click.option("--sudo", is_flag=True, help="With --host: read as root, by sudo without a password.")
@click.option("--key", help="Refuse what is not signed by this public key (`name:base64`, or a file with it).")
@click.option("--summary", is_flag=True, help="Only how much of what.")
@click.option("--all", "everything", is_flag=True, help="Every difference, one a line.")
@click.option("-x", "--one-file-system", is_flag=True, help="Do not go into other filesystems mounted below the root.")
@click.pass_obj
def compare(
    context: Context,
    *,
    file: Path,
    other: Path | None,
    root: Path | None,
    host: str | None,
    ssh_command: str,
    sudo: bool,
    key: str | None,
    summary: bool,
    everything: bool,
    one_file_system: bool,
) -> None:
    """Compare a root, or the baseline OTHER, to the baseline FILE. Exits with 4 if they differ."""
    from anicca.drift.examine import compare_baselines, compare_to_baseline  # noqa: PLC0415

    if other is not None and (root is not None or host is not None):
        raise UsageError("a baseline is compared to another, or to a root, not to both")
    before = _opened(file, key)
    if other is not None:
        findings = compare_baselines(before, _opened(other, key))
    else:
        there = None if host is None else reach(host, ssh_command, sudo=sudo)
        findings = compare_to_baseline(
            root or Path("/"), before, host=there, cross_mounts=not one_file_system, report=context.report
        )
    show(context, findings, everything=everything, summary=summary)


def _opened(file: Path, key: str | None) -> Baseline:
    from anicca.drift.baseline import open_baseline  # noqa: PLC0415

    if key is not None and Path(key).is_file():
        key = Path(key).read_text()
    return open_baseline(file, key)
