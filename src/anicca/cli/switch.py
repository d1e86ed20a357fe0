"""`anicca switch`."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anicca.cli.places import built_here, open_places, place_options, record_of, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.cli.context import Context
    from anicca.events import Report
    from anicca.system.boot import Esp
    from anicca.system.changes import Change
    from anicca.system.generations import Seen
    from anicca.system.live import LivePlan
    from anicca.system.reading import System
    from anicca.system.switching.host import HostPlaces
    from anicca.system.switching.trial import Trial

DECLARATION = "host.py"


@click.command()
@click.argument("system", required=False)
@click.option("--dry-run", is_flag=True, help="Print the plan; change nothing.")
@click.option("--force", is_flag=True, help="Even if the system is another host's, or for other disks.")
@click.option("--only-try", is_flag=True, hidden=True, help="Go live, but leave what boots next as it is.")
@click.option("--confirm-within", type=click.FloatRange(min=1), metavar="SECONDS", help="Go back unless confirmed.")
@click.option("--confirm", is_flag=True, help="Confirm the switch that waits: best over a new connection.")
@click.option("--attached", is_flag=True, help="Run here, not as a unit of its own: ends with this terminal.")
@place_options
@click.pass_obj
def switch(
    context: Context,
    /,
    *,
    system: str | None,
    confirm_within: float | None,
    confirm: bool,
    dry_run: bool,
    force: bool,
    only_try: bool,
    attached: bool,
    **places: Any,
) -> None:
    """Go live with SYSTEM; if all is well it also becomes the next boot's.

    SYSTEM is a store path, a generation's number, or a host.py with its lock, which is built here first; unless it is
    named, the host.py of this folder.

    It is a trial: if a unit or a health check fails, the host goes back to what it was. It runs as a unit of its own,
    so losing the terminal loses nothing.
    """
    from anicca.errors import AniccaError, UsageError  # noqa: PLC0415 (where used)
    from anicca.store.path import StorePath  # noqa: PLC0415 (where used)
    from anicca.system.switching.esp import read_esp  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import (  # noqa: PLC0415 (where used)
        apply,
        check_name,
        check_running,
        check_whole,
        look,
    )
    from anicca.system.switching.trial import read_unended  # noqa: PLC0415 (where used)

    asked = system
    if system is None and not confirm and Path(DECLARATION).is_file():
        system = DECLARATION
    if (system is None) != confirm:
        raise UsageError("a system is needed, or --confirm", hint=f"or be in the folder of a {DECLARATION}")
    if system is None:
        from anicca.system.switching.live import confirm as confirm_it  # noqa: PLC0415 (where used)

        confirm_it(Path(places["run"]))
        return
    system = built_here(context, system, run=places["run"])
    if os.geteuid() != 0 and context.store_root is None:
        raise AniccaError("anicca switch changes this host, which takes root", hint="use sudo")
    # Where it runs already nothing stops, so nothing can be lost.
    if not attached and not dry_run and not _runs(Path(places["run"]), system):
        words = [system if word == asked else word for word in sys.argv[1:]]
        sys.exit(_detached(Path(places["run"]), [*words, *([system] if asked is None else [])]))
    with open_places(context, **places, changes_for="switch", among_mounts=True) as host:
        esp = read_esp(host.boot)
        seen = look(host, esp)
        # Nobody else is at it, so one that has not ended was killed.
        cut_off = read_unended(host.run)
        old = host.system(StorePath.parse(cut_off.old) if cut_off else check_running(seen))
        new = host.system(resolve(host, seen, system))
        check_whole(host, new.path, beside=old.path)
        check_name(host, new, force=force)
        first = []
        if cut_off:
            first = [f"go back to {cut_off.old}: the switch to {cut_off.new} was cut off"]
            if not dry_run:
                _take_back(context, host, cut_off)
        # Most switches of a host that is looked after lead to where it is: those import nothing that they do not need.
        live = None if new.path == old.path else _plan_live(old, new)
        following = () if only_try else _plan_boot(host, seen, esp, new, system)
        if not dry_run:
            trial = partial(_live, confirm_within=confirm_within, report=context.report)
            with nullcontext() if live is None else trial(host, old, new, live):
                # Last: whatever went wrong before, the next boot is the one that it was.
                apply(following, host)
    said = [*first, *(live.sentences() if live is not None else ())]
    record = {"live": said, "boot": [record_of(step) for step in following]}
    context.print(record, "\n".join([*said, *map(str, following)]) or "nothing to do")


def _plan_live(old: System, new: System) -> LivePlan:
    """What moves the running host."""
    from anicca.system.live import plan_live  # noqa: PLC0415 (where used)
    from anicca.system.switching.moving import read_moved  # noqa: PLC0415 (where used)
    from anicca.system.switching.systemd import read_active, read_users  # noqa: PLC0415 (where used)

    return plan_live(old, new, read_active(), users=read_users(), moved=read_moved(old, new))


def _plan_boot(host: HostPlaces, seen: Seen, esp: Esp, new: System, text: str) -> tuple[Change, ...]:
    """What makes the system, which `text` named, the next boot's."""
    from anicca.system.changes import plan_next, plan_return  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import current_number  # noqa: PLC0415 (where used)

    current = current_number(host)
    if text.isdigit():
        return plan_return(seen, esp, int(text), host.want, current=current)
    return plan_next(seen, esp, new.path, host.want, current=current, now=time.time())


