"""Who wrote a path, where that can be known: who has it open, whose directory it lies in, whom it belongs to.

Nothing records who wrote a file. These are the traces, the strongest first; the last says only who may write there.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from anicca import process
from anicca.drift import records
from anicca.drift.entry import is_below
from anicca.process import ProgramError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anicca.drift.inside import Root

PLACES = {
    "StateDirectory": b"/var/lib/",
    "CacheDirectory": b"/var/cache/",
    "LogsDirectory": b"/var/log/",
    "RuntimeDirectory": b"/run/",
}
"""Settings of units that name directories of theirs, relative to these (systemd.exec(5))."""
WRITES = ("ReadWritePaths", "WorkingDirectory", "RequiresMountsFor")
"""Settings that name absolute paths."""
_UNIT = re.compile(r"/([^/]+\.(?:service|scope|socket|mount))(?:/|$)")
WRITABLE = os.O_WRONLY | os.O_RDWR


class Writers(NamedTuple):
    """The traces: paths that are open for writing, directories of units, units by the user they run as, users by id."""

    open_by: Mapping[bytes, str]
    places: tuple[tuple[bytes, str, str], ...]
    """Directory, unit, and the setting that says so; the deepest first."""
    runs_as: Mapping[str, tuple[str, ...]]
    users: Mapping[int, str]

    def of(self, path: bytes, uid: int) -> str:
        """Who wrote a path that belongs to `uid`, in a few words; empty where nothing says so."""
        if path in self.open_by:
            return f"{self.open_by[path]}, which has it open"
        for directory, unit, setting in self.places:
            if is_below(path, directory):
                return f"{unit} ({setting})"
        user = self.users.get(uid, str(uid))
        units = self.runs_as.get(user, ())
        if uid and len(units) == 1:
            return f"{units[0]}, which runs as {user}"
        return f"user {user}" if uid else ""


def read_users(root: Root) -> dict[int, str]:
    """The names of a root's users."""
    return {number: name for name, number in records.parse_names(root.read_if_there(b"/etc/passwd")).items()}


def users_alone(root: Root) -> Writers:
    """The traces on a root that does not run here: nothing but its users."""
    return Writers({}, (), {}, read_users(root))


def read_writers(root: Root, proc: str = "/proc") -> Writers:
    """The traces on the running system. What cannot be read is not known."""
    try:
        asked = ",".join(("Id", "User", *PLACES, *WRITES))
        text = process.run(["systemctl", "show", "*.service", f"--property={asked}"], timeout_seconds=20).text
    except ProgramError:
        text = ""
    places, runs_as = parse_units(text)
    return Writers(read_open(proc), places, runs_as, read_users(root))


def parse_units(text: str) -> tuple[tuple[tuple[bytes, str, str], ...], dict[str, tuple[str, ...]]]:
    """What `systemctl show` says of units' directories, and which units run as a user. Pure."""
    places, runs_as = [], dict[str, tuple[str, ...]]()
    for block in text.split("\n\n"):
        settings = dict(line.partition("=")[::2] for line in block.splitlines())
        unit = settings.get("Id", "")
        if not unit:
            continue
        user = settings.get("User", "")
        if user and user != "root":
            runs_as[user] = (*runs_as.get(user, ()), unit)
        for setting in (*PLACES, *WRITES):
            for word in settings.get(setting, "").split():
                # `!` and `-` excuse a path that is missing; `name:link` is a name and a link to it.
                name = word.lstrip("!+-").partition(":")[0]
                directory = os.path.normpath(PLACES.get(setting, b"/") + os.fsencode(name.lstrip("/")))
                if directory not in (b"/", b"/home", b"/root", b"/tmp", b"/var", b"/run"):
                    places.append((directory, unit, setting))
    return tuple(sorted(places, key=lambda place: -len(place[0]))), runs_as


def read_open(proc: str = "/proc") -> dict[bytes, str]:
    """The files that processes have open for writing, each with the unit that the process is of."""
    found: dict[bytes, str] = {}
    for pid in _names(proc):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        who = ""
        for fd in _names(f"{proc}/{pid}/fd"):
            try:
                target = os.readlink(f"{proc}/{pid}/fd/{fd}".encode())  # noqa: PTH115 (bytes)
                if not target.startswith(b"/") or target.startswith((b"/dev/", b"/proc/", b"/sys/")):
                    continue
                with open(f"{proc}/{pid}/fdinfo/{fd}", encoding="ascii") as info:  # noqa: PTH123 (many small files)
                    flags = int(info.read().partition("flags:")[2].split()[0], 8)
            except (OSError, ValueError, IndexError):
                continue
            if flags & WRITABLE:
                who = who or _unit_of(proc, pid)
                found.setdefault(target, who)
    return found


def _names(directory: str) -> Iterable[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 (names alone)
    except OSError:
        return ()


def _unit_of(proc: str, pid: str) -> str:
    try:
        with open(f"{proc}/{pid}/cgroup", encoding="utf-8") as file:  # noqa: PTH123 (as above)
            units = _UNIT.findall(file.read().splitlines()[-1])
        with open(f"{proc}/{pid}/comm", encoding="utf-8") as file:  # noqa: PTH123
            name = file.read().strip()
    except (OSError, IndexError, ValueError):
        return f"process {pid}"
    return units[-1] if units else f"{name} (process {pid})"
