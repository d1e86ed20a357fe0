"""`anicca demo`."""

from __future__ import annotations

import fcntl
import shutil
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca import events
from anicca.cli.context import Context, built, evaluate, pin
from anicca.errors import AniccaError, UsageError
from anicca.fs import make_private_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.demo.story import Row

EXAMPLE = Path(__file__).parents[3] / "examples" / "sundryvm"


@click.command()
@click.argument("host", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.pass_obj
def demo(context: Context, *, host: Path | None) -> None:
    """Build a host (the example, unless HOST is given), boot it five times, break it in between, and ask it everything.

    Exits with 0 only if every line of the final table holds.
    """
    from anicca.debian.fetch import PinsGoneError, default_cache  # noqa: PLC0415

    example = host or EXAMPLE / "host.py"
    if not example.exists():
        raise click.UsageError("the example host comes with the source checkout; name a HOST.py")
    require_f2fs(example)
    work = default_cache() / "demo"
    with alone_in(work):
        try:
            rows = run(context, example, work)
        except PinsGoneError as error:
            if host is not None:
                # Its lock is its owner's to move, and the hint says how.
                raise
            context.report(events.Notice(text=str(error), warning=True))
            rows = run(context, move_pins(context, example, work, [row.pin.name for row in error.missing]), work)
    show(context, rows)
    if not all(row.holds for row in rows):
        sys.exit(1)


def require_f2fs(host: Path) -> None:
    """Refuse a host whose root the demo does not know how to break."""
    from anicca.declare.load import evaluate as evaluate_file  # noqa: PLC0415
    from anicca.declare.root import F2fs  # noqa: PLC0415

    root = evaluate_file(host).root
    if not isinstance(root, F2fs):
        raise UsageError(
            f"the demo breaks an f2fs root, and {host} declares {root.backend}",
            hint="`anicca vm` boots it; or name a host with an f2fs root",
        )


@contextmanager
def alone_in(work: Path) -> Iterator[None]:
    """Hold the demo's directory: two demos would take the disk from under each other's machine."""
    make_private_directory(work)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AniccaError(
                f"another demo is running in {work}",
                hint="wait for it, or give this one a place of its own in ANICCA_CACHE",
            ) from error
        yield


def run(context: Context, host: Path, work: Path) -> list[Row]:
    """Build, make a disk, tell the story."""
    from anicca.demo.story import Story  # noqa: PLC0415
    from anicca.system.image import make_image  # noqa: PLC0415
    from anicca.system.kernel import link_kernel  # noqa: PLC0415
    from anicca.vm.lab import KernelFiles  # noqa: PLC0415
    from anicca.vm.probe import choose_accelerator  # noqa: PLC0415

    accelerator = choose_accelerator(work.parent)
    run_dir = work / "run"
    shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir()
    image = work / "disk.raw"
    with built(context, host) as found:
        disk = make_image(found.spec, found.plan, found.store, image, overwrite=True, report=context.report)
        kernel, modules = link_kernel(found.plan, found.store, run_dir / "kernel")
        story = Story(
            spec=found.spec,
            lock=found.lock,
            disk=disk,
            image=image,
            kernel=KernelFiles(image=kernel, modules=modules),
            accelerator=accelerator,
            run_dir=run_dir,
            report=context.report,
        )
        rows = story.tell()
    image.unlink()
    return rows


def move_pins(context: Context, host: Path, work: Path, names: list[str]) -> Path:
    """A copy of the example whose lock has these pins moved to what the archive has now; the diff is reported."""
    from anicca.debian.lock import lock_path  # noqa: PLC0415

    copy = work / "host"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(host.parent, copy)
    moved = copy / host.name
    spec = evaluate(context, moved)
    context.report(events.Notice(text=f"the demo goes on with a lock of its own, {lock_path(moved)}, that moves them"))
    made = pin(context, spec, moved, names)
    for change in dict.fromkeys((*made.packages, *made.toolchain)):
        context.report(events.Notice(text=f"{change.name}: {change.old or 'new'} -> {change.new or 'gone'}"))
    return moved


def show(context: Context, rows: list[Row]) -> None:
    """The table of what was promised and what was seen."""
    if context.json:
        context.print([asdict(row) for row in rows], "")
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="promised and seen", title_justify="left", expand=False)
    for column in ("boot", "promised", "seen"):
        table.add_column(column, overflow="fold")
    table.add_column("")
    last = None
    for row in rows:
        if last is not None and row.boot != last:
            table.add_section()
        table.add_row("" if row.boot == last else row.boot, row.promised, row.seen, "✓" if row.holds else "✗ NO")
        last = row.boot
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False, markup=False)
    console.print(table)
    broken = sum(not row.holds for row in rows)
    console.print(f"{len(rows) - broken} of {len(rows)} lines hold")
