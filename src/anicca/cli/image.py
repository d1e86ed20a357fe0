"""`anicca image`."""

from __future__ import annotations

from pathlib import Path

import click

from anicca.cli.context import HOST_FILE, Context, built


@click.command()
@click.argument("host", type=HOST_FILE)
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The raw disk image."
)
@click.option("--force", is_flag=True, help="Replace an image that is there.")
@click.pass_obj
def image(context: Context, *, host: Path, output: Path, force: bool) -> None:
    """Write a bootable disk image of HOST: an ESP, the nix volume, and a blank root."""
    from anicca.system.image import make_image  # noqa: PLC0415

    with built(context, host) as host_built:
        plan = make_image(
            host_built.spec,
            host_built.plan,
            host_built.store,
            output,
            declared_in=host.parent,
            overwrite=force,
            report=context.report,
        )
    record = {
        "image": str(output),
        "size": plan.size_bytes,
        "partitions": [
            {"role": part.role, "label": part.label, "uuid": str(part.uuid), "size": part.size_bytes}
            for part in plan.partitions
        ],
    }
    context.print(record, str(output))
