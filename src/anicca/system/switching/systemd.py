"""systemd asked and told, through its own systemctl; and what its units' processes have mapped."""

from __future__ import annotations

import json
import pwd
import re
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from anicca import process
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from anicca.system.units import Active

T = TypeVar("T")

SECONDS = 180
"""How long one call may take: a unit's own start limit is 90."""
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
LOG_LINES = 15


def systemctl(*words: str, check: bool = True, user: int | None = None) -> str:
    """Run systemctl; what it says. With `user`, it is that user's own systemd that is asked."""
    return _systemctl(*words, check=check, user=user).text


def _systemctl(*words: str, check: bool, user: int | None) -> process.Completed:
    if user is None:
        return process.run(["systemctl", *words], env=ENVIRONMENT, timeout_seconds=SECONDS, check=check)
    # Their systemd talks to nobody but them.
    become = ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwuid(user).pw_gid}", "--init-groups", "--inh-caps=-all"]
    environment = {**ENVIRONMENT, "XDG_RUNTIME_DIR": f"/run/user/{user}"}
    return process.run([*become, "systemctl", "--user", *words], env=environment, timeout_seconds=SECONDS, check=check)


def read_active(proc: Path = Path("/proc")) -> list[Active]:
    """The units that are active or failed, with what their processes have mapped."""
    return _active(read_maps(proc, unit_of))


def read_users(proc: Path = Path("/proc")) -> dict[int, list[Active]]:
    """The same of each user whose own systemd runs. One that does not answer is left out."""
    found = {}
    for name in systemctl("list-units", "--plain", "--no-legend", "--state=active", "user@*.service").split():
        user = re.fullmatch(r"user@([0-9]+)\.service", name)
        if user is not None:
            try:
                found[int(user[1])] = _active(read_maps(proc, partial(user_unit_of, manager=name)), int(user[1]))
            except (AniccaError, KeyError, ValueError):
                continue
    return found


def _active(maps: Mapping[str, frozenset[str]], user: int | None = None) -> list[Active]:
    from anicca.system.units import Active  # noqa: PLC0415 (where units are planned; most commands do not)

    listed = json.loads(systemctl("list-units", "--all", "--full", "--no-pager", "--output=json", user=user))
    return [
        Active(name=one["unit"], state=one["active"], sub=one["sub"], maps=maps.get(one["unit"], frozenset()))
        for one in listed
        if one["active"] != "inactive"
    ]


def read_maps(proc: Path, unit_in: Callable[[str], str | None]) -> Mapping[str, frozenset[str]]:
    """For each unit, as `unit_in` tells it from a control group, the files of /usr that its processes have mapped."""
    found: dict[str, set[str]] = defaultdict(set)
    for unit, maps in read_processes(proc, lambda one: (one / "maps").read_text(errors="replace"), unit_in):
        found[unit] |= mapped(maps)
    return {unit: frozenset(paths) for unit, paths in found.items()}


def read_stale(proc: Path = Path("/proc"), paths: Sequence[str] = ("/etc", "/usr")) -> Mapping[str, str]:
    """Units with processes that still see an earlier /etc or /usr than this process, and which of them.

    A service with a mount of its own below /etc keeps the old one in its namespace: the kernel takes no mount away
    there that has something mounted on it.
    """
    ours = devices((proc / "self/mountinfo").read_text(), [*paths, "/"])
    found: dict[str, str] = {}
    for unit, table in read_processes(proc, lambda one: (one / "mountinfo").read_text()):
        theirs = devices(table, [*paths, "/"])
        stale = [path for path in paths if path in ours and theirs.get(path, ours[path]) != ours[path]]
        # Another root is a container's: its /etc is its own affair.
        if stale and theirs.get("/") == ours.get("/"):
            found[unit] = ", ".join(stale)
    return found


def devices(mountinfo: str, paths: Sequence[str]) -> dict[str, str]:
    """The device of what is mounted last at each of some paths (proc_pid_mountinfo(5))."""
    fields = (line.split(" ", 5) for line in mountinfo.splitlines())
    return {one[4]: one[2] for one in fields if one[4] in paths}


def unit_of(cgroup: str) -> str | None:
    """The system's unit that a process is in; those of users belong to their user@.service."""
    for line in cgroup.splitlines():
        if line.startswith("0::"):
            return next((part for part in line[3:].split("/") if part.endswith((".service", ".scope", ".mount"))), None)
    return None


def read_processes(
    proc: Path, read: Callable[[Path], T], unit_in: Callable[[str], str | None] = unit_of
) -> Iterator[tuple[str, T]]:
    """What `read` finds in the directory of each process of a unit, as `unit_in` tells it from a control group.

    Processes that end meanwhile, or may not be looked at, are left out.
    """
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            unit = unit_in((directory / "cgroup").read_text())
            if unit is None:
                continue
            found = read(directory)
        except OSError:
            continue
        yield unit, found


def user_unit_of(cgroup: str, manager: str) -> str | None:
    """The unit of a user's systemd, itself the unit `manager`, that a process is in."""
    for line in cgroup.splitlines():
        _, found, below = line.partition(f"/{manager}/")
        if line.startswith("0::") and found:
            return next((part for part in below.split("/") if part.endswith((".service", ".scope"))), None)
    return None


def mapped(maps: str) -> set[str]:
    """The files of /usr in a process's memory map (proc_pid_maps(5)).

    A process that has lived through a switch maps files of a /usr that is nowhere any more: their paths begin below it.
    """
    found = set()
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5].startswith("/"):  # noqa: PLR2004 (the sixth is the path)
            path = fields[5]
            if path.startswith("/usr/"):
                found.add(path)
            elif path.startswith(("/bin/", "/sbin/", "/lib/", "/lib64/", "/libexec/")):
                found.add(f"/usr{path}")
    return found


def act(verb: str, units: Sequence[str], *, user: int | None = None) -> list[str]:
    """Stop, reload, restart or start units in one transaction; those that failed."""
    if not units or _systemctl(verb, *units, check=False, user=user).status == 0:
        return []
    failed = [unit for unit in units if state(unit, user=user) in ("failed", "inactive")] if verb != "stop" else []
    # A reload can fail and leave the unit running as it was.
    return failed or (list(units) if verb == "reload" else [])


def reset_failed(units: Collection[str]) -> None:
    """Forget that units failed; those that are gone go for good."""
    if units:
        systemctl("reset-failed", *sorted(units), check=False)


def state(unit: str, *, user: int | None = None) -> str:
    """A unit's state; `failed` also while it is started again and again."""
    text = systemctl("show", "--property=ActiveState,SubState,Result", unit, check=False, user=user)
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if facts.get("SubState") == "auto-restart":
        return "failed"
    return facts.get("ActiveState", "unknown")


def invocations(units: Iterable[str]) -> dict[str, str]:
    """Which run of each unit it is now."""
    return {unit: systemctl("show", "--property=InvocationID", "--value", unit, check=False).strip() for unit in units}


def run_tmpfiles() -> None:
    """Make what tmpfiles.d asks for and is missing. What it cannot make it says itself, and the rest is made."""
    process.run(
        ["systemd-tmpfiles", "--create", "--exclude-prefix=/dev"],
        env=ENVIRONMENT,
        timeout_seconds=SECONDS,
        check=False,
    )


def last_words(unit: str) -> str:
    """The last lines of a unit's log."""
    done = process.run(
        ["journalctl", "--unit", unit, "--lines", str(LOG_LINES), "--output=short", "--no-pager", "--quiet"],
        env=ENVIRONMENT,
        timeout_seconds=SECONDS,
        check=False,
    )
    return done.text
