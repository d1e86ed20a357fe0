"""`anicca rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from anicca.cli.places import open_places, place_options, record_of, sentences

if TYPE_CHECKING:
    from anicca.cli.context import Context


@click.command()
@click.argument("number", type=int, required=False)
@click.option("--dry-run", is_flag=True, help="Print the plan; change nothing.")
@place_options
@click.pass_obj
def rollback(context: Context, /, *, number: int | None, dry_run: bool, **places: Any) -> None:
    """Make generation NUMBER the next boot's, or the one before it; change nothing now.

    `anicca switch NUMBER` goes there live.
    """
    from anicca.system.changes import plan_return  # noqa: PLC0415 (where used)
    from anicca.system.switching.esp import read_esp  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import apply, check_whole, current_number, look  # noqa: PLC0415

    with open_places(context, **places, changes_for="rollback") as host:
        esp = read_esp(host.boot)
        seen = look(host, esp)
        target = seen.before() if number is None else seen.get(number)
        if target is not None:
            check_whole(host, target.system, beside=seen.running)
        plan = plan_return(seen, esp, number, host.want, current=current_number(host))
        if not dry_run:
            apply(plan, host)
    context.print({"plan": [record_of(step) for step in plan]}, sentences(plan) or "nothing to do")
