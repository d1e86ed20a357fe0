"""A root on ZFS, booted with the initrd of a declared host, whose module was built for its kernel."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.vm.roots.guest import MIB, ROOT_MIB, ROOT_OFFSET, run_in_initrd
from tests.vm.system.hosts import CACHE, SECONDS, anicca

from anicca import process
from anicca.store import LocalStore, StorePath
from anicca.vm.lab import KernelFiles
from anicca.vm.machine import Machine, MachineConfig
from anicca.vm.probe import choose_accelerator
from anicca.vm.qemu import Disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(3600)]

HOST = """\
from anicca.declare import Disk, Host, Zfs
from anicca.declare.services import ssh

host = Host(
    name="pond",
    packages=["attr"],
    components=["contrib"],
    root=Zfs(),
    disk=Disk(esp="256M", nix="3G", root="1G"),
    persist=["/var/lib/kept"],
    parts=[ssh()],
)
"""
PARAMETERS = "anicca.backend=zfs anicca.rootopts=noatime anicca.mkfs=-O,compression=lz4"
LABEL = 256 << 10
IMPORTED = """\
modprobe zfs
zpool import -f -N -o cachefile=none -d /dev/vda2 anicca-root || exit
mkdir /mnt && mount -t zfs anicca-root/root /mnt || exit
"""


@pytest.fixture(scope="session")
def host() -> tuple[Path, Path]:
    """The file of a host with such a root, locked once, and its built system."""
    if os.geteuid() != 0:
        pytest.skip("trees are built as root")
    file = CACHE / "zfs/host.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HOST)
    anicca("lock", file)
    with LocalStore.open(CACHE / "store") as store:
        return file, store.physical(StorePath.parse(anicca("build", file).strip()))


@pytest.fixture(scope="session")
def zfs(bench: Any, host: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The machine of the other tests with that host's kernel and initrd."""
    _, system = host
    work = tmp_path_factory.mktemp("zfs")
    for name in ("kernel", "initrd"):
        # A link in the store's own terms.
        target = CACHE / "store" / (system / name).readlink().relative_to("/")
        process.run(["cp", target, work / name])
    kernel = KernelFiles(image=work / "kernel", modules=work)
    return replace(bench, kernel=kernel, initrd=work / "initrd", parameters=f"{bench.parameters} {PARAMETERS}")


