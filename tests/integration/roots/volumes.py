"""A host's volume in a file, and its boots: the guard on this machine's kernel, in a chroot of a Debian 13.

A boot is the guard in mounts of its own, then what the host does with its root; they end with everything still mounted,
as when the power is cut.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anicca import process
from anicca.disks.image import NEW_VOLUME
from anicca.roots.guard.files import MODULE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
BOOT = r"""
tree=$1 work=$2 deed=$3
mkdir -p "$work/root"
mount --bind "$tree" "$work/root"
cd "$work/root"
mount --rbind /dev dev; mount -t proc proc proc; mount -t sysfs sysfs sys; mount -t tmpfs tmpfs run
mkdir run/guard run/sysroot run/anicca
mount --bind "$4" run/guard
cp "$work/cmdline" run/cmdline
export ANICCA_CMDLINE=/run/cmdline ANICCA_SYSROOT=/run/sysroot ANICCA_KMSG=/run/kmsg ANICCA_SYSRQ=/run/sysrq
touch run/kmsg
chroot . busybox sh /run/guard/guard.sh
sleep 1 # for what it does while the boot goes on
cat run/anicca/guard.json
chroot . sh -c 'cd /run/sysroot && find . -printf "%p %M %U:%G\n" && touch x && rm x && eval "$1"' sh "$deed"
"""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A volume in a file, and the kernel command line that names it."""

    tree: Path
    work: Path
    volume: Path
    device: str

    def boot(self, deed: str = ":") -> tuple[dict[str, Any], list[str]]:
        """The guard's facts, what was on the root it handed over, and then what `deed` said."""
        argv: list[str | Path] = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            BOOT,
            "sh",
            self.tree,
            self.work,
            deed,
            MODULE_DIRECTORY,
        ]
        said = process.run(argv, env={"PATH": PATH}, timeout_seconds=120).text.splitlines()
        return json.loads(said[0]), said[1:]

    def run(self, script: str) -> str:
        """What a rescue system says to a script, with the volume as $1 and a directory to mount it on as $2."""
        return self._unshared(f'mkdir -p "$2" && {script}', self.device, self.work / "rescue", self.tree)

    def _unshared(self, script: str, *words: str | Path) -> str:
        argv: list[str | Path] = ["unshare", "--mount", "sh", "-ec", script, "sh", *words]
        return process.run(argv, env={"PATH": PATH}, timeout_seconds=120).text


@contextmanager
def open_host(tree: Path, work: Path, parameters: str, *, mebibytes: int = 400) -> Iterator[Host]:
    """A new volume of a host whose kernel command line has these parameters; its loop device is there meanwhile."""
    volume = work / "volume"
    with volume.open("wb") as file:
        file.write(f"{NEW_VOLUME}\n".encode())
        file.truncate(mebibytes * MIB)
    device = process.run(["losetup", "--find", "--show", volume]).text.strip()
    try:
        (work / "cmdline").write_text(f"anicca.root={device} {parameters}\n")
        yield Host(tree=tree, work=work, volume=volume, device=device)
    finally:
        process.run(["losetup", "--detach", device])
