"""systemd asked and told, through its own systemctl; and what its units' processes have mapped."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import process
from anicca.system.units import Active

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

SECONDS = 180
"""How long one call may take: a unit's own start limit is 90."""
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
LOG_LINES = 15


def systemctl(*words: str, check: bool = True) -> str:
    """Run systemctl; what it says."""
    return process.run(["systemctl", *words], env=ENVIRONMENT, timeout_seconds=SECONDS, check=check).text


def read_active(proc: Path = Path("/proc")) -> list[Active]:
    """The units that are active or failed, with what their processes have mapped."""
    listed = json.loads(systemctl("list-units", "--all", "--full", "--no-pager", "--output=json"))
    maps = read_maps(proc)
    return [
        Active(name=one["unit"], state=one["active"], sub=one["sub"], maps=maps.get(one["unit"], frozenset()))
        for one in listed
        if one["active"] != "inactive"
    ]


def read_maps(proc: Path) -> Mapping[str, frozenset[str]]:
    """For each unit the files of /usr that its processes have mapped: their programs and all libraries."""
    found: dict[str, set[str]] = defaultdict(set)
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            unit = unit_of((directory / "cgroup").read_text())
            maps = (directory / "maps").read_text(errors="replace")
        except OSError:
            continue
        if unit is not None:
            found[unit] |= mapped(maps)
    return {unit: frozenset(paths) for unit, paths in found.items()}


def read_stale(proc: Path = Path("/proc"), paths: Sequence[str] = ("/etc", "/usr")) -> Mapping[str, str]:
    """Units with processes that still see an earlier /etc or /usr than this process, and which of them.

    A service with a mount of its own below /etc keeps the old one in its namespace: the kernel takes no mount away
    there that has something mounted on it.
    """
    ours = devices((proc / "self/mountinfo").read_text(), [*paths, "/"])
    found: dict[str, str] = {}
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            unit = unit_of((directory / "cgroup").read_text())
            theirs = devices((directory / "mountinfo").read_text(), [*paths, "/"])
        except OSError:
            continue
        stale = [path for path in paths if path in ours and theirs.get(path, ours[path]) != ours[path]]
        # Another root is a container's: its /etc is its own affair.
        if unit is not None and stale and theirs.get("/") == ours.get("/"):
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


def act(verb: str, units: Sequence[str]) -> list[str]:
    """Stop, reload, restart or start units in one transaction; those that failed."""
    if not units:
        return []
    done = process.run(["systemctl", verb, *units], env=ENVIRONMENT, timeout_seconds=SECONDS, check=False)
    if done.status == 0:
        return []
    failed = [unit for unit in units if state(unit) in ("failed", "inactive")] if verb != "stop" else []
    # A reload can fail and leave the unit running as it was.
    return failed or (list(units) if verb == "reload" else [])


def reset_failed(units: Collection[str]) -> None:
    """Forget that units failed; those that are gone go for good."""
    if units:
        systemctl("reset-failed", *sorted(units), check=False)


def state(unit: str) -> str:
    """A unit's state; `failed` also while it is started again and again."""
    text = systemctl("show", "--property=ActiveState,SubState,Result", unit, check=False)
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
