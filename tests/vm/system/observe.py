"""Run on a host: all that a boot would have made of it, as JSON. Two hosts that are the same say the same.

Paths with kind, mode, owner and content; active units; users and groups; programs that run files which are gone. What
boots leave differently each time is left out here, with the reason. Standard library only.
"""

import grp
import json
import os
import pwd
import re
import stat
import subprocess
import sys
import zlib
from collections import defaultdict
from pathlib import Path

ELSEWHERE = frozenset(("/proc", "/sys", "/dev", "/run", "/nix", "/boot", "/tmp", "/mnt"))
"""The kernel's, this boot's, the store, the ESP, scratch."""
CHANGING = re.compile(
    # What services write for themselves.
    r"/var/(log|tmp|cache/ldconfig)(/.*)?|/var/lib/(private|lastlog|wtmpdb)(/.*)?"
    r"|/var/lib/systemd/(random-seed|credential.secret|(timers|timesync|linger|catalog|network)(/.*)?)"
    # The key that the test comes in with.
    r"|/root/\.ssh(/.*)?|/lost\+found|/\.anicca-root-.*"
)
PASSING = re.compile(
    r"(systemd-tmpfiles-clean|user@|user-|session-|run-user-|anicca-switch-|anicca-forget|systemd-soft-reboot"
    r"|systemd-journal-flush|systemd-journal-catalog-update|boot\.mount|user\.slice"
    # Started by what hardware is found; left by the initrd, which a soft reboot does not go through.
    r"|systemd-rfkill\.socket|run-anicca-(meta|tree)\.mount).*|.*\.(device|scope)"
)
"""Units that come and go by themselves."""


def paths() -> dict[str, str]:
    """Each path of the root and of what is mounted on it, with all that is told of it.

    With names as text and no more calls than needed: under an emulator every one of them is dear.
    """
    found = {}
    todo = ["/"]
    while todo:
        top = todo.pop()
        info = os.lstat(top)
        found[top] = f"{stat.filemode(info.st_mode)} {info.st_uid} {info.st_gid}"
        with os.scandir(top) as entries:
            for entry in entries:
                if entry.path in ELSEWHERE or CHANGING.fullmatch(entry.path):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    found[entry.path] = record(entry)
    return found


def record(entry: os.DirEntry[str]) -> str:
    """Kind, mode, owner, and content."""
    info = entry.stat(follow_symlinks=False)
    what = f"{stat.filemode(info.st_mode)} {info.st_uid} {info.st_gid}"
    if stat.S_ISLNK(info.st_mode):
        return f"{what} -> {os.readlink(entry.path)}"  # noqa: PTH115 (fast)
    if not stat.S_ISREG(info.st_mode):
        return what
    # A checksum: nobody forges here, and a hash takes five times as long under an emulator.
    return f"{what} {info.st_size} {zlib.crc32(content(entry.path)):08x}"


def content(path: str) -> bytes:
    """All of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        found = b""
        while chunk := os.read(fd, 1 << 24):
            found += chunk
        return found
    finally:
        os.close(fd)


def units() -> list[str]:
    """What systemd has active or failed."""
    listed = json.loads(said("systemctl", "list-units", "--all", "--full", "--output=json"))
    return sorted(
        f"{one['unit']} {one['active']}"
        for one in listed
        if one["active"] != "inactive" and not PASSING.fullmatch(one["unit"])
    )


def stale() -> dict[str, list[str]]:
    """Units whose processes run files that are not those of /usr now."""
    found: dict[str, set[str]] = defaultdict(set)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            unit = unit_of((process / "cgroup").read_text().strip())
            for mapped in (process / "map_files").iterdir():
                name = str(mapped.readlink())
                path = Path(name if name.startswith("/usr/") else f"/usr{name}")
                if name.startswith(("/usr/", "/lib", "/bin/", "/sbin/")) and not is_same(mapped, path):
                    found[unit].add(str(path))
        except OSError:
            continue
    return {unit: sorted(files) for unit, files in sorted(found.items())}


def unit_of(cgroup: str) -> str:
    """The system's unit that a process is in; all of a user's belongs to that user's."""
    return next((part for part in cgroup.split("/") if part.endswith((".service", ".scope"))), cgroup)


def is_same(mapped: Path, path: Path) -> bool:
    """Whether a process has that content mapped."""
    return path.exists() and checksum(mapped) == checksum(path)


SUMS: dict[tuple[int, int], int] = {}


def checksum(path: Path) -> int:
    """Of a file's content, read once however many programs have it mapped."""
    info = path.stat()
    which = info.st_dev, info.st_ino
    if which not in SUMS:
        SUMS[which] = zlib.crc32(path.read_bytes())
    return SUMS[which]


def mounts() -> list[str]:
    """Where something is mounted."""
    points = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return sorted(point for point in points if f"/{point.split('/')[1]}" not in ELSEWHERE)


def said(*command: str) -> str:
    """What a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


json.dump(
    {
        "paths": paths(),
        "units": units(),
        "mounts": mounts(),
        "users": sorted(str(tuple(one)) for one in pwd.getpwall()),
        "groups": sorted(str(tuple(one)) for one in grp.getgrall()),
        "hostname": os.uname().nodename,
        "machine": Path("/etc/machine-id").read_text().strip(),
        "sysctl": said("sysctl", "vm.swappiness"),
        "stale": stale(),
    },
    sys.stdout,
)
