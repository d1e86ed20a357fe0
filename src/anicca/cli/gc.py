"""`anicca gc`."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from anicca.cli.places import open_places, place_options, record_of, sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anicca.cli.context import Context
    from anicca.system.changes import Change

UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


def parse_age(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """A time such as `30d`, in seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+)([hdw])", value)
    if match is None:
        raise click.BadParameter(f"{value!r}: a number of hours, days or weeks expected, such as 30d")
    return float(match[1]) * UNITS[match[2]]


@click.command()
@click.argument("numbers", nargs=-1, type=int)
@click.option("--keep", type=click.IntRange(min=1), help="Drop all but the newest N.", metavar="N")
@click.option("--older-than", callback=parse_age, metavar="AGE", help="Drop those made longer ago, such as 30d.")
@click.option("--dry-run", is_flag=True, help="Print the plan; change nothing.")
@place_options
@click.pass_obj
def gc(
    context: Context,
    /,
    *,
    numbers: tuple[int, ...],
    keep: int | None,
    older_than: float | None,
    dry_run: bool,
    **places: Any,
) -> None:
    """Drop generations with their boot files, and remove from the store what nothing needs any more.

    What is running, booted, next or last good never goes. Without numbers or rules only the store is collected. With
    both a count and an age, one goes only if both say so.
    """
    from anicca.cli.render import size_text  # noqa: PLC0415 (where used)
    from anicca.errors import RefusedError  # noqa: PLC0415 (where used)
    from anicca.store import gc as store_gc  # noqa: PLC0415 (where used)
    from anicca.system.changes import plan_forgetting  # noqa: PLC0415 (where used)
    from anicca.system.generations import plan_deletion  # noqa: PLC0415 (where used)
    from anicca.system.switching.esp import read_esp  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import apply, keeping, look  # noqa: PLC0415 (where used)

    with open_places(context, **places, changes_for="gc") as host:
        chosen = bool(numbers) or keep is not None or older_than is not None
        plan: tuple[Change, ...] = ()
        if chosen:
            # Without the ESP nobody knows what boots next.
            esp = read_esp(host.boot)
            seen = look(host, esp)
            if seen.next is None:
                raise RefusedError("it is not known what boots next, so no generation was dropped")
            doomed = plan_deletion(seen, numbers=numbers, keep=keep, older_than_seconds=older_than, now=time.time())
            plan = plan_forgetting(seen, esp, doomed, host.want)
        if dry_run:
            links = {str(link) for number in _forgotten(plan) for link in keeping(host, number)}
            dead = store_gc.dead_paths(host.store, without=links)
            size = sum(info.nar_size for info in host.store.infos(dead).values())
            record = {"plan": [record_of(step) for step in plan], "objects": sorted(map(str, dead)), "bytes": size}
            text = f"remove {len(dead)} objects from the store, about {size_text(size)}"
            context.print(record, "\n".join(filter(None, (sentences(plan), text))))
            return
        apply(plan, host)
    # That takes longest, and whoever changes the host meanwhile need not wait: they keep what they need.
    with context.open_store() as store:
        collected = store_gc.collect(store, report=context.report)
    record = {
        "plan": [record_of(step) for step in plan],
        "objects": [str(path) for path in collected.paths],
        "bytes": collected.freed_bytes,
    }
    text = f"removed {len(collected.paths)} objects, {size_text(collected.freed_bytes)} freed"
    context.print(record, "\n".join(filter(None, (sentences(plan), text))))


def _forgotten(plan: Sequence[Change]) -> list[int]:
    from anicca.system.changes import Forget  # noqa: PLC0415 (where used)

    return [step.generation.number for step in plan if isinstance(step, Forget)]