def _take_back(context: Context, host: HostPlaces, trial: Trial) -> None:
    from anicca.system.switching.live import take_back  # noqa: PLC0415 (where used)

    take_back(host, trial, context.report)


@contextmanager
def _live(
    host: HostPlaces, old: System, new: System, plan: LivePlan, *, confirm_within: float | None, report: Report
) -> Iterator[None]:
    """Go live; how that ends, with what is done in there, is written down."""
    from anicca.system.switching.live import failed_units, stops, try_live  # noqa: PLC0415 (where used)
    from anicca.system.switching.trial import noted  # noqa: PLC0415 (where used)

    # It may have to go back to what no generation has.
    host.store.protect((old.path,))
    failed = failed_units()
    with noted(host.run, old, new, stops=stops(plan), failed=failed):
        try_live(
            host,
            old,
            new,
            plan,
            failed_before=failed,
            adopt=_adopt,
            confirm_seconds=confirm_within,
            report=report,
        )
        yield


def _adopt(path: str) -> None:
    """Copy what is at a path of the root to where it is kept from now on."""
    from anicca.drift.keep import adopt  # noqa: PLC0415 (most switches move nothing)

    adopt(Path("/"), path)


def _runs(run: Path, system: str) -> bool:
    """Whether that store path is the running system, as a whole."""
    from anicca.system.switching.trial import read_unended  # noqa: PLC0415 (where used)

    try:
        return str((run / "system").readlink()) == system and read_unended(run) is None
    except OSError:
        return False


def _detached(run: Path, words: list[str]) -> int:
    """Run this command, its words given, as a unit of its own, and print what it printed; its status."""
    from anicca import process  # noqa: PLC0415 (where used)
    from anicca.system.switching.live import command_again  # noqa: PLC0415 (where used)

    unit = f"anicca-switch-{int(time.time())}-{os.getpid()}"
    # Files, not pipes: whoever loses the reader of a pipe is killed by its next line.
    out, err = run / f"{unit}.out", run / f"{unit}.err"
    settings = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        *("systemd-run", "--quiet", "--wait", "--collect", f"--unit={unit}"),
        "--description=Moving this host to another system",
        *(f"--setenv={name}={value}" for name, value in settings.items()),
        *(f"--property=StandardOutput=append:{out}", f"--property=StandardError=append:{err}"),
        *("--", *command_again([*words, "--attached"])),
    ]
    try:
        done = process.run(command, check=False)
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal may be what was lost
            click.echo(f"it goes on as {unit}: anicca status tells how it ends", err=True)
        raise
    for file, is_error in ((err, True), (out, False)):
        text = file.read_text(errors="replace") if file.exists() else ""
        click.echo(text or (done.stderr.decode(errors="replace") if is_error else ""), nl=False, err=is_error)
        file.unlink(missing_ok=True)
    return done.status
