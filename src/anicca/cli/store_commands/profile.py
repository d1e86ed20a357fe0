"""Profiles and their generations."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.cli.store_commands.paths import lines, resolve
from anicca.errors import UsageError

if TYPE_CHECKING:
    from anicca.cli.context import Context
    from anicca.store.profiles import Generation

PROFILE = click.argument("profile", type=click.Path(path_type=Path))


def _place(context: Context, profile: Path) -> Path:
    """A bare name is one of the store's own profiles."""
    if len(profile.parts) > 1:
        return profile
    with context.open_store() as store:
        return store.state_dir / "profiles" / profile


def _record(generation: Generation) -> dict[str, object]:
    return {
        "number": generation.number,
        "path": str(generation.path),
        "created": int(generation.created),
        "current": generation.current,
    }


@click.group()
def profile() -> None:
    """Set, list, roll back and delete generations of a profile: a file, or the name of one of the store's own."""


@profile.command("set")
@PROFILE
@click.argument("text", metavar="PATH")
@click.pass_obj
def set_(context: Context, *, profile: Path, text: str) -> None:
    """Make PATH the newest and current generation; print its number."""
    from anicca.store.profiles import set_generation  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        made = set_generation(store, _place(context, profile), resolve(store, text))
    context.print(_record(made), str(made.number))


@profile.command("list")
@PROFILE
@click.pass_obj
def list_(context: Context, *, profile: Path) -> None:
    """Print the generations, oldest first."""
    from anicca.store.profiles import generations  # noqa: PLC0415 (where used)

    found = generations(_place(context, profile))
    rows = [
        f"{g.number:4}   {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(g.created))}"
        f"   {g.path}{'   (current)' if g.current else ''}"
        for g in found
    ]
    context.print([_record(g) for g in found], lines(rows))


@profile.command()
@PROFILE
@click.argument("number", type=int, required=False)
@click.pass_obj
def rollback(context: Context, *, profile: Path, number: int | None) -> None:
    """Make the generation before the current one current, or the one with that number; print its number."""
    from anicca.store.profiles import roll_back, switch  # noqa: PLC0415 (where used)

    place = _place(context, profile)
    now = roll_back(place) if number is None else switch(place, number)
    context.print(_record(now), str(now.number))


@profile.command()
@PROFILE
@click.argument("which", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Print what would be deleted; delete nothing.")
@click.pass_obj
def delete(context: Context, *, profile: Path, which: tuple[str, ...], dry_run: bool) -> None:
    """Delete generations: numbers, `old` (all but the current), `30d` (older), `+5` (all but the newest 5)."""
    from anicca.store.profiles import delete_generations  # noqa: PLC0415 (where used)

    numbers: list[int] = []
    keep: int | None = None
    seconds: float | None = None
    for word in which:
        if word.isdigit():
            numbers.append(int(word))
        elif re.fullmatch(r"\+[0-9]+", word):
            keep = int(word)
        elif re.fullmatch(r"[0-9]+d", word):
            seconds = int(word[:-1]) * 86400.0
        elif word != "old":
            raise UsageError(f"{word!r}: a number, `old`, `30d` or `+5` expected")
    deleted = delete_generations(
        _place(context, profile),
        numbers=tuple(numbers),
        older_than_seconds=seconds,
        keep=keep,
        old="old" in which,
        dry_run=dry_run,
    )
    context.print([_record(g) for g in deleted], lines(g.number for g in deleted))
