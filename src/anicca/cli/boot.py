"""`anicca boot`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anicca.cli.places import built_here, open_places, place_options, record_of, resolve, sentences

if TYPE_CHECKING:
    from anicca.cli.context import Context

HEALTHY = "healthy"
"""In the directory of this boot's facts: it was found well. A soft reboot is no other boot, and asks again."""


@click.command()
@click.argument("system", required=False)
@click.option("--dry-run", is_flag=True, help="Print the plan; change nothing.")
@click.option("--force", is_flag=True, help="Even if the system is another host's, or for other disks.")
@click.option("--healthy", is_flag=True, help="Say that the booted generation is well: its boots are counted no more.")
@place_options
@click.pass_obj
def boot(context: Context, /, *, system: str | None, dry_run: bool, force: bool, healthy: bool, **places: Any) -> None:
    """Make SYSTEM the next boot's; change nothing now.

    SYSTEM is a store path of this host's store, or a host.py with its lock, which is built here first.

    It gets three tries: one that is not found healthy in three boots is left for the last good one.
    """
    from anicca.errors import UsageError  # noqa: PLC0415 (where used)

    if (system is None) != healthy:
        raise UsageError("a system is needed, or --healthy")
    healthy_before = Path(places["run"]) / HEALTHY
    if healthy and healthy_before.exists():
        context.print({"plan": []}, "nothing to do")
        return
    from anicca.system.changes import plan_blessed, plan_next  # noqa: PLC0415 (where used)
    from anicca.system.switching.esp import read_esp  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import (  # noqa: PLC0415 (where used)
        apply,
        check_name,
        check_whole,
        current_number,
        look,
    )

    system = None if system is None else built_here(context, system, run=places["run"])
    with open_places(context, **places, changes_for="boot") as host:
        esp = read_esp(host.boot)
        seen = look(host, esp)
        if system is None:
            plan = plan_blessed(seen, esp)
        else:
            chosen = resolve(host, seen, system)
            check_whole(host, chosen, beside=seen.running)
            check_name(host, host.system(chosen), force=force)
            plan = plan_next(seen, esp, chosen, host.want, current=current_number(host), now=time.time())
        if not dry_run:
            apply(plan, host)
            if healthy:
                healthy_before.touch()
    context.print({"plan": [record_of(step) for step in plan]}, sentences(plan) or "nothing to do")
