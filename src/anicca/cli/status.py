"""`anicca status`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from anicca.cli.places import open_places, place_options, show_time
from anicca.cli.render import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.cli.context import Context
    from anicca.system.status import Status
    from anicca.system.switching.trial import Trial


@click.command()
@place_options
@click.pass_obj
def status(context: Context, /, **places: Any) -> None:
    """Tell what runs, was booted and boots next, what the guard did, what persists, and what waits for what."""
    from anicca.system.status import read_status, read_waits  # noqa: PLC0415 (where used)
    from anicca.system.switching.systemd import invocations  # noqa: PLC0415 (where used)

    with open_places(context, **places) as host:
        waiting = read_waits(host.run, {})
        found = read_status(host, invocations=invocations(waiting) if waiting else {})
    context.print(dataclasses.asdict(found), "\n".join(lines(found)))


def lines(found: Status) -> Iterator[str]:
    """The facts as text."""
    yield from _generations(found)
    if found.trial is not None:
        yield from _trial(found.trial)
    if found.guard is not None:
        yield f"guard: {found.guard}"
    for incident in found.incidents:
        yield f"WARNING, until `anicca guard acknowledge`: {incident}"
    for reason in found.reboot:
        yield f"waits for a reboot: {reason}"
    for unit, why in found.restart.items():
        yield f"waits for a restart: {unit} ({why})"
    for one in found.persist:
        yield f"persists: {one.path}" if one.is_kept else f"DOES NOT PERSIST although declared: {one.path}"
    for space in found.space:
        yield f"{space.path}: {size_text(space.free_bytes)} free of {size_text(space.size_bytes)}"


def _generations(found: Status) -> Iterator[str]:
    if found.running is None:
        yield "no system of anicca's runs here"
    else:
        yield f"{found.host}: running {_named(found.running_generation, found.running)}"
        if found.booted != found.running:
            yield f"  booted with {_named(found.booted_generation, found.booted)}"
    if found.next_generation is not None and found.next_generation != found.running_generation:
        yield f"  next boot: generation {found.next_generation}"
    for number in found.failed_generations:
        yield f"  generation {number} was left: three boots of it were not healthy"


def _trial(trial: Trial) -> Iterator[str]:
    what = f"switch of {show_time(trial.began)} to {trial.new}"
    if trial.ended is not None:
        first, *more = (trial.problem or "done").splitlines()
        yield f"{what}: {first}"
        yield from (f"  {line}" for line in more)
    elif trial.is_cut_off:
        yield f"{what}: CUT OFF, the host is between two systems; the next anicca switch goes back first"
    else:
        yield f"{what}: under way, process {trial.process}"


def _named(number: int | None, system: str | None) -> str:
    return f"{system} (no generation)" if number is None else f"generation {number}, {system}"
