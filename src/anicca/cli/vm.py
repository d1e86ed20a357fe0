"""`anicca vm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from anicca.cli.context import HOST_FILE, Context, built

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("host", type=HOST_FILE)
@click.option("--memory", default=1024, show_default=True, metavar="MIB", help="The guest's memory.")
@click.option("--cpus", default=2, show_default=True, help="The guest's processors.")
@click.option("--fresh", is_flag=True, help="Start from a new disk; what persisted paths hold is gone.")
@click.pass_obj
def vm(context: Context, *, host: Path, memory: int, cpus: int, fresh: bool) -> None:
    """Boot HOST under QEMU, its console on this terminal; ssh is forwarded to a port of the loopback.

    The disk is kept from run to run, so persisted paths persist. One that was made of another system is left alone.
    """
    from anicca.debian.fetch import default_cache  # noqa: PLC0415
    from anicca.errors import RefusedError  # noqa: PLC0415
    from anicca.fs import make_private_directory  # noqa: PLC0415
    from anicca.system.image import make_image  # noqa: PLC0415
    from anicca.vm.console import open_console  # noqa: PLC0415
    from anicca.vm.machine import MachineConfig  # noqa: PLC0415
    from anicca.vm.probe import choose_accelerator  # noqa: PLC0415
    from anicca.vm.qemu import Disk  # noqa: PLC0415

    # First: what a person asked for in vain is told before anything is built.
    accelerator = choose_accelerator(default_cache())
    with built(context, host) as found:
        run_dir = default_cache() / "vm" / found.spec.name
        # The disk holds what the host keeps: its ssh host keys, its users' files.
        make_private_directory(run_dir)
        disk, made_of = run_dir / "disk.raw", run_dir / "system"
        system = str(found.plan.system.out)
        known = made_of.read_text() if made_of.exists() else None
        if disk.exists() and known != system and not fresh:
            raise RefusedError(
                f"{disk} was made of another system; a new disk would lose what its persisted paths hold",
                hint="start over with --fresh",
            )
        if fresh or not disk.exists():
            make_image(
                found.spec,
                found.plan,
                found.store,
                disk,
                declared_in=host.parent,
                overwrite=True,
                report=context.report,
            )
            made_of.write_text(system)
            (run_dir / "known_hosts").unlink(missing_ok=True)
    config = MachineConfig(
        name=found.spec.name,
        disks=(Disk(path=disk),),
        accelerator=accelerator,
        memory_mib=memory,
        cpus=cpus,
        isolated=False,
    )
    open_console(config, run_dir=run_dir, report=context.report)
