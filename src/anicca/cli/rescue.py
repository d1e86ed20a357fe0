"""`anicca rescue`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.cli.drift import DIRECTORY

if TYPE_CHECKING:
    from anicca.cli.context import Context


@click.command
@click.argument("path")
@click.option("--boot", default="-1", show_default=True, help="Which boot forgot it, as for anicca lost.")
@click.option("--to", help="Put it there instead: the directory to put all below PATH into.", metavar="PATH")
@click.option("--root", type=DIRECTORY, help="On the host whose root is DIR.", metavar="DIR")
@click.pass_obj
def rescue(context: Context, *, path: str, boot: str, to: str | None, root: Path | None) -> None:
    """Put back the file PATH that an earlier boot forgot, or all files below it, where they were.

    Nothing that is there is replaced. It will be forgotten again unless it is kept: see anicca keep.
    """
    from anicca.drift import rescue as module  # noqa: PLC0415
    from anicca.drift.lost import boot_id, find_boot, read_boots, read_lost  # noqa: PLC0415
    from anicca.drift.report import show  # noqa: PLC0415

    top = root or Path("/")
    found = read_lost(top, find_boot(read_boots(top, current=boot_id()), boot))
    base = os.fsencode(os.path.normpath(path))
    target = None if to is None else os.fsencode(os.path.normpath(os.path.join("/" if root else os.getcwd(), to)))  # noqa: PTH109, PTH118 (bytes)
    done = module.rescue(top, found, module.plan_rescue(found, base), to=target, base=base)
    record = {"rescued": [os.fsdecode(one).encode("utf-8", "replace").decode() for one in done]}
    context.print(record, "\n".join(f"{show(one)}: as boot {found.boot.name} left it" for one in done))