@pytest.fixture(scope="session")
def booted(zfs: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A disk on which the root has been made, with junk all over it, and what that boot said."""
    disk = zfs.copy(tmp_path_factory.mktemp("booted"))
    return disk, zfs.boot(disk, deed="junk")


def test_a_host_boots_blank(zfs: Any, booted: tuple[Path, Any], tmp_path: Path) -> None:
    disk, one = replace(zfs, disk=booted[0]).copy(tmp_path), booted[1]
    two = zfs.boot(disk, deed="cut", cut=True)
    three = zfs.boot(disk, deed="reset")
    four = zfs.boot(disk, deed="reboot")
    five = zfs.boot(disk)
    words = (one, two, three, four, five)
    assert [word.guard["outcome"] for word in words] == ["made-afresh", "blank", "blank", "blank", "blank"]
    assert {word.guard["root"] for word in words} == {"zfs"}
    assert [word.guard["reasons"] for word in words[1:]] == [[], [], [], []]
    assert len({word.lines["digest"] for word in (one, five)}) == 1
    assert one.lines["machine"] == five.lines["machine"]
    assert five.lines["kept"] == "5 5 seed"


def nothing(_: Path) -> None:
    pass


def write(offset: int, content: bytes, disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(ROOT_OFFSET + offset)
        file.write(content)


def zero_labels(disk: Path) -> None:
    for offset in (0, ROOT_MIB * MIB - 2 * LABEL):
        write(offset, bytes(2 * LABEL), disk)


def other_pool(disk: Path) -> None:
    """A partition beside the root's, for another pool of its name."""
    with disk.open("r+b") as file:
        file.truncate(disk.stat().st_size + 128 * MIB)
    process.run(["sgdisk", "-e", disk])
    process.run(["sfdisk", "--quiet", "--append", disk], stdin=b'size=120MiB, name="other"\n')


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that may have happened before a boot, and what the guard may say about it."""

    name: str
    damage: Callable[[Path], None] = nothing
    rescue: str = ""
    """Done by a rescue system, with the root at /mnt and its pool imported."""
    deed: str = ""
    outcomes: tuple[str, ...] = ("made-afresh",)
    reason: str = ""


CASES = (
    Case(name="full", deed="full", outcomes=("blank",)),
    Case(name="written to elsewhere", rescue="echo x > /mnt/x; chmod 700 /mnt; sync", outcomes=("blank",)),
    Case(name="first two labels", damage=partial(write, 0, bytes(2 * MIB)), outcomes=("blank", "made-afresh")),
    Case(name="all labels", damage=zero_labels, reason="import of the pool"),
    Case(
        name="garbage all over",
        damage=partial(write, 4 * MIB, random.Random(4).randbytes((ROOT_MIB - 8) * MIB)),
    ),
    Case(
        name="datasets left",
        rescue="""
            zfs create anicca-root/root/below && zfs snapshot anicca-root/root/below@one && echo x > /mnt/x
            zfs create -o mountpoint=/elsewhere 'anicca-root/a b' && zfs create -V 8M anicca-root/volume
            zfs snapshot -r anicca-root@all && zfs clone anicca-root/root@all anicca-root/clone
            zfs clone anicca-root/root@blank anicca-root/root/twin
            zfs bookmark anicca-root/root@all anicca-root/root#mark
            zfs list -H -t all -o name -r anicca-root | wc -l""",
        outcomes=("blank",),
    ),
    Case(
        name="blank snapshot gone",
        rescue="zfs destroy anicca-root/root@blank",
        reason="there is no blank snapshot of ours",
    ),
    Case(
        name="another snapshot in its place",
        rescue="zfs destroy anicca-root/root@blank; zfs snapshot anicca-root/root@blank",
        reason="there is no blank snapshot of ours",
    ),
    Case(name="a quota", rescue="zfs set quota=8M anicca-root/root", reason="the properties of the root are not"),
    Case(name="no programs", rescue="zfs set exec=off anicca-root", reason="the properties of the root are not"),
    Case(
        name="a snapshot held",
        rescue="zfs snapshot anicca-root/root@mine; zfs hold me anicca-root/root@mine",
        reason="what was made in the pool cannot be destroyed",
    ),
    Case(
        name="another pool of its name",
        damage=other_pool,
        rescue="""umount /mnt; zpool export anicca-root; zpool create -f -o cachefile=none -m none anicca-root /dev/vda3
            zfs create anicca-root/data && zpool export anicca-root && sha256sum < /dev/vda3""",
        outcomes=("blank",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_host_is_up_after(case: Case, zfs: Any, booted: tuple[Path, Any], tmp_path: Path) -> None:
    disk, first = replace(zfs, disk=booted[0]).copy(tmp_path), booted[1]
    boots = 2
    if case.deed:
        assert zfs.boot(disk, deed=case.deed, seconds=900).guard["outcome"] == "blank"
        boots += 1
    case.damage(disk)
    said = rescue(zfs, disk, case.rescue) if case.rescue else []
    word = zfs.boot(disk, deed="junk")
    assert word.guard["outcome"] in case.outcomes, (word.guard, said)
    assert word.guard["root"] == "zfs"
    assert case.reason in " ".join(word.guard["reasons"]), word.guard
    assert word.guard["outcome"] == "made-afresh" or word.guard["reasons"] == []
    assert word.lines["digest"] == first.lines["digest"]
    assert word.lines["machine"] == first.lines["machine"]
    assert word.lines["kept"] == f"{boots} {boots} seed"
    if case.damage is other_pool:
        assert rescue(zfs, disk, "sha256sum < /dev/vda3") == said[-1:]
    assert zfs.boot(disk).guard["outcome"] == "blank"


def rescue(zfs: Any, disk: Path, script: str) -> list[str]:
    return run_in_initrd(IMPORTED + script, kernel=zfs.kernel, initrd=zfs.initrd, volume=disk, seconds=600)


def test_without_its_volume_the_root_is_in_memory(zfs: Any, booted: tuple[Path, Any], tmp_path: Path) -> None:
    disk, first = replace(zfs, disk=booted[0]).copy(tmp_path), booted[1]
    process.run(["sfdisk", "--quiet", "--part-uuid", disk, "2", "33333333-3333-5333-8333-333333333333"])
    word = zfs.boot(disk)
    assert (word.guard["outcome"], word.guard["root"]) == ("fell-back", "tmpfs")
    assert "has not appeared" in word.guard["reasons"][0]
    assert word.guard["waited_seconds"] + word.guard["seconds"] < 60
    assert word.lines["kept"] == "2 2 seed"
    assert word.lines["machine"] == first.lines["machine"]


def test_a_declared_host_is_up_and_forgets(host: tuple[Path, Path], tmp_path: Path) -> None:
    """The whole of it: a new disk, a person's files, the power cut."""
    file, _ = host
    anicca("image", "-o", tmp_path / "disk.raw", file)
    config = MachineConfig(
        name="anicca-pond", disks=(Disk(path=tmp_path / "disk.raw"),), accelerator=choose_accelerator(CACHE)
    )
    with Machine(config, run_dir=tmp_path) as machine:
        machine.start()
        machine.wait_for_ssh(timeout_seconds=SECONDS)

        def ask(command: str) -> str:
            return machine.run(command, timeout_seconds=SECONDS).text.strip()

        assert ask("cat /run/anicca/guard.json | grep -o made") == "made"
        assert ask("findmnt -n -o FSTYPE,SOURCE /").split() == ["zfs", "anicca-root/root"]
        assert ask("systemctl is-system-running --wait") == "running"
        # ACLs are needed by the journal, attributes by capabilities.
        assert ask("touch /a && setfattr -n user.x -v y /a && getfattr --only-values -n user.x /a") == "y"
        ask("echo junk > /junk; echo kept > /var/lib/kept/file; chmod 700 /; sync")
        machine.cut_power()
        machine.start()
        machine.wait_for_ssh(timeout_seconds=SECONDS)
        assert '"outcome": "blank", "reasons": []' in ask("cat /run/anicca/guard.json")
        assert ask("ls /junk /a 2> /dev/null; stat -c %a /; cat /var/lib/kept/file").split() == ["755", "kept"]
