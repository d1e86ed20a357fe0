"""What must happen to the units of a running host when it moves from one system to another. Pure.

A unit counts as changed when its text or drop-ins, its program, a library that its program has loaded, or a file that
it reads changed. Names in a unit's text stay the same when a package is upgraded, so text alone would tell nothing.
docs/internals/switch.md has the rules with their reasons.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from anicca.system.unitfiles import is_yes, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from anicca.system.unitfiles import Unit, UnitSet

QUIET_KEYS = frozenset(
    {
        *("Description", "Documentation", "SourcePath", "CollectMode", "IgnoreOnIsolate", "AllowIsolate"),
        *("OnFailure", "OnSuccess", "OnFailureJobMode", "StopWhenUnneeded", "RefuseManualStart", "RefuseManualStop"),
        *("Wants", "Requires", "Upholds", "After", "Before", "Conflicts", "PartOf", "WantsMountsFor"),
        *("ExecReload", "ExecStop", "ExecStopPost"),
    }
)
"""Settings that daemon-reload applies to a running unit; what they want is started as newly wanted."""
RELOADS = "X-Reload-Triggers"
"""In `[Unit]`: paths at or below which a change is a reload."""
RESTARTS = "X-Restart-Triggers"
"""In `[Unit]`: paths at or below which a change is a restart."""

WAITING = {
    "dbus.service": "all that talks over it would lose its connection",
    "dbus-broker.service": "all that talks over it would lose its connection",
    "systemd-logind.service": "it holds the devices of sessions",
    "user@*.service": "it is somebody's session",
    "user-runtime-dir@*.service": "somebody's session has its files there",
    "getty@*.service": "somebody may be logged in there",
    "serial-getty@*.service": "somebody may be logged in there",
    "console-getty.service": "somebody may be logged in there",
    "ssh@*.service": "it is somebody's session",
    "sshd@*.service": "it is somebody's session",
    "display-manager.service": "sessions end with it",
    "gdm.service": "sessions end with it",
    "lightdm.service": "sessions end with it",
    "sddm.service": "sessions end with it",
    "anicca-switch*.service": "it is what switches",
}
"""Units that are never stopped by a switch: they keep what they have until they are restarted or the host is."""

SESSIONS = "session-*.scope"

PASSIVE = (".slice", ".scope", ".device", ".target", ".swap")
"""daemon-reload is all that these need."""
FIXED_MOUNTS = frozenset(("-.mount", "nix.mount", "nix-store.mount", "usr.mount", "etc.mount", "boot.mount"))

OWN_FILES = {
    "systemd-networkd.service": ("/etc/systemd/network", "/etc/systemd/networkd.conf"),
    "systemd-resolved.service": ("/etc/systemd/resolved.conf",),
    "systemd-journald.service": ("/etc/systemd/journald.conf",),
    "systemd-logind.service": ("/etc/systemd/logind.conf",),
    "systemd-timesyncd.service": ("/etc/systemd/timesyncd.conf",),
    "systemd-udevd.service": ("/etc/udev", "/usr/lib/udev/rules.d"),
    "systemd-sysctl.service": ("/etc/sysctl.d", "/etc/sysctl.conf", "/usr/lib/sysctl.d"),
    "systemd-modules-load.service": ("/etc/modules-load.d", "/etc/modules", "/usr/lib/modules-load.d"),
    "systemd-binfmt.service": ("/etc/binfmt.d", "/usr/lib/binfmt.d"),
    "nftables.service": ("/etc/nftables.conf", "/etc/nftables.d"),
    "ssh.service": ("/etc/ssh/sshd_config",),
}
"""Files that units read although neither their text nor their package says so; with `.d` after it as well."""

TMPFILES = ("/etc/tmpfiles.d", "/usr/lib/tmpfiles.d")
"""Their unit refuses to be restarted; what it does at boot is done by its program."""

MANAGER_PROGRAM = "/usr/lib/systemd/systemd"
MANAGER_FILES = ("/etc/systemd/system.conf",)

_ABSOLUTE = re.compile(r"(?<![\w.%$}])(/(?:usr|etc|bin|sbin|lib|lib64|srv|opt)/[\w.+@:/-]*[\w+@])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """A unit as it is on the host now. `maps` are the files that its processes have mapped: programs and libraries."""

    name: str
    state: str = "active"
    sub: str = "running"
    maps: frozenset[str] = frozenset()

    @property
    def is_up(self) -> bool:
        """Whether it runs or holds what it set up."""
        return self.state in ("active", "reloading", "activating")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What differs between the old system and the new, and where programs lead in the old one."""

    usr: frozenset[str] = frozenset()
    etc: frozenset[str] = frozenset()
    seed: frozenset[str] = frozenset()
    """Paths elsewhere that are laid out anew."""
    loads: Callable[[str], frozenset[str]] = lambda program: frozenset((program,))
    """What running a program of the old system opens."""
    belongs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Unit to the paths of /etc that its package brings: files, and directories that are its alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A unit, and why something happens to it."""

    unit: str
    why: tuple[str, ...]
    holds: str = ""
    """The socket that starts anew too, for which it has to be down."""

    def __str__(self) -> str:
        return f"{self.unit} ({'; '.join(self.why)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan:
    """What happens to units, in this order; `waits` are those that would have to change and do not yet."""

    stop: tuple[Action, ...] = ()
    reexecute: tuple[str, ...] = ()
    """Why systemd itself starts anew, keeping all that runs."""
    tmpfiles: tuple[str, ...] = ()
    """Why systemd-tmpfiles makes again what is missing."""
    reload: tuple[Action, ...] = ()
    restart: tuple[Action, ...] = ()
    start: tuple[Action, ...] = ()
    waits: tuple[Action, ...] = ()

    def acts(self) -> tuple[tuple[str, tuple[Action, ...]], ...]:
        """What is done to units, by verb, in order."""
        return (("stop", self.stop), ("reload", self.reload), ("restart", self.restart), ("start", self.start))

    def pausing(self, held: Mapping[str, frozenset[str]]) -> UnitPlan:
        """The same plan, with units down while paths that they have open are moved: `held` is path to units."""
        why: dict[str, tuple[str, ...]] = {}
        for path, units in sorted(held.items()):
            for unit in units - {one.unit for one in self.stop}:
                why[unit] = (*why.get(unit, ()), f"it has {path} open, which moves")
        paused = tuple(Action(unit=unit, why=why[unit]) for unit in sorted(why))
        return replace(
            self,
            stop=(*self.stop, *paused),
            start=(*paused, *(one for one in self.start if one.unit not in why)),
            reload=tuple(one for one in self.reload if one.unit not in why),
            restart=tuple(one for one in self.restart if one.unit not in why),
        )

    @property
    def touched(self) -> tuple[str, ...]:
        """The units that must be well afterwards."""
        return tuple(one.unit for one in (*self.reload, *self.restart, *self.start))


def plan_units(
    old: UnitSet, new: UnitSet, active: Iterable[Active], changed: Changed, *, goal: str = "default.target"
) -> UnitPlan:
    """The plan for the units that are active, and for those that the new system wants and the old did not."""
    here = {one.name: one for one in active}
    planner = _Planner(old, new, here, changed, goal)
    stop, waits = planner.stops()
    reload, restart, later = planner.changes({one.unit for one in stop})
    start = planner.starts({one.unit for one in restart}, {one.unit for one in stop})
    return UnitPlan(
        stop=tuple(stop),
        reexecute=planner.manager(),
        tmpfiles=tuple(
            f"{path} changed" for path in few(p for p in (*changed.usr, *changed.etc) if below(p, TMPFILES))
        ),
        reload=tuple(reload),
        restart=tuple(restart),
        start=tuple(start),
        waits=(*waits, *later),
    )


class _Planner:
    def __init__(self, old: UnitSet, new: UnitSet, active: Mapping[str, Active], changed: Changed, goal: str) -> None:
        self.old, self.new, self.active, self.changed = old, new, active, changed
        self.old_wanted, self.new_wanted = old.reachable(goal), new.reachable(goal)
        self.old_possible = old.reachable(goal, triggered=True)
        self.new_possible = new.reachable(goal, triggered=True)

    def stops(self) -> tuple[list[Action], list[Action]]:
        """Units that the new system does not have, has masked, or would not start."""
        stop, waits = [], []
        for name, one in sorted(self.active.items()):
            before, after = self.old.get(name), self.new.get(name)
            if before is None or not one.is_up or split(name)[1] in PASSIVE:
                continue
            if after is None:
                why = "the new system does not have it"
            elif after.masked:
                why = "masked"
            elif name in self.old_possible and name not in self.new_possible:
                why = "nothing starts it any more"
            else:
                continue
            reason = waiting(name)
            if reason is not None:
                waits.append(Action(unit=name, why=(why, reason)))
            elif name not in FIXED_MOUNTS:
                stop.append(Action(unit=name, why=(why,)))
        return stop, waits

    def changes(self, stopped: set[str]) -> tuple[list[Action], list[Action], list[Action]]:
        """What is reloaded, what restarted, and what would have to be and is not."""
        reload, restart, waits = [], [], []
        for name, one in sorted(self.active.items()):
            before, after = self.old.get(name), self.new.get(name)
            kind = split(name)[1]
            if before is None or after is None or name in stopped or kind in PASSIVE or name in FIXED_MOUNTS:
                continue
            if not one.is_up and one.state != "failed":
                continue
            again, again_softly = self.reasons(before, after, one)
            if not again and not again_softly:
                continue
            holders = filter(None, map(self.new.get, self._holders(after)))
            reason = next(filter(None, map(stays, (after, *holders))), None)
            soft = not again and (after.value("ExecReload") is not None or kind == ".mount")
            action = Action(unit=name, why=(*again, *again_softly))
            if reason is not None:
                waits.append(Action(unit=name, why=(*action.why, reason)))
            elif soft and one.is_up:
                reload.append(action)
            else:
                restart.append(action)
        restart = self._with_sockets(restart)
        # What starts anew reads its files then.
        reload = [one for one in reload if one.unit not in {other.unit for other in restart}]
        return reload, restart, [*waits, *self._sessions()]

    def _sessions(self) -> Iterator[Action]:
        """Sessions whose programs run what changed. No unit of a system is theirs: they end when they end."""
        for name, one in sorted(self.active.items()):
            changed = one.maps & self.changed.usr
            if changed and fnmatch.fnmatchcase(name, SESSIONS):
                yield Action(unit=name, why=(*(f"{path} changed" for path in few(changed)), "it is somebody's session"))

    def _with_sockets(self, restart: list[Action]) -> list[Action]:
        """A socket cannot be made anew while its service has it: both restart, the socket first."""
        found = {one.unit: one for one in restart}
        for name in [one.unit for one in restart if one.unit.endswith(".socket")]:
            for service in self._holders(self.new.get(name)):
                # It may start anew for reasons of its own: it has the socket all the same.
                why = found[service].why if service in found else (f"it has {name}, which changed",)
                found[service] = Action(unit=service, why=why, holds=name)
        return sorted(found.values(), key=lambda one: (not one.unit.endswith(".socket"), one.unit))

    def _holders(self, socket: Unit | None) -> list[str]:
        """The services that run and have a socket; of other units, none."""
        if socket is None or split(socket.name)[1] != ".socket":
            return []
        return [name for name in sorted(socket.triggers()) if name in self.active and self.active[name].is_up]

    def reasons(self, before: Unit, after: Unit, one: Active) -> tuple[list[str], list[str]]:
        """Why it must start anew, and why it must only read its files again."""
        hard = text_changes(before, after)
        program = self.changed.usr & (loaded(before, self.changed) | one.maps) if self.changed.usr else frozenset()
        hard += [f"{path} changed" for path in few(program)]
        read = files_read(after, self.changed)
        restarts, reloads = _triggers(after, RESTARTS), _triggers(after, RELOADS)
        everywhere = self.changed.etc | self.changed.seed
        environment = {value.lstrip("-") for value in after.values("EnvironmentFile")}
        hard += [f"{path} changed" for path in few(p for p in everywhere if below(p, restarts) or p in environment)]
        soft = {p for p in everywhere if below(p, reloads) or (p in self.changed.etc and below(p, read))}
        soft |= {p for p in self.changed.usr if below(p, OWN_FILES.get(after.name, ()))}
        soft -= {p for p in soft if below(p, restarts) or p in environment}
        return hard, [f"{path} changed" for path in few(soft)]

    def starts(self, restarted: set[str], stopped: set[str]) -> list[Action]:
        """Units that a boot would start and that do not run: newly wanted, or done once with what changed."""
        found = []
        for name in sorted(self.new_wanted):
            unit, one = self.new.get(name), self.active.get(name)
            if unit is None or unit.masked or name in restarted or name in stopped:
                continue
            if one is not None and one.is_up:
                continue
            if name not in self.old_wanted:
                found.append(Action(unit=name, why=("the new system wants it",)))
            elif (before := self.old.get(name)) is not None and unit.value("Type", "Service") == "oneshot":
                again, softly = self.reasons(before, unit, one or Active(name=name, state="inactive"))
                if (again or softly) and waiting(name) is None:
                    found.append(Action(unit=name, why=("it runs once per boot", *again, *softly)))
        return found

    def manager(self) -> tuple[str, ...]:
        """Why systemd itself must start anew."""
        program = self.changed.usr & self.changed.loads(MANAGER_PROGRAM) if self.changed.usr else frozenset()
        files = {p for p in self.changed.etc if below(p, (*MANAGER_FILES, *(f"{f}.d" for f in MANAGER_FILES)))}
        return tuple(f"{path} changed" for path in few({*program, *files}))


def loaded(unit: Unit, changed: Changed) -> frozenset[str]:
    """What the programs of a unit are made of, and other files of /usr that its command lines name.

    One that runs once and ends has no libraries in use: what it did stays done, unless it is another program now.
    """
    found: set[str] = set()
    once = unit.value("Type", "Service") == "oneshot"
    for key in ("ExecStart", "ExecStartPre", "ExecStartPost"):
        for command in unit.values(key):
            words = command.lstrip("@-:+!|").split()
            if words and words[0].startswith("/"):
                found |= {words[0], f"/usr{words[0]}"} if once else changed.loads(words[0])
            found |= set(_ABSOLUTE.findall(command))
    return frozenset(found)


def files_read(unit: Unit, changed: Changed) -> frozenset[str]:
    """The places in /etc that a unit reads: named in its text, of its package alone, or known."""
    found = set(changed.belongs.get(unit.name, frozenset()))
    for one in unit.settings:
        found |= {path for path in _ABSOLUTE.findall(one.value) if path.startswith("/etc/")}
    for path in OWN_FILES.get(unit.name, ()):
        found |= {path, f"{path}.d"}
    # Drop-ins and units in there are texts, which are compared as such.
    return frozenset(path for path in found if path not in ("/etc", "/etc/systemd", "/etc/systemd/system"))


def opened_at_start(unit: Unit, changed: Changed, maps: frozenset[str]) -> frozenset[str]:
    """The paths of /usr and /etc, some of them directories, that a unit opens as it starts, as far as that is known.

    `maps` is what its processes have mapped now.
    """
    opened = loaded(unit, changed) | files_read(unit, changed) | maps
    # A command line may name data as well, and there may be much of it.
    return frozenset(path for path in opened if path.startswith(("/usr/", "/etc/")))


def text_changes(before: Unit, after: Unit) -> list[str]:
    """The settings that differ and that only a restart applies."""

    def strong(unit: Unit) -> list[tuple[str, str, str]]:
        return [(s.section, s.key, s.value) for s in unit.settings if s.key not in QUIET_KEYS and s.key[:2] != "X-"]

    one, other = strong(before), strong(after)
    if one == other:
        return []
    keys = {key for _section, key, _value in set(one) ^ set(other)}
    return [f"{', '.join(sorted(keys)) or 'the order of its settings'} changed"]


def stays(unit: Unit) -> str | None:
    """Why a unit that runs is not restarted, whatever changed; None if it may be."""
    told = unit.value("X-RestartIfChanged", "Unit")
    if told is not None and not is_yes(told):
        return f"the text of {unit.name} says X-RestartIfChanged=no"
    if is_yes(unit.value("RefuseManualStop", "Unit")):
        return f"{unit.name} refuses to be stopped by hand"
    return waiting(unit.name)


def waiting(name: str) -> str | None:
    """Why a switch leaves this unit alone, None if it does not."""
    return next((why for pattern, why in WAITING.items() if fnmatch.fnmatchcase(name, pattern)), None)


def _triggers(unit: Unit, key: str) -> tuple[str, ...]:
    return tuple(path for value in unit.values(key, "Unit") for path in value.split())


def below(path: str, tops: Iterable[str]) -> bool:
    """Whether a path is one of some, or lies below one."""
    return any(path == top or path.startswith(f"{top}/") for top in tops)


def few(paths: Iterable[str], most: int = 3) -> list[str]:
    """The first few; a switch of everything must not print everything for each unit."""
    found = sorted(paths)
    return found if len(found) <= most else [*found[:most], f"{len(found) - most} more files"]
