"""`anicca lock`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from anicca.cli.context import HOST_FILE, Context, evaluate, pin

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("host", type=HOST_FILE)
@click.argument("packages", nargs=-1)
@click.option("--update", is_flag=True, help="Let PACKAGES move to newer versions; without any, let all move.")
@click.pass_obj
def lock(context: Context, *, host: Path, packages: tuple[str, ...], update: bool) -> None:
    """Pin every package with version and SHA-256, and every uid and gid, in HOST.lock beside HOST.

    Pins that are there stay where they are, unless --update moves them or the archive has dropped them. Ids never move.
    """
    from anicca.debian.lock import lock_path  # noqa: PLC0415

    if packages and not update:
        raise click.UsageError("packages are only named with --update")
    spec = evaluate(context, host)
    made = pin(context, spec, host, packages if update else None)
    changes = list(dict.fromkeys((*made.packages, *made.toolchain, *made.modules)))
    lines = [f"{change.name}: {change.old or 'new'} -> {change.new or 'gone'}" for change in changes]
    state = "written" if made.written else "unchanged"
    lines.append(f"{lock_path(host)}: {len(made.lock.packages)} packages, {state}")
    record = {
        "lock": str(lock_path(host)),
        "written": made.written,
        "packages": [asdict(change) for change in made.packages],
        "toolchain": [asdict(change) for change in made.toolchain],
        "modules": [asdict(change) for change in made.modules],
    }
    context.print(record, "\n".join(lines))
