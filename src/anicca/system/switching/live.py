"""Going live: a running host moved to another system, tried, and moved back if it is not well."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import events, fs
from anicca.errors import AniccaError
from anicca.store.path import StorePath
from anicca.system.diff import kernel_settings
from anicca.system.live import LivePlan, plan_live
from anicca.system.status import LET_GO, WAITS, read_let_go
from anicca.system.switching import mounts, paths, systemd
from anicca.system.switching.host import keep_left
from anicca.system.switching.moving import read_moved
from anicca.system.switching.trial import Trial, note
from anicca.system.units import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from anicca.events import Report
    from anicca.system.reading import System
    from anicca.system.switching.host import HostPlaces
    from anicca.system.units import UnitPlan

SETTLE_SECONDS = 3.0
"""How long changed units are watched: what dies at once dies within this."""
UNCONFIRMED = "unconfirmed"
"""A file in the directory of this boot's facts: there as long as a switch waits to be confirmed."""
WORK = "switch"
"""A directory there: where the images of the new system are mounted for a moment."""
LATER = (
    "anicca.cli.render",
    "anicca.store.aside",
    "tempfile",
    "traceback",
    "json.decoder",
    "encodings.idna",
    "unicodedata",
    "difflib",
    "shutil",
)
"""Modules that would be read from /usr after it was replaced, perhaps by another Python's."""


class TrialFailedError(AniccaError):
    """The new system did not do well; the host is what it was before, unless `detail` says otherwise."""


def try_live(
    places: HostPlaces,
    old: System,
    new: System,
    plan: LivePlan,
    *,
    failed_before: Collection[str],
    adopt: Callable[[str], object] | None = None,
    settle_seconds: float = SETTLE_SECONDS,
    confirm_seconds: float | None = None,
    report: Report = events.ignore,
) -> None:
    """Carry a plan out on this host, and back if anything of it fails. Raises `TrialFailedError` in that case.

    Units that had `failed_before` are none of its business. With `confirm_seconds`, somebody must say within that time
    that the host can still be reached (`confirm`). `adopt` keeps what a path holds that comes to persist.
    """
    for name in LATER:
        import_module(name)
    started = time.monotonic()
    problems: list[str] = []
    try:
        problems = [*carry_out(places, new, plan, adopt), *check(plan, failed_before, settle_seconds=settle_seconds)]
        if not problems and confirm_seconds is not None and not await_confirmation(places.run, confirm_seconds):
            problems = [f"nobody confirmed within {confirm_seconds:g} seconds"]
    except AniccaError as error:
        problems = [str(error), *([error.detail] if error.detail else [])]
    except OSError as error:
        problems = [f"{error.filename}: {error.strerror}"]
    except KeyboardInterrupt:
        problems = ["interrupted"]
    except Exception as error:  # noqa: BLE001 (a bug of ours must not leave the host between two systems)
        from traceback import format_exception  # noqa: PLC0415 (nobody needs it before)

        problems = ["a bug of anicca's", "".join(format_exception(error))]
    if not problems:
        note_waits(places, plan)
        note_let_go(places.run, old, new)
        keep_left(places, old.path)
        report(events.Notice(text=f"live in {time.monotonic() - started:.1f} s"))
        return
    report(events.Notice(text=f"not well, so it goes back: {problems[0]}", warning=True))
    left = go_back(places, old, new, stops=stops(plan), failed_before=failed_before, settle_seconds=settle_seconds)
    raise TrialFailedError(
        f"{new.path} did not do well, so the host is {old.path} again",
        hint="what failed is told below; the next boot's generation was never changed",
        detail="\n".join([*problems, *left]),
    )


def stops(plan: LivePlan) -> tuple[str, ...]:
    """The units of the host as it was that a plan stops, if only for a moment."""
    return tuple(one.unit for one in (*plan.units.stop, *plan.units.restart))


