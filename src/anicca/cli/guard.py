"""`anicca guard`: what the guard of the root did, to be acknowledged; and the guard itself, for other hosts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from anicca.cli.context import Context
    from anicca.roots.facts import Incident

DIRECTORY = click.Path(file_okay=False, path_type=Path)
history_option = click.option("--history", type=DIRECTORY, default=Path("/nix/persist/.anicca/guard"), hidden=True)


@click.group()
def guard() -> None:
    """See what the guard of the root did at this boot and before, acknowledge it, take it to other hosts."""


@guard.command()
@history_option
@click.option("--facts", type=click.Path(path_type=Path), default=Path("/run/anicca/guard.json"), hidden=True)
@click.pass_obj
def show(context: Context, /, *, history: Path, facts: Path) -> None:
    """Show what it did at this boot, and at those out of the ordinary that nobody has acknowledged."""
    from anicca.roots.facts import read_facts, unacknowledged  # noqa: PLC0415 (where used)

    now = read_facts(facts)
    before = unacknowledged(history)
    lines = ["no guard has run at this boot" if now is None else f"this boot: {now}", *map(_line, before)]
    record = {
        "now": None if now is None else dataclasses.asdict(now),
        "unacknowledged": [dataclasses.asdict(incident) for incident in before],
    }
    context.print(record, "\n".join(lines))


@guard.command()
@history_option
@click.pass_obj
def acknowledge(context: Context, /, *, history: Path) -> None:
    """Take note of the boots out of the ordinary: `anicca status` no longer warns of them."""
    from anicca.roots.facts import acknowledge as take_note  # noqa: PLC0415 (where used)

    seen = take_note(history)
    text = "\n".join(map(_line, seen)) if seen else "there was nothing to acknowledge"
    context.print([dataclasses.asdict(incident) for incident in seen], text)


@guard.command()
@click.option("--dracut", "kind", flag_value="dracut", help="For a Debian host with dracut.")
@click.option("--initramfs-tools", "kind", flag_value="initramfs-tools", help="For a Debian host with initramfs-tools.")
@click.option("--nixos", "kind", flag_value="nixos", help="As a NixOS module (systemd stage 1).")
@click.option("-o", "--output", type=DIRECTORY, required=True, help="The directory to write into: a new or empty one.")
@click.pass_obj
def export(context: Context, /, *, kind: str | None, output: Path) -> None:
    """Write the guard with its units for a host that anicca does not build: its README.md says how to install it."""
    from anicca.errors import UsageError  # noqa: PLC0415 (where used)
    from anicca.roots.export.write import export as write  # noqa: PLC0415 (where used)

    if kind is None:
        raise UsageError("for which initrd?", hint="--dracut, --initramfs-tools or --nixos")
    written = write(kind, output)
    context.print([str(path) for path in written], "\n".join(map(str, written)))


def _line(incident: Incident) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 (where used)

    return f"{datetime.fromtimestamp(incident.at, UTC):%Y-%m-%d %H:%M:%S} UTC: {incident.facts}"
