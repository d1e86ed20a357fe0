"""A fresh root beside the one that runs, laid out by the script that does it at boot, and systemd told to move there.

systemd moves to what is mounted on /run/nextroot (systemd-soft-reboot.service(8)). The root's filesystem cannot be made
or mounted anew under running programs, so the fresh root is a new directory of it, seen as a whole; what was on the old
one is removed once nobody can use it any more. Whatever is written is forgotten at the next boot, as before.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import fs, process
from anicca.errors import AniccaError, RefusedError
from anicca.roots.guard.files import MODULE_DIRECTORY
from anicca.system.switching import mounts, systemd
from anicca.system.switching.trial import TRIAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.store.path import StorePath
    from anicca.system.switching.host import HostPlaces

NEXT_ROOT = Path("/run/nextroot")
PREFIX = ".anicca-root-"
"""Of the directories at the top of the root's filesystem that are roots."""
FORGET_UNIT = "anicca-forget.service"
LAYOUT_SECONDS = 600

_UNIT = """\
[Unit]
Description=Remove what was on the root before the soft reboot
ConditionPathExists={script}

[Service]
# Nobody waits for it, and what starts meanwhile goes first.
Type=simple
ExecStart=/bin/sh {script}
IOSchedulingClass=idle
CPUSchedulingPolicy=idle
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootMount:
    """Where the root that runs comes from. `options` mount the filesystem that it is a directory of."""

    kind: str
    source: str
    options: str
    device: int

    @property
    def is_memory(self) -> bool:
        """Whether it is gone with its mount."""
        return self.kind == "tmpfs"


def read_root(mountinfo: str, device: int) -> RootMount:
    """What is mounted last on / (proc_pid_mountinfo(5)), whose files have this device number.

    Raises `RefusedError` where a fresh root cannot be had beside it.
    """
    for line in reversed(mountinfo.splitlines()):
        fields = line.split(" ")
        if fields[4] == "/":
            kind, source, options = fields[fields.index("-") + 1 :][:3]
            if kind != "tmpfs" and not source.startswith("/dev/"):
                raise RefusedError(f"no soft reboot with a root on {kind} yet", hint="reboot instead")
            # A filesystem that is mounted is not set up anew, so its options stay; these are said all the same.
            said = [word for word in options.split(",") if word.startswith("subvolid=")]
            said += ["checkpoint=disable"] if kind == "f2fs" else []
            return RootMount(kind=kind, source=source, options=",".join(["rw", *said]), device=device)
    raise AniccaError("nothing is mounted on /")


def soft_reboot(places: HostPlaces, system: StorePath) -> None:
    """Lay the system out on a fresh root and have systemd move there; returns when it has begun to end all programs.

    Whatever it raises, nothing has changed.
    """
    work = places.run / "next"
    # Whatever was interrupted may have left the root mounted in there: only what holds no mounts is removed.
    leave(work)
    fs.remove_tree(work)
    work.mkdir(parents=True)
    before, facts = (places.run / "system").readlink(), (places.run / "guard.json").read_bytes()
    try:
        lay_out(places, system, work, facts)
        fs.write_atomic(places.run / "guard.json", (work / "guard.json").read_bytes())
        fs.symlink_atomic(places.run / "system", str(system))
        # What a switch that was killed has left halfway is not on the root to come.
        (places.run / TRIAL).unlink(missing_ok=True)
        # It reads all units anew once it is there.
        systemd.systemctl("soft-reboot", "--no-block")
    except BaseException:
        fs.symlink_atomic(places.run / "system", str(before))
        fs.write_atomic(places.run / "guard.json", facts)
        leave(work)
        raise


def lay_out(places: HostPlaces, system: StorePath, work: Path, facts: bytes) -> None:
    """A fresh root on /run/nextroot, as the initrd makes one; `work` takes what its script writes down.

    `facts` is what the guard said of the root until now.
    """
    root = read_root(Path("/proc/self/mountinfo").read_text(), Path("/").stat().st_dev)
    NEXT_ROOT.mkdir(exist_ok=True)
    with whole(root, work / "top") as top:
        number = 1 + max((int(one.name.removeprefix(PREFIX)) for one in top.glob(f"{PREFIX}*")), default=0)
        fresh = top / f"{PREFIX}{number}"
        fresh.mkdir()
        _attach(fresh, NEXT_ROOT)
    (NEXT_ROOT / "nix").mkdir()
    _attach(Path("/nix"), NEXT_ROOT / "nix")
    reasons = ["a soft reboot: a new directory of the filesystem that was the root"]
    said = {**json.loads(facts), "root": root.kind, "outcome": "blank", "reasons": reasons}
    (work / "guard.json").write_text(json.dumps(said) + "\n")
    (work / "cmdline").write_text(f"{places.command_line.read_text().strip()} anicca.system={system}\n")
    places_of_script = {"SYSROOT": NEXT_ROOT, "RUN": work, "CMDLINE": work / "cmdline"}
    environment = {**systemd.ENVIRONMENT, **{f"ANICCA_{name}": str(path) for name, path in places_of_script.items()}}
    script = MODULE_DIRECTORY / "layout.sh"
    done = process.run(["sh", script], env=environment, timeout_seconds=LAYOUT_SECONDS, check=False)
    unkept = work / "unkept"
    if done.status != 0 or unkept.exists():
        what = f"cannot keep {', '.join(unkept.read_text().split())}" if unkept.exists() else "cannot be laid out"
        log = work / "layout.log"
        raise AniccaError(
            f"{system} {what} on a fresh root; nothing was changed",
            detail=log.read_text(errors="replace")[-2000:] if log.exists() else None,
        )
    _forget_later(places, root, keep=fresh.name)


@contextmanager
def whole(root: RootMount, at: Path) -> Iterator[Path]:
    """The root's filesystem from its top, whichever directory of it is the root; in memory, a new one."""
    at.mkdir(exist_ok=True)
    process.run(["mount", "-t", root.kind, "-o", root.options, root.source, at], timeout_seconds=60)
    try:
        if not root.is_memory and at.stat().st_dev != root.device:
            raise AniccaError(f"{root.source} is not what the root is on")
        yield at
    finally:
        mounts.detach(at)


def leave(work: Path) -> None:
    """Take away what is mounted for a root that was not moved to. Raises `AniccaError` if something stays."""
    tops = [str(NEXT_ROOT), str(work)]
    for point in mounts.mount_points(tops, mountinfo=Path("/proc/self/mountinfo").read_text()):
        mounts.detach(Path(point))
    left = mounts.mount_points(tops, mountinfo=Path("/proc/self/mountinfo").read_text())
    if left:
        raise AniccaError(f"{left[0]}: is still mounted")


def _attach(source: Path, target: Path) -> None:
    mount = mounts.clone(source, read_only=False, devices=True)
    try:
        mounts.attach(mount, target)
    finally:
        mount.close()


def _forget_later(places: HostPlaces, root: RootMount, *, keep: str) -> None:
    """Have the userspace to come remove what only the old root had. In memory it goes by itself, with its mount."""
    units = Path("/run/systemd/system")
    script = places.run / "forget.sh"
    script.unlink(missing_ok=True)
    if root.is_memory:
        return
    text = (Path(__file__).parent / "forget.sh").read_text()
    settings = f"device={root.source} kind={root.kind} options={root.options} keep={keep}\n"
    fs.write_atomic(script, f"{settings}{text}".encode(), mode=0o700)
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (units / FORGET_UNIT).write_text(_UNIT.format(script=script))
    if not (wants / FORGET_UNIT).is_symlink():
        (wants / FORGET_UNIT).symlink_to(f"../{FORGET_UNIT}")
