"""`anicca diff`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from anicca.cli.places import open_places, place_options, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.cli.context import Context
    from anicca.system.diff import PathChange, SystemDiff

MARKS = {"added": "+", "removed": "-", "up": "↑", "down": "↓", "rebuilt": "="}
BEGINNING = 12
"""Lines shown of a file that is new or gone."""
SECTIONS = {
    "boot": "needs a reboot",
    "units": "units",
    "users": "users",
    "groups": "groups",
    "persist": "persisted paths",
    "root": "laid out at every boot",
    "etc": "/etc",
}


@click.command()
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@click.option("--brief", is_flag=True, help="Names of changed files only, not their lines.")
@place_options
@click.pass_obj
def diff(context: Context, /, *, old: str, new: str, brief: bool, **places: Any) -> None:
    """Print how system B differs from A: packages with sizes, /etc line by line, units, users, persisted paths.

    A and B are numbers of generations, `running`, `booted`, `next`, or store paths.
    """
    from anicca.store.path import StorePath  # noqa: PLC0415 (where used)
    from anicca.system.diff import compare  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import look, read_esp_if_there  # noqa: PLC0415 (where used)

    with open_places(context, **places) as host:
        seen = look(host, read_esp_if_there(host))
        one, other = (host.system(resolve(host, seen, text)) for text in (old, new))
        contents = [p.contents for system in (one, other) for p in system.packages.values()]
        sizes = {str(p): i.nar_size for p, i in host.store.infos({StorePath.parse(c) for c in contents}).items()}
        found = compare(one, other, size_of=lambda c: sizes.get(c, 0))
    context.print(dataclasses.asdict(found), "\n".join(lines(found, brief=brief)) or "no difference")


def lines(found: SystemDiff, *, brief: bool) -> Iterator[str]:
    """The difference as text."""
    from anicca.cli.render import size_text  # noqa: PLC0415 (where used)

    for package in found.packages:
        versions = " → ".join(filter(None, (package.before, package.after)))
        change = package.bytes_after - package.bytes_before
        size = f" ({'+' if change > 0 else '-'}{size_text(abs(change))})" if change else ""
        text = package.before if package.move == "rebuilt" else versions
        yield f"{MARKS[package.move]} {package.name} {text}{size}"
    if found.packages:
        change = sum(p.bytes_after - p.bytes_before for p in found.packages)
        yield f"  {len(found.packages)} packages, {'-' if change < 0 else '+'}{size_text(abs(change))} unpacked"
    for name, title in SECTIONS.items():
        changes: tuple[PathChange, ...] = getattr(found, name)
        if changes:
            yield f"{title}:"
        for one in changes:
            yield f"  {one.path}: {one.what}"
            if not brief:
                yield from (f"    {line}" for line in _shown(one.lines))


def _shown(changes: tuple[str, ...]) -> list[str]:
    """The lines of a diff; a file that came or went is known by its beginning."""
    # The first two name the file again.
    found = list(changes[2:])
    if changes and "/dev/null" in changes[0] + changes[1] and len(found) > BEGINNING:
        return [*found[:BEGINNING], f"({len(found) - BEGINNING} more lines)"]
    return found
