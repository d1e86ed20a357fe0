"""The guard as it is exported: a Debian host whose initrd is not ours, booted with it, forgets."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.vm.roots.guest import (
    NIX_PARTUUID,
    Bench,
    make_tree,
    put_busybox,
    put_disk,
    run_in_initrd,
    run_in_tree,
)

from anicca import process
from anicca.roots.export.write import export
from anicca.vm.lab import find_kernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3600), pytest.mark.nightly]

HOST = r"""#!/bin/busybox sh
# A host kept by other means: one busybox, an fstab, a volume of its own for what is to be kept.
exec < /dev/null > /dev/ttyS1 2>&1
export PATH=/bin
[ -e /proc/cmdline ] || mount -t proc proc /proc
for word in $(cat /proc/cmdline); do case $word in deed=*) deed=${word#*=} ;; esac; done
echo "guard $(cat /run/anicca/guard.json 2> /dev/null || echo '{}')"
echo "type $(awk '$2 == "/" {print $3}' /proc/mounts | tail -n 1)"
echo "left $(find /junk /home -mindepth 1 2> /dev/null | tr '\n' ' ')"
echo "motd $(cat /etc/motd)"
echo "fstab $(grep -v '^#' /etc/fstab | tr '\n' ';')"
echo "lower $(touch /run/anicca/lower/x 2> /dev/null && echo written)"
if [ $deed = junk ]; then
    mkdir /junk /home/person; echo 1 > /junk/1; echo changed > /etc/motd; rm -r /var/lib/managed; sync
fi
echo "managed $(ls /var/lib)"
echo end
umount -a -r 2> /dev/null
poweroff -f
"""
INITRDS = {
    "dracut": ("dracut", "--force", "--no-hostonly", "--tmpdir", "/scratch", "--kver", "{}", "/scratch/initrd"),
    "initramfs-tools": ("mkinitramfs", "-o", "/scratch/initrd", "{}"),
}
OWN_ROOT = f"root=PARTUUID={NIX_PARTUUID} rootfstype=ext4 ro init=/sbin/init"


LUKS_UUID = "55555555-5555-4555-8555-555555555555"
STACK_PACKAGES = ("cryptsetup-bin", "lvm2", "mdadm", "systemd-cryptsetup")
STACK_FILES = {
    "etc/crypttab": f"volume UUID={LUKS_UUID} /etc/keys/volume.key luks,nofail,x-initrd.attach\n",
    "etc/dracut.conf.d/anicca.conf": 'install_items+=" /etc/crypttab /etc/keys/volume.key cryptsetup "\n',
    "etc/keys/volume.key": "not very secret",
}
MAKE_STACK = rf"""
set -e
modprobe -a raid1 dm_mod dm_crypt
dd if=/dev/zero of=/dev/vda2 bs=1M count=1 # the f2fs that was there
mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --bitmap=internal --assume-clean \
    /dev/vda2 /dev/vda3
key=/etc/keys/volume.key
cryptsetup luksFormat --batch-mode --type luks2 --uuid {LUKS_UUID} --key-file $key \
    --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/md0
cryptsetup open --key-file $key /dev/md0 volume
lvm pvcreate /dev/mapper/volume
lvm vgcreate group /dev/mapper/volume
# No udev is there to make its node.
lvm lvcreate --config 'activation/udev_rules=0 activation/udev_sync=0' --name root --extents 100%FREE group
mkfs.f2fs -q -f -l anicca-root /dev/group/root
echo "uuid $(cat /sys/class/block/dm-1/dm/uuid)"
lvm vgchange -an group
cryptsetup close volume
mdadm --stop /dev/md0
sync
"""


@pytest.fixture(scope="module")
def tree() -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root can make a Debian tree with its owners")
    return make_tree("initramfs-tools", "systemd-sysv")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("dev", "proc", "sys", "run", "tmp", "etc", "home", "usr/bin", "usr/sbin", "var/lib/managed"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    put_busybox(root / "usr/bin")
    (root / "usr/sbin/init").write_text(HOST)
    (root / "usr/sbin/init").chmod(0o755)
    (root / "etc/os-release").write_text("ID=debian\n")
    (root / "etc/motd").write_text("as installed\n")
    (root / "etc/fstab").write_text("UUID=x / ext4 errors=remount-ro 0 1\ntmpfs /tmp tmpfs nosuid 0 0\n")
    disk = tmp_path / "disk.img"
    put_disk(disk, root, tmp_path)
    return disk


def make_other_initrd(kind: str, tree: Path, output: Path, *, files: Mapping[str, str] | None = None) -> None:
    """The initrd that the host's own tool makes when an export has been copied onto it, as its README says.

    `files` are the host's besides, by their paths below its root.
    """
    command: Sequence[str] = [word.format(find_kernel(tree).modules.name) for word in INITRDS[kind]]

    def lay(upper: Path) -> None:
        for name, content in (files or {}).items():
            (upper / name).parent.mkdir(parents=True, exist_ok=True)
            (upper / name).write_text(content)
        written = output.parent / "export"
        export(kind, written)
        (written / "README.md").unlink()
        shutil.copytree(written, upper, dirs_exist_ok=True)

    run_in_tree(tree, lay, command, output)


@pytest.mark.parametrize("kind", INITRDS)
def test_a_host_kept_by_other_means_forgets(kind: str, tree: Path, disk: Path, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    make_other_initrd(kind, tree, initrd)
    bench = Bench(kernel=find_kernel(tree), initrd=initrd, disk=disk)
    first = bench.boot(disk, deed="junk", parameters=OWN_ROOT)
    assert first.guard["outcome"] == "blank"
    assert (first.lines["type"], first.lines["lower"], first.lines["managed"]) == ("overlay", "", "")
    assert first.lines["fstab"] == "tmpfs /tmp tmpfs nosuid 0 0;"
    second = bench.boot(disk, parameters=OWN_ROOT)
    assert (second.guard["outcome"], second.guard["reasons"]) == ("blank", [])
    assert (second.lines["left"], second.lines["motd"], second.lines["managed"]) == ("", "as installed", "managed")
    # A partition that is not there: the host is up all the same, in memory, and that is said.
    lost = bench.boot(disk, parameters=f"{OWN_ROOT} anicca.root=PARTUUID=44444444-4444-5444-8444-444444444444")
    assert (lost.guard["outcome"], lost.lines["type"], lost.lines["motd"]) == ("fell-back", "overlay", "as installed")
    # Without its parameter nothing of it runs.
    plain = replace(bench, parameters="console=ttyS0 panic=-1").boot(disk, parameters=OWN_ROOT)
    assert (plain.guard, plain.lines["type"], plain.lines["left"]) == ({}, "ext4", "")
    assert plain.lines["fstab"].startswith("UUID=x / ext4")


def test_a_volume_on_lvm_on_luks_on_a_mirror(disk: Path, tmp_path: Path) -> None:
    """None of it on this machine, whose kernel may have neither: the initrd that is to find it makes it."""
    tree = make_tree("systemd-sysv", *STACK_PACKAGES)
    kernel, initrd = find_kernel(tree), tmp_path / "initrd"
    make_other_initrd("dracut", tree, initrd, files=STACK_FILES)
    halves = b'size=128MiB, name="one"\nname="other"\n'
    process.run(["sfdisk", "--quiet", "--delete", disk, "2"])
    process.run(["sfdisk", "--quiet", "--append", disk], stdin=halves)
    said = run_in_initrd(MAKE_STACK, kernel=kernel, initrd=initrd, volume=disk, seconds=300)
    (uuid,) = (line.removeprefix("uuid ") for line in said if line.startswith("uuid LVM-"))
    bench = Bench(kernel=kernel, initrd=initrd, disk=disk)
    for number, name in enumerate(("/dev/group/root", f"/dev/disk/by-id/dm-uuid-{uuid}")):
        word = bench.boot(disk, deed="junk", parameters=f"{OWN_ROOT} anicca.root={name} anicca.mkfs=")
        assert (number, word.guard["outcome"], word.guard["reasons"]) == (number, "blank", [])
        assert word.guard["device"] == name
        assert (word.lines["type"], word.lines["left"], word.lines["motd"]) == ("overlay", "", "as installed")
    # Without both halves nothing of it can appear. The host is up, in memory, and says why.
    process.run(["sfdisk", "--quiet", "--delete", disk, "2", "3"])
    lost = bench.boot(disk, parameters=f"{OWN_ROOT} anicca.root=/dev/group/root")
    assert (lost.guard["outcome"], lost.lines["type"], lost.lines["motd"]) == ("fell-back", "overlay", "as installed")
    assert lost.guard["reasons"] == ["/dev/group/root has not appeared in 45 seconds"]
    assert lost.guard["waited_seconds"] + lost.guard["seconds"] < 60
