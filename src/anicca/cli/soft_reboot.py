"""`anicca soft-reboot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from anicca.cli.places import built_here, open_places, place_options, resolve

if TYPE_CHECKING:
    from anicca.cli.context import Context


@click.command("soft-reboot")
@click.argument("system", required=False)
@click.option("--dry-run", is_flag=True, help="Print the plan; change nothing.")
@click.option("--force", is_flag=True, help="Even if the system is another host's, or for other disks.")
@place_options
@click.pass_obj
def soft_reboot(context: Context, /, *, system: str | None, dry_run: bool, force: bool, **places: Any) -> None:
    """Start a fresh root and a new userspace on the kernel that runs, with SYSTEM, or with what the next boot takes.

    All programs end, as in a reboot; firmware, kernel and initrd are not gone through. What boots next stays as it is.
    """
    from anicca.errors import RefusedError  # noqa: PLC0415 (where used)
    from anicca.system.softreboot import plan_soft_reboot  # noqa: PLC0415 (where used)
    from anicca.system.switching.esp import read_esp  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import check_name, check_running, check_whole, look  # noqa: PLC0415
    from anicca.system.switching.softreboot import soft_reboot as do  # noqa: PLC0415 (where used)

    system = built_here(context, system or "next", run=places["run"])
    with open_places(context, **places, changes_for="soft-reboot", among_mounts=True) as host:
        seen = look(host, read_esp(host.boot))
        check_running(seen)
        if seen.booted is None:
            raise RefusedError("it is not known which system the kernel was started with", hint="reboot instead")
        new = host.system(resolve(host, seen, system))
        check_whole(host, new.path, beside=seen.running)
        check_name(host, new, force=force)
        plan = plan_soft_reboot(host.system(seen.booted), new)
        if not dry_run:
            do(host, new.path)
    context.print({"plan": list(plan.sentences())}, "\n".join(plan.sentences()))
