"""`anicca switch`."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anicca.cli.places import built_here, open_places, place_options, record_of, resolve

if TYPE_CHECKING:
    from anicca.cli.context import Context

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
    from anicca.system.changes import Change, plan_next, plan_return  # noqa: PLC0415 (where used)
    from anicca.system.live import LivePlan, plan_live  # noqa: PLC0415 (where used)
    from anicca.system.switching.esp import read_esp  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import (  # noqa: PLC0415 (where used)
        apply,
        check_name,
        check_running,
        check_whole,
        current_number,
        hold,
        look,
    )
    from anicca.system.switching.moving import read_moved  # noqa: PLC0415 (where used)
    from anicca.system.switching.systemd import read_active, read_users  # noqa: PLC0415 (where used)

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
    with open_places(context, **places, among_mounts=True) as host, hold(host, "switch"):
        esp = read_esp(host.boot)
        seen = look(host, esp)
        old = host.system(check_running(seen))
        new = host.system(resolve(host, seen, system))
        check_whole(host, new.path, beside=seen.running)
        check_name(host, new, force=force)
        live = LivePlan()
        if new.path != old.path:
            live = plan_live(old, new, read_active(), users=read_users(), moved=read_moved(old, new))
        following: tuple[Change, ...] = ()
        if not only_try:
            current = current_number(host)
            following = (
                plan_return(seen, esp, int(system), host.want, current=current)
                if system.isdigit()
                else plan_next(seen, esp, new.path, host.want, current=current, now=time.time())
            )
        if not dry_run:
            from anicca.drift.keep import adopt  # noqa: PLC0415 (where used)
            from anicca.system.switching.live import try_live  # noqa: PLC0415 (where used)

            host.store.protect((new.path,))
            if not live.is_empty or new.path != old.path:
                keep = partial(adopt, Path("/"))
                try_live(host, old, new, live, adopt=keep, confirm_seconds=confirm_within, report=context.report)
            # Last: whatever went wrong before, the next boot is the one that it was.
            apply(following, host)
    sentences = [*live.sentences(), *map(str, following)]
    record = {"live": list(live.sentences()), "boot": [record_of(step) for step in following]}
    context.print(record, "\n".join(sentences) or "nothing to do")


def _runs(run: Path, system: str) -> bool:
    """Whether that store path is the running system."""
    try:
        return str((run / "system").readlink()) == system
    except OSError:
        return False


def _detached(run: Path, words: list[str]) -> int:
    """Run this command, its words given, as a unit of its own, and print what it printed; its status."""
    from anicca import process  # noqa: PLC0415 (where used)
    from anicca.system.switching.live import command_again  # noqa: PLC0415 (where used)

    unit = f"anicca-switch-{int(time.time())}-{os.getpid()}"
    # Files, not pipes: whoever loses the reader of a pipe is killed by its next line.
    out, err = run / f"{unit}.out", run / f"{unit}.err"
    settings = {"PYTHONPATH": str(Path(__file__).parents[2])}
    settings |= {name: value for name, value in os.environ.items() if name == "PYTHONPYCACHEPREFIX"}
    done = process.run(
        [
            *("systemd-run", "--quiet", "--wait", "--collect", f"--unit={unit}"),
            "--description=Moving this host to another system",
            *(f"--setenv={name}={value}" for name, value in settings.items()),
            *(f"--property=StandardOutput=append:{out}", f"--property=StandardError=append:{err}"),
            *("--", *command_again([*words, "--attached"])),
        ],
        check=False,
    )
    for file, is_error in ((err, True), (out, False)):
        text = file.read_text(errors="replace") if file.exists() else ""
        click.echo(text or (done.stderr.decode(errors="replace") if is_error else ""), nl=False, err=is_error)
    return done.status
