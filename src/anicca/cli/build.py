"""`anicca build`."""

from __future__ import annotations

from pathlib import Path

import click

from anicca.cli.context import HOST_FILE, Context, plan_host, realise_system


@click.command()
@click.argument("host", type=HOST_FILE)
@click.option("--dry-run", is_flag=True, help="Print what would be fetched and built; change nothing.")
@click.option("--keep-failed", is_flag=True, help="Keep the folder of a build that fails, and say where it is.")
@click.option(
    "-o",
    "--out-link",
    type=click.Path(path_type=Path),
    metavar="LINK",
    help="Make LINK point to the system, which `anicca store gc` keeps as long as LINK is there.",
)
@click.pass_obj
def build(context: Context, *, host: Path, dry_run: bool, keep_failed: bool, out_link: Path | None) -> None:
    """Build the system that HOST declares and print its store path.

    Without --out-link nothing keeps the system from the next garbage collection.
    """
    from anicca.errors import UsageError  # noqa: PLC0415

    if out_link is not None and out_link.exists() and not out_link.is_symlink():
        raise UsageError(f"{out_link} exists and is no link", hint="give --out-link a name that is free")
    planned = plan_host(context, host)
    with context.open_store() as store:
        if dry_run:
            from anicca.cli.render import size_text  # noqa: PLC0415
            from anicca.system.build import find_work  # noqa: PLC0415

            work = find_work(store, [planned.plan.system])
            lines = [f"fetch {pin.name} {pin.version} ({size_text(pin.size_bytes)})" for pin in work.fetch]
            lines += [f"unpack {step.drv.name}" for step in work.unpack]
            lines += [f"build {step.drv.name}" for step in work.steps]
            if work.fetch:
                lines.append(f"in all {len(work.fetch)} packages, {size_text(work.fetch_bytes)}, less what is cached")
            record = {
                "fetch": [{"name": pin.name, "version": pin.version, "size": pin.size_bytes} for pin in work.fetch],
                "unpack": [str(step.path) for step in work.unpack],
                "build": [str(step.path) for step in work.steps],
                "system": str(planned.plan.system.out),
            }
            context.print(record, "\n".join(lines) or "nothing: the system is in the store")
            return
        system = realise_system(context, store, planned, keep_failed=keep_failed)
        if out_link is not None:
            store.add_indirect_root(out_link, system)
        record = {"system": str(system), "path": str(store.physical(system))}
    context.print(record, str(system))
