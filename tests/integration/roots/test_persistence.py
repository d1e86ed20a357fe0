"""From the guard to the laid-out root on this machine's kernel, and what the persistent volume may have suffered.

Guard (in memory), /nix and layout are the initrd's own scripts, in a chroot of a Debian 13. The host is that of the
tests in a machine: nothing of it runs here.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.vm.roots.guest import SYSTEM, make_host, make_tree

from anicca import process
from anicca.roots.facts import parse_facts
from anicca.roots.guard.files import MODULE_DIRECTORY

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount"),
]

MIB = 1 << 20
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
BOOT = r"""
tree=$1 work=$2 deed=$3
mkdir -p "$work/root" "$work/over" && mount -t tmpfs tmpfs "$work/over" && mkdir "$work/over/upper" "$work/over/work"
mount -t overlay -o "lowerdir=$tree,upperdir=$work/over/upper,workdir=$work/over/work" overlay "$work/root"
cd "$work/root"
mount --rbind /dev dev; mount -t proc proc proc; mount -t sysfs sysfs sys; mount -t tmpfs tmpfs run
mkdir run/guard run/sysroot run/anicca
ln -s run/sysroot/nix nix
mount --bind "$4" run/guard
cp "$work/cmdline" run/cmdline
export ANICCA_CMDLINE=/run/cmdline ANICCA_SYSROOT=/run/sysroot ANICCA_KMSG=/run/kmsg
touch run/kmsg
chroot . busybox sh /run/guard/guard.sh
chroot . dash /run/guard/nix.sh && chroot . dash /run/guard/layout.sh && echo up || echo stopped
cat run/anicca/unkept run/anicca/failed > "$work/said" 2> /dev/null || :
chroot . sh -c "cd /run/sysroot; $deed" || :
# As a power cut would leave it: the volume, still mounted.
cp --sparse=always "$work/nix.img" "$work/cut.img"
"""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A persistent volume in a file; its root is in memory."""

    tree: Path
    work: Path

    @property
    def volume(self) -> Path:
        return self.work / "nix.img"

    def boot(self, deed: str = ":", *, parameters: str = "") -> list[str]:
        """Whether it came up, then what `deed` said in the laid-out root."""
        device = process.run(["losetup", "--find", "--show", self.volume]).text.strip()
        line = f"anicca.backend=tmpfs anicca.nix={device} anicca.system={SYSTEM} {parameters}\n"
        (self.work / "cmdline").write_text(line)
        argv: list[str | Path] = ["unshare", "--mount", "sh", "-ec", BOOT, "sh", self.tree, self.work, deed]
        try:
            done = process.run([*argv, MODULE_DIRECTORY], env={"PATH": PATH}, timeout_seconds=120)
        finally:
            process.run(["losetup", "--detach", device])
        return done.text.splitlines()

    @property
    def said(self) -> str:
        """What is not kept, and why it stopped, of the last boot."""
        return (self.work / "said").read_text()

    def cut(self) -> None:
        """The volume as it was while it was mounted."""
        shutil.move(self.work / "cut.img", self.volume)


@pytest.fixture(scope="session")
def tree() -> Path:
    return make_tree()


@pytest.fixture
def host(tree: Path, tmp_path: Path) -> Host:
    stage = tmp_path / "stage"
    (stage / "store").mkdir(parents=True)
    (tmp_path / "made").mkdir()
    make_host(stage / "store", tmp_path / "made")
    process.run(
        ["mke2fs", "-q", "-t", "ext4", "-N", "512", "-L", "anicca-nix", "-d", stage, tmp_path / "nix.img", "96m"]
    )
    return Host(tree=tree, work=tmp_path)


KEPT = "cat var/kept/seeded var/kept/mine 'var/one file' home/user/.keys/key 2> /dev/null"
WRITE = "echo a > var/kept/mine; echo b > 'var/one file'; echo c > home/user/.keys/key; sync"


def test_what_is_kept_is_there_after_a_clean_stop_and_after_a_cut(host: Host) -> None:
    assert host.boot(WRITE) == ["up"]
    assert host.boot(KEPT) == ["up", "seed", "a", "b", "c"]
    host.boot("echo d > var/kept/mine; sync; for n in $(seq 500); do echo $n > var/kept/$n; done")
    host.cut()
    assert host.boot(KEPT) == ["up", "seed", "d", "b", "c"]


def test_what_was_a_parent_gets_the_rest_once_when_it_comes_to_persist(host: Host) -> None:
    persist = f"{SYSTEM.lstrip('/')}/layout/persist"
    host.boot(f"{WRITE}; umount nix/store; cp {persist} run/persist; sed '1i d 0755 0 0 /var' run/persist > {persist}")
    found = host.boot(f"{KEPT}; cat var/beside; readlink var/.link; rm var/beside; ls nix/persist/.anicca/parents")
    assert found == ["up", "seed", "a", "b", "c", "beside", "nowhere", "home"]
    assert host.boot(f"{KEPT}; ls -A var") == ["up", "seed", "a", "b", "c", ".link", "kept", "one file"]


def test_a_volume_that_cannot_be_repaired_alone_stops_the_boot_and_says_why(host: Host) -> None:
    host.boot(WRITE)
    with host.volume.open("r+b") as file:
        file.write(bytes(8 * MIB))
    assert host.boot() == ["stopped"]
    assert "e2fsck -p" in host.said
    assert "the volume of /nix" in host.said


def test_on_a_full_volume_what_is_there_stays_and_what_is_new_is_refused(host: Host) -> None:
    host.boot(WRITE)
    host.boot("umount home/user/.keys; rm -r nix/persist/home; sync; n=0; while true > nix/$n; do n=$((n + 1)); done")
    host.boot("dd if=/dev/zero of=nix/0 bs=1k 2> /dev/null; sync")
    found = host.boot(f"{KEPT}; touch home/user/.keys/key || echo refused; ls -d home/user/.keys")
    assert found[:4] == ["up", "seed", "a", "b"]
    assert found[4:] == ["refused", "home/user/.keys"]
    assert "/home/user/.keys" in host.said.splitlines()


def test_what_the_guard_said_is_kept_if_it_was_out_of_the_ordinary(host: Host) -> None:
    listed = "ls nix/persist/.anicca/guard/*.json 2> /dev/null; cat nix/persist/.anicca/guard/*.json 2> /dev/null"
    assert host.boot(listed) == ["up"]
    up, path, facts = host.boot(listed, parameters="anicca.backend=none")
    assert (up, Path(path).suffix) == ("up", ".json")
    said: Any = json.loads(facts)
    assert said["reasons"] == ["no such backend here: none"]
    assert not parse_facts(facts).is_ordinary
