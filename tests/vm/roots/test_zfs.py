"""A root on ZFS, booted with the initrd of a declared host, whose module was built for its kernel."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.vm.roots.guest import MIB, run_in_initrd
from tests.vm.roots.pond import PARAMETERS, boot_files, build_pond
from tests.vm.system.hosts import CACHE, SECONDS, anicca

from anicca import process
from anicca.disks.image import NEW_VOLUME
from anicca.vm.machine import Machine, MachineConfig
from anicca.vm.probe import choose_accelerator
from anicca.vm.qemu import Disk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(3600)]

ZERO = "dd if=/dev/zero of=/dev/vda2 bs=1M 2> /dev/null; "


@pytest.fixture(scope="session")
def host() -> tuple[Path, Path]:
    """The file of a host with such a root, and its built system."""
    if os.geteuid() != 0:
        pytest.skip("trees are built as root")
    return build_pond()


@pytest.fixture(scope="session")
def zfs(bench: Any, host: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The machine of the other tests with that host's kernel and initrd."""
    kernel, initrd = boot_files(host[1], tmp_path_factory.mktemp("zfs"))
    return replace(bench, kernel=kernel, initrd=initrd, parameters=f"{bench.parameters} {PARAMETERS}")


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


GUARD = """\
modprobe zfs
printf 'anicca.root=/dev/vda2 %s\n' "$PARAMETERS" > /cmdline
export ANICCA_CMDLINE=/cmdline ANICCA_LATER=no ANICCA_KMSG=/dev/null ANICCA_SYSRQ=/dev/null
# A boot's guard, after what `$1` does to the root or its volume.
boot() {
    echo "case $2"
    (eval "$1") > /said 2>&1 || { cat /said; exit; }
    while umount /sysroot 2> /dev/null; do :; done
    zpool export -f anicca-root 2> /dev/null
    rm -rf /run/anicca
    (eval "$3") > /said 2>&1 || { cat /said; exit; }
    /usr/lib/anicca/guard.sh
    cat /run/anicca/guard.json
    ls -A /sysroot
    stat -c 'root %a %u:%g' /sysroot
    zfs list -H -r -t all -o name anicca-root | tr '\n' ' '
    echo
}
"""
SPOIL = """
set -u; . /usr/lib/anicca/common.sh; . /usr/lib/anicca/backend_zfs.sh
backend_spoil /dev/vda2 'anicca: the filesystem hung at the boot before'"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What may have happened before a boot, and what the guard says then."""

    name: str
    mounted: str = ":"
    """Done with the root on /sysroot and its pool imported."""
    offline: str = ":"
    """Done to the volume, /dev/vda2, when the pool is not."""
    outcome: str = "made-afresh"
    reason: str = ""


CASES = (
    Case(name="another filesystem", reason="import of the pool"),
    Case(name="nothing", outcome="blank"),
    Case(
        name="junk",
        mounted="cd /sysroot; mkdir -p a/b; echo x > a/b/c; chmod 700 .; chown 5:5 .; setfattr -n user.x -v y .; sync",
        outcome="blank",
    ),
    Case(
        name="full",
        mounted="""dd if=/dev/urandom of=/sysroot/big bs=1M 2> /dev/null; n=0
            while echo x > /sysroot/$n; do n=$((n + 1)); done 2> /dev/null; sync""",
        outcome="blank",
    ),
    Case(name="first two labels", offline="dd if=/dev/zero of=/dev/vda2 bs=1M count=2", outcome="blank"),
    Case(name="hung at the boot before", offline=SPOIL, reason="the filesystem hung at the boot before"),
    Case(name="garbage all over", offline="dd if=/dev/urandom of=/dev/vda2 bs=1M seek=4 count=248"),
    Case(name="a volume that is new", offline=ZERO + f"printf '{NEW_VOLUME}\\n' | dd of=/dev/vda2", outcome="made"),
    Case(
        name="datasets left",
        mounted="""
            zfs create anicca-root/root/below && zfs snapshot anicca-root/root/below@one && echo x > /sysroot/x
            zfs create -o mountpoint=/elsewhere 'anicca-root/a b' && zfs create -V 8M anicca-root/volume
            zfs snapshot -r anicca-root@all && zfs clone anicca-root/root@all anicca-root/clone
            zfs clone anicca-root/root@blank anicca-root/root/twin
            zfs bookmark anicca-root/root@all anicca-root/root#mark""",
        outcome="blank",
    ),
    Case(
        name="blank snapshot gone",
        mounted="zfs destroy anicca-root/root@blank",
        reason="there is no blank snapshot of ours",
    ),
    Case(
        name="another snapshot in its place",
        mounted="zfs rename anicca-root/root@blank mine; echo x > /sysroot/x; zfs snapshot anicca-root/root@blank",
        reason="there is no blank snapshot of ours",
    ),
    Case(name="the root gone", mounted="umount /sysroot; zfs rename anicca-root/root anicca-root/mine"),
    Case(name="a quota", mounted="zfs set quota=8M anicca-root/root", reason="the properties of the root are not"),
    Case(name="no programs", mounted="zfs set exec=off anicca-root", reason="the properties of the root are not"),
    Case(
        name="a snapshot held",
        mounted="zfs snapshot anicca-root/root@mine; zfs hold me anicca-root/root@mine",
        reason="what was made in the pool cannot be destroyed",
    ),
    Case(
        name="another pool of its name",
        offline="""zpool create -f -o cachefile=none -m none -t other anicca-root /dev/vda3 && zfs create other/data
            zpool export other; sha256sum < /dev/vda3 > /other""",
        outcome="blank",
    ),
)


def test_the_guard_leaves_a_blank_root_whatever_happened(zfs: Any, tmp_path: Path) -> None:
    """All in one machine: what ends between two boots is the pool, not the kernel."""
    disk = zfs.copy(tmp_path)
    with disk.open("r+b") as file:
        file.truncate(disk.stat().st_size + 128 * MIB)
    process.run(["sfdisk", "--quiet", "--relocate", "gpt-bak-std", disk])
    process.run(["sfdisk", "--quiet", "--append", disk], stdin=b'size=120MiB, name="other"\n')
    script = f"PARAMETERS='{PARAMETERS}'\n{GUARD}"
    for case in CASES:
        script += f"boot {shlex.quote(case.mounted)} {shlex.quote(case.name)} {shlex.quote(case.offline)}\n"
    script += "sha256sum < /dev/vda3 | cmp - /other && echo untouched"
    said = run_in_initrd(script, kernel=zfs.kernel, initrd=zfs.initrd, volume=disk, seconds=1500)
    assert said.pop() == "untouched"
    for case in CASES:
        at = said.index(f"case {case.name}")
        facts, *root = said[at + 1 : at + 4]
        guard = json.loads(facts)
        assert (guard["outcome"], guard["root"]) == (case.outcome, "zfs"), (case.name, guard)
        assert case.reason in " ".join(guard["reasons"]), (case.name, guard)
        assert root == ["root 755 0:0", "anicca-root anicca-root/root anicca-root/root@blank "], case.name
        assert case.outcome == "made-afresh" or guard["reasons"] == []


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
