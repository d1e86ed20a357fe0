"""What commands on a host's generations share: where the host's places are, and how a system is named."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from anicca.errors import AniccaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anicca.cli.context import Context, Planned
    from anicca.store.path import StorePath
    from anicca.system.changes import Change
    from anicca.system.generations import Seen
    from anicca.system.switching.host import HostPlaces

F = TypeVar("F", bound="Callable[..., Any]")
# Whether it can be read is found where it is read, with a word on what to do.
DIRECTORY = click.Path(file_okay=False, readable=False, path_type=Path)


def place_options(command: F) -> F:
    """Options that say where the host's parts are; what is not said is where every host has it."""
    for option in (
        click.option("--boot", type=DIRECTORY, default=Path("/boot"), show_default=True, help="Where the ESP is."),
        click.option("--run", type=DIRECTORY, default=Path("/run/anicca"), hidden=True),
        click.option("--command-line", type=click.Path(path_type=Path), default=Path("/proc/cmdline"), hidden=True),
    ):
        command = option(command)
    return command


@contextmanager
def open_places(
    context: Context,
    *,
    boot: Path,
    run: Path,
    command_line: Path,
    changes_for: str | None = None,
    among_mounts: bool = False,
) -> Iterator[HostPlaces]:
    """The host's places; its store is open meanwhile. `changes_for` is the command that changes something there.

    Those who change it take turns, and the ESP is mounted when it is one's turn: whoever ends takes its mount away.
    """
    from anicca.system.switching.esp import mounted_esp  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import HostPlaces, hold  # noqa: PLC0415 (where used)

    with context.open_store(among_mounts=among_mounts) as store:
        places = HostPlaces(store=store, boot=boot, run=run, command_line=command_line)
        with (
            nullcontext() if changes_for is None else hold(places, changes_for),
            mounted_esp(places.device_of_esp(), boot),
        ):
            yield places


def resolve(places: HostPlaces, seen: Seen, text: str) -> StorePath:
    """The system that `text` names: a generation's number, `running`, `booted`, `next`, a store path, a link to one."""
    if text.isdigit() or text == "next":
        number = int(text) if text.isdigit() else seen.next
        generation = None if number is None else seen.get(number)
        if generation is None:
            what = "it is not known what boots next" if number is None else f"there is no generation {number}"
            raise UsageError(what, hint="anicca generations lists them")
        return generation.system
    if text in ("running", "booted"):
        system = seen.running if text == "running" else seen.booted
        if system is None:
            raise UsageError(f"no {text} system here", hint="this is no host of anicca's")
        return system
    found = _store_path(places, Path(text))
    if found is None:
        raise UsageError(f"{text!r} is no generation, nor running, booted, next, nor a system's store path")
    return found


def _store_path(places: HostPlaces, path: Path) -> StorePath | None:
    """The store path that `path` is, logical or physical, or that a link there leads to."""
    from anicca.store.path import StorePath  # noqa: PLC0415 (where used)

    for _ in range(10):
        if not path.is_symlink():
            break
        path = path.parent / os.readlink(path)  # noqa: PTH115 (relative or not)
    text = path.name if path.parent == places.store.store_dir else os.fspath(path)
    try:
        return StorePath.parse(text)
    except ValueError:
        return None


def built_here(context: Context, text: str, *, run: Path) -> str:
    """The store path of the system that a `host.py` declares, built on this machine; anything else stays as it is.

    A copy of this process builds it, which alone sees the store writable. What is built changes no host.
    """
    file = Path(text)
    if file.suffix != ".py":
        return text
    if not file.is_file():
        raise UsageError(f"{text}: there is no such file", hint="name the file that declares this host")
    if os.geteuid() != 0 and context.store_root is None:
        raise AniccaError(f"{file}: what a host becomes is built in its own store, which takes root", hint="use sudo")
    from anicca.cli.context import plan_host  # noqa: PLC0415 (where used)
    from anicca.system.generations import origins_of  # noqa: PLC0415 (where used)
    from anicca.system.switching.apart import apart  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import note_origins  # noqa: PLC0415 (where used)

    planned = plan_host(context, file)
    run.mkdir(parents=True, exist_ok=True)
    apart(partial(_build, context, planned, run))
    system = planned.plan.system.out
    note_origins(run, system, origins_of(planned.spec, file.parent))
    return str(system)


def _build(context: Context, planned: Planned, run: Path) -> None:
    """Build, and keep what was built, with the tools of the build, until a generation does."""
    from anicca.cli.context import realise_system  # noqa: PLC0415 (where used)
    from anicca.system.switching.host import keep_built  # noqa: PLC0415 (where used)

    try:
        with context.open_store() as store:
            keep_built(store, run, realise_system(context, store, planned), planned.plan.tools.out)
    finally:
        # Nobody else takes this process's bars away.
        click.get_current_context().find_root().close()


def sentences(changes: Sequence[Change]) -> str:
    """A plan, a line a step."""
    return "\n".join(map(str, changes))


def record_of(change: Change) -> dict[str, object]:
    """A step of a plan as JSON values."""
    return {"step": type(change).__name__.lower(), "sentence": str(change)}


def show_time(seconds: float) -> str:
    """A local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
