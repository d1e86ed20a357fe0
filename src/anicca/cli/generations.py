"""`anicca generations`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from anicca.cli.places import open_places, place_options, show_time

if TYPE_CHECKING:
    from anicca.cli.context import Context


@click.command()
@place_options
@click.pass_obj
def generations(context: Context, /, **places: Any) -> None:
    """List this host's generations: number, date, kernel, system, and which is running, booted, next, good."""
    from anicca.errors import AniccaError  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import look, read_esp_if_there, read_manifest  # noqa: PLC0415 (where used)

    with open_places(context, **places) as host:
        esp = read_esp_if_there(host)
        seen = look(host, esp)
        records, rows = [], []
        for one in seen.generations:
            try:
                kernel = host.system(one.system).kernel_version
            except AniccaError:
                kernel = "?"
            names = esp.names_of(one.number) if esp else ()
            left, roles = (names[0].left if names else None), seen.roles(one)
            records.append(
                {
                    "number": one.number,
                    "created": int(one.created),
                    "system": str(one.system),
                    "kernel": kernel,
                    "roles": list(roles),
                    "tries_left": left,
                    "in_boot_menu": bool(names) if esp else None,
                    "made_from": read_manifest(host, one.number),
                }
            )
            words: list[str] = [*roles]
            if left is not None:
                words.append(f"{left} tries left" if left else "failed to boot")
            if esp and not names:
                words.append("not in the boot menu")
            marks = f"  ({', '.join(words)})" if words else ""
            rows.append(f"{one.number:4}  {show_time(one.created)}  {kernel}  {one.system}{marks}")
    context.print(records, "\n".join(rows))