def go_back(
    places: HostPlaces,
    old: System,
    new: System,
    *,
    stops: Collection[str],
    failed_before: Collection[str],
    settle_seconds: float = SETTLE_SECONDS,
) -> list[str]:
    """Make the host `old` again, however far it has come on the way to `new`; what failed of that.

    `stops` are units that ran in `old` and that may have been stopped on the way.
    """
    try:
        with _undisturbed():
            moved = read_moved(new, old, adopts=False)
            back = plan_live(new, old, systemd.read_active(), users=systemd.read_users(), moved=moved)
            acted = {one.unit for _verb, actions in back.units.acts() for one in actions}
            again = [unit for unit in stops if unit not in acted and unit not in failed_before]
            start = (*back.units.start, *(Action(unit=unit, why=("it ran before",)) for unit in again))
            back = replace(back, units=replace(back.units, start=start))
            # What failed now is no reason to call what comes back unwell.
            systemd.reset_failed(failed_units().difference(failed_before))
            left = [*carry_out(places, old, back), *check(back, failed_before, settle_seconds=settle_seconds)]
            note_let_go(places.run, new, old)
    except (AniccaError, OSError) as error:
        left = [str(error)]
    return left and ["GOING BACK FAILED AS WELL; a reboot gives the system that was there:", *left]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No signal that asks us to end does so meanwhile: half of the way back is worse than none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Handlers, not SIG_IGN: programs that are run would inherit that.
    before = {sign: signal.signal(sign, lambda *_: None) for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def take_back(places: HostPlaces, trial: Trial, report: Report = events.ignore) -> None:
    """Make the host what it was before a switch that was killed. Raises `AniccaError` if that cannot be done."""
    old, new = (places.system(StorePath.parse(path)) for path in (trial.old, trial.new))
    report(events.Notice(text=f"the switch to {new.path} was cut off, so the host goes back first", warning=True))
    for point in mounts.mount_points([str(places.run / WORK)], mountinfo=Path("/proc/self/mountinfo").read_text()):
        mounts.detach(Path(point))
    left = go_back(places, old, new, stops=trial.stops, failed_before=trial.failed)
    if left:
        raise AniccaError(left[0], detail="\n".join(left[1:]))
    note(places.run, replace(trial, ended=time.time(), problem="it was cut off; the host went back later"))


def carry_out(
    places: HostPlaces, new: System, plan: LivePlan, adopt: Callable[[str], object] | None = None
) -> list[str]:
    """Do all that a plan says; what failed of it. The point of no half: everything is mounted before units stop."""
    units = plan.units
    problems: list[str] = []
    with ExitStack() as held:
        replacements = list(_prepare(places, new, plan, held))
        problems += _failed("stopping", systemd.act("stop", [one.unit for one in units.stop]))
        for step in plan.paths:
            paths.do(step, adopt=adopt)
        for path, mount in replacements:
            mounts.replace(path, mount)
    fs.symlink_atomic(places.run / "system", str(new.path))
    if units.reexecute:
        systemd.systemctl("daemon-reexec")
    elif plan.reread:
        systemd.systemctl("daemon-reload")
    if units.tmpfiles:
        systemd.run_tmpfiles()
    problems += _failed("reloading", systemd.act("reload", [one.unit for one in units.reload]))
    paths.read_ahead(plan.opens)
    for verb, actions in (("restart", units.restart), ("start", units.start)):
        for is_early in (True, False):
            names = [one.unit for one in actions if (one.unit in plan.early) == is_early]
            if verb == "restart":
                # No earlier than needed: nobody is served meanwhile.
                problems += _failed("stopping", systemd.act("stop", _bound(names, units)))
            problems += _failed(f"{verb}ing", systemd.act(verb, names))
    for uid, theirs in plan.users.items():
        problems += _of_user(uid, theirs)
    return problems


def _bound(names: Collection[str], units: UnitPlan) -> list[str]:
    """The sockets among units that restart, after the services that hold them: else they cannot be bound anew."""
    sockets = [name for name in names if name.endswith(".socket")]
    return [*(one.unit for one in units.restart if one.holds in sockets), *sockets]


def _of_user(uid: int, units: UnitPlan) -> list[str]:
    """The same for the units of a user's own systemd; what failed of it. Who has left meanwhile has no units."""
    try:
        systemd.systemctl("daemon-reload", user=uid)
        return [
            f"{verb} for user {uid}: {unit} failed"
            for verb, actions in units.acts()
            for unit in systemd.act(verb, [one.unit for one in actions], user=uid)
        ]
    except (AniccaError, KeyError):
        return []


def await_confirmation(run: Path, seconds: float) -> bool:
    """Wait until somebody confirms; whether somebody did."""
    file = run / UNCONFIRMED
    fs.write_atomic(file, b"")
    end = time.monotonic() + seconds
    while time.monotonic() < end and file.exists():
        time.sleep(0.2)
    # Whoever removes it decides.
    return not _remove(file)


def confirm(run: Path) -> None:
    """Tell the switch that waits that the host can be reached: whoever runs this has come in anew.

    Raises `AniccaError` if none waits.
    """
    if not _remove(run / UNCONFIRMED):
        raise AniccaError(
            "no switch waits to be confirmed",
            hint="one does once its system is live; anicca status says how the last did",
        )


def _remove(file: Path) -> bool:
    """Whether the file was there, and was removed by us."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True


def note_waits(places: HostPlaces, plan: LivePlan) -> None:
    """Write down, beside what waits since earlier switches, the units that were left alone, for `anicca status`."""
    waits = {one.unit: "; ".join(one.why) for one in plan.units.waits}
    for unit, which in systemd.read_stale().items():
        waits.setdefault(unit, f"it still sees the {which} from before")
    runs = systemd.invocations(waits)
    try:
        records = dict(json.loads((places.run / WAITS).read_bytes()))
    except (OSError, ValueError):
        records = {}
    records |= {unit: {"why": why, "run": runs[unit]} for unit, why in waits.items()}
    fs.write_atomic(places.run / WAITS, json.dumps(records).encode())


def note_let_go(run: Path, old: System, new: System) -> None:
    """Write down the kernel settings that stay as they are although nobody wants them any more, for `anicca status`."""
    names = (read_let_go(run) | kernel_settings(old)) - kernel_settings(new)
    if names != read_let_go(run):
        fs.write_atomic(run / LET_GO, json.dumps(sorted(names)).encode())


def check(plan: LivePlan, failed_before: Collection[str], *, settle_seconds: float) -> list[str]:
    """What is not well after a plan was carried out: units that failed, and declared health checks that say no."""
    if plan.units.touched:
        time.sleep(settle_seconds)
    problems = _failed("afterwards", sorted(failed_units().difference(failed_before)))
    for unit in plan.units.touched:
        if systemd.state(unit) == "failed" and unit in failed_before:
            problems += _failed("still", [unit])
    if not plan.is_empty:
        problems += _failed("checking", systemd.act("restart", plan.checks))
    return problems


def failed_units() -> set[str]:
    """The units that are in a failed state."""
    text = systemd.systemctl("list-units", "--failed", "--full", "--plain", "--no-legend", "--no-pager")
    return {line.split()[0] for line in text.splitlines() if line.strip()}


def _failed(doing: str, units: list[str]) -> list[str]:
    return [f"{doing}: {unit} failed\n{systemd.last_words(unit)}".rstrip() for unit in units]


def _prepare(
    places: HostPlaces, new: System, plan: LivePlan, held: ExitStack
) -> Iterator[tuple[Path, mounts.Detached]]:
    """Everything that will be mounted, mounted nowhere yet: what cannot be mounted is known before anything changes."""
    work = places.run / WORK
    meta, tree, etc = work / "meta", work / "tree", work / "etc"
    for directory in (meta, tree, etc):
        directory.mkdir(parents=True, exist_ok=True)

    def ready(source: Path, target: Path) -> tuple[Path, mounts.Detached]:
        mount = mounts.clone(source, read_only=True)
        held.callback(mount.close)
        return target, mount

    if plan.usr:
        with mounts.mounted_image(new.part("tree.erofs"), meta):
            mounts.mount_tree(meta, places.store.store_dir, tree)
            try:
                found = [ready(meta, places.run / "meta"), ready(tree, places.run / "tree")]
                yield from (one for one in found if one[0].is_mount())
                yield ready(tree / "usr", Path("/usr"))
            finally:
                mounts.detach(tree)
    if plan.etc:
        with mounts.mounted_image(new.part("etc.erofs"), etc):
            yield ready(etc, Path("/etc"))


def command_again(arguments: list[str]) -> list[str]:
    """The command line that runs this program anew with other arguments."""
    return [sys.executable, "-m", "anicca", *arguments]
