"""What a host is now, read from it: which generation, what the guard did, what persists, what waits for what."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.roots.facts import HISTORY, GuardFacts, read_facts, unacknowledged
from anicca.system.diff import compare_boot, kernel_settings, let_go
from anicca.system.switching.host import look, read_esp_if_there
from anicca.system.switching.mounts import mount_points
from anicca.system.switching.trial import Trial, read_trial

if TYPE_CHECKING:
    from anicca.system.generations import Seen
    from anicca.system.switching.host import HostPlaces

WAITS = "waits.json"
"""In the directory of this boot's facts: units that a switch left alone, why, and which run of theirs it was."""

LET_GO = "let-go.json"
"""There too: kernel settings that a system set since the kernel was started, and that are declared no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """How much of a filesystem is free."""

    path: str
    free_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistedPath:
    """A declared persisted path, and whether it is bound."""

    path: str
    is_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The facts, for people and for JSON. What is not known is None or empty."""

    host: str | None
    running: str | None
    running_generation: int | None
    booted: str | None
    booted_generation: int | None
    next_generation: int | None
    guard: GuardFacts | None
    incidents: tuple[str, ...]
    """What the guard said at boots out of the ordinary, until acknowledged; empty for those who may not look."""
    persist: tuple[PersistedPath, ...]
    reboot: tuple[str, ...]
    """Why a reboot is needed for the host to be what it is declared to be."""
    restart: dict[str, str]
    """Units that wait for a restart, and why."""
    failed_generations: tuple[int, ...]
    """Generations that were left because three boots were not healthy."""
    trial: Trial | None
    """The last switch of this boot, and what became of it."""
    space: tuple[Space, ...]


def read_status(places: HostPlaces, *, invocations: dict[str, str] | None = None) -> Status:
    """Read all facts. `invocations` tells which run of a unit it is now, so that restarted ones wait no more."""
    esp = read_esp_if_there(places)
    seen = look(places, esp)
    waits = read_waits(places.run, invocations or {})
    persist: tuple[PersistedPath, ...] = ()
    name = None
    reboot: list[str] = []
    if seen.running is not None:
        running = places.system(seen.running)
        name = running.name
        points = set(mount_points([""], mountinfo=Path("/proc/self/mountinfo").read_text()))
        persist = tuple(PersistedPath(path=p, is_kept=p in points) for p in running.persist)
        reboot = _why_reboot(places, seen)
    failed = {n.generation for n in esp.entries if n.failed} if esp else set()
    return Status(
        host=name,
        running=str(seen.running) if seen.running else None,
        running_generation=_newest(seen, "running"),
        booted=str(seen.booted) if seen.booted else None,
        booted_generation=_newest(seen, "booted"),
        next_generation=seen.next,
        guard=read_guard(places.run),
        incidents=read_incidents(),
        persist=persist,
        reboot=tuple(reboot),
        restart=waits,
        failed_generations=tuple(sorted(failed)),
        trial=read_trial(places.run),
        space=tuple(_space(path) for path in (places.boot, Path("/nix"), Path("/")) if path.exists()),
    )


def read_guard(run: Path) -> GuardFacts | None:
    """What the guard did at this boot."""
    try:
        return read_facts(run / "guard.json")
    except AniccaError:
        return None


def read_incidents(history: Path = HISTORY) -> tuple[str, ...]:
    """What the guard said at boots out of the ordinary."""
    try:
        return tuple(str(incident.facts) for incident in unacknowledged(history))
    except AniccaError:
        return ()


def read_waits(run: Path, invocations: dict[str, str]) -> dict[str, str]:
    """The units that still run as they did when a switch left them alone."""
    try:
        records = json.loads((run / WAITS).read_bytes())
    except (OSError, ValueError):
        return {}
    return {unit: one["why"] for unit, one in records.items() if invocations.get(unit, one["run"]) == one["run"]}


def read_let_go(run: Path) -> set[str]:
    """The kernel settings that are as an earlier system of this boot wanted them, by name."""
    try:
        return set(json.loads((run / LET_GO).read_bytes()))
    except (OSError, ValueError):
        return set()


def _why_reboot(places: HostPlaces, seen: Seen) -> list[str]:
    assert seen.running is not None
    running = places.system(seen.running)
    changes = let_go(read_let_go(places.run) - kernel_settings(running))
    if seen.booted is not None and seen.booted != seen.running:
        try:
            booted = compare_boot(places.system(seen.booted), running)
        except AniccaError as error:
            return [f"what was booted is gone from the store: {error}"]
        changes = (*booted, *(change for change in changes if change not in booted))
    return [f"{change.path}: {change.what}" for change in changes]


def _newest(seen: Seen, role: str) -> int | None:
    return max((one.number for one in seen.generations if role in seen.roles(one)), default=None)


def _space(path: Path) -> Space:
    found = os.statvfs(path)
    return Space(path=str(path), free_bytes=found.f_bavail * found.f_frsize, size_bytes=found.f_blocks * found.f_frsize)
