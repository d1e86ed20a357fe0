"""The guard on f2fs: whatever happened to the root, the host is up, the root blank, what is kept is whole."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.vm.roots.guest import program

from anicca import process
from anicca.vm.lab import LabError, run_in_lab
from anicca.vm.qemu import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3600)]

MIB = 1 << 20
SECRET = b"nobody is to read this"
ROOT_MIB = 256


def nothing(_: Any) -> None:
    pass


def zero_superblocks(volume: Any) -> None:
    volume.write(0, bytes(8192))


def zero_first_superblock(volume: Any) -> None:
    volume.write(0, bytes(4096))


def zero_all(volume: Any) -> None:
    for block in range(0, ROOT_MIB * 256, 256):
        volume.write(block, bytes(MIB))


def zero_active_head(volume: Any) -> None:
    volume.write(volume.active_pack()[0], bytes(4096))


def zero_both_heads(volume: Any) -> None:
    first, _ = volume.area("cp")
    volume.write(first, bytes(4096))
    volume.write(first + 512, bytes(4096))


def zero_summaries(volume: Any) -> None:
    block, length = volume.active_pack()
    for at in range(1, length - 1):
        volume.write(block + at, bytes(4096))


def zero_nat(volume: Any) -> None:
    start, count = volume.area("nat")
    volume.write(start, bytes(count * 4096))


def garbage(area: str) -> Callable[[Any], None]:
    def damage(volume: Any) -> None:
        start, count = volume.area(area)
        volume.write(start, random.Random(area).randbytes(count * 4096))

    return damage


def garble_root_directory(volume: Any) -> None:
    volume.write(volume.root_directory(), random.Random("directory").randbytes(4096))


def zero_root_inode(volume: Any) -> None:
    start, count = volume.area("main")
    for block in range(start, start + count):
        footer = volume.read(block)[-24:]
        if footer[:8] == (3).to_bytes(4, "little") * 2:
            volume.write(block, bytes(4096))


def ext4_in_its_place(volume: Any) -> None:
    other = volume.disk.with_name("other.img")
    process.run(["mke2fs", "-q", "-t", "ext4", other, f"{ROOT_MIB}m"])
    zero_all(volume)
    with other.open("rb") as file:
        for block in range(0, ROOT_MIB * 256, 256):
            volume.write(block, file.read(MIB))


def shrink(volume: Any) -> None:
    process.run(["sfdisk", "--quiet", "-N", "2", volume.disk], stdin=b",%d\n" % (100 * 2048))


def other_name(volume: Any) -> None:
    """A filesystem that is not ours to make, and not blank either."""
    process.run(["sfdisk", "--quiet", "--part-label", volume.disk, "2", "someone-elses"])
    zero_superblocks(volume)


def missing(volume: Any) -> None:
    uuid = "33333333-3333-5333-8333-333333333333"
    process.run(["sfdisk", "--quiet", "--part-uuid", volume.disk, "2", uuid])


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that may have happened before a boot, and what the guard may say about it."""

    name: str
    damage: Callable[[Any], None] = nothing
    """Done to the volume in the disk's file."""
    rescue: str = ""
    """Done by a rescue system that mounts /dev/vda2 with f2fs."""
    resets: bool = False
    """The rescue system resets the machine itself."""
    unreadable: Callable[[Any], Sequence[int]] | None = None
    """Blocks of the volume that cannot be read at the boot."""
    deed: str = ""
    """Done by the host itself, in the boot before."""
    parameters: str = ""
    outcomes: tuple[str, ...] = ("blank",)
    hangs: bool = False
    """The guard finds it hanging and reboots."""
    again: str = ""
    """What the guard says at the boot after that one, where it is worth another boot."""
    nightly: bool = True


STICKY = "mount -t f2fs /dev/vda2 /mnt && "
CASES = (
    # The main job's test has these three on the whole example host.
    Case(name="power off"),
    Case(name="clean reboot", deed="reboot"),
    Case(name="reset", deed="reset"),
    Case(name="mounted without the option", rescue=STICKY + "echo x > /mnt/x", outcomes=("made-afresh",)),
    Case(
        name="mounted without the option, fsync, reset",
        rescue=STICKY
        + "dd if=/bin/busybox of=/mnt/x bs=4096 count=1 conv=fsync && echo b > /proc/sysrq-trigger; sleep 9",
        resets=True,
        outcomes=("made-afresh",),
    ),
    Case(name="both superblocks", damage=zero_superblocks, outcomes=("made-afresh",)),
    Case(name="many files, the false alarm of fsck", deed="many"),
    Case(name="full, no inodes left", deed="full"),
    Case(name="remounted with checkpoints", deed="sticky", outcomes=("made-afresh",)),
    Case(name="mode of / alone", rescue=STICKY + "chmod 700 /mnt", outcomes=("made-afresh",)),
    Case(name="attribute of / alone", rescue=STICKY + "setfattr -n user.x -v y /mnt", outcomes=("made-afresh",)),
    Case(name="first superblock", damage=zero_first_superblock),
    Case(name="whole volume", damage=zero_all, outcomes=("made-afresh",), again="blank"),
    Case(name="active checkpoint", damage=zero_active_head),
    Case(name="both checkpoints", damage=zero_both_heads, outcomes=("made-afresh",)),
    Case(name="checkpoint summaries", damage=zero_summaries, outcomes=("made-afresh",)),
    Case(name="NAT zeroed", damage=zero_nat, outcomes=("blank", "made-afresh", "fell-back")),
    Case(name="NAT garbage", damage=garbage("nat"), hangs=True, outcomes=("made-afresh",), again="blank"),
    Case(name="SIT garbage", damage=garbage("sit"), outcomes=("made-afresh",), nightly=False),
    Case(name="SSA garbage", damage=garbage("ssa"), outcomes=("blank", "made-afresh")),
    Case(name="root inode", damage=zero_root_inode, outcomes=("made-afresh",)),
    Case(name="root directory", damage=garble_root_directory, outcomes=("made-afresh",)),
    Case(name="ext4 in its place", damage=ext4_in_its_place, outcomes=("made-afresh",)),
    Case(name="shrunk", damage=shrink, outcomes=("blank", "made-afresh")),
    Case(name="missing", damage=missing, outcomes=("fell-back",), nightly=False),
    Case(name="another partition's name", damage=other_name, outcomes=("fell-back",)),
    Case(name="read errors, superblocks", unreadable=lambda _: (0, 1), outcomes=("fell-back",)),
    # udev looks for signatures there, and gives no name to what it cannot read.
    Case(name="read errors, where udev looks", unreadable=lambda v: (v.area("cp")[0],), outcomes=("fell-back",)),
    Case(
        name="read errors, active checkpoint",
        unreadable=lambda v: (v.active_pack()[0] + 1,),
        outcomes=("made-afresh", "fell-back"),
    ),
    Case(name="read errors, root inode", unreadable=lambda v: (v.root_inode(),), outcomes=("made-afresh", "fell-back")),
    Case(name="ro on the command line", parameters="ro", again="blank"),
    Case(name="options that f2fs refuses", parameters="anicca.rootopts=no_such_option"),
    Case(name="checkpoint=enable on the command line", parameters="anicca.rootopts=checkpoint=enable", again="blank"),
    Case(name="no such backend", parameters="anicca.backend=reiserfs", outcomes=("fell-back",)),
)


def check(word: Any, first: Any, *, boots: int) -> None:
    """What must hold whatever happened."""
    assert word.lines["digest"] == first.lines["digest"]
    assert word.lines["machine"] == first.lines["machine"]
    assert word.lines["kept"] == f"{boots} {boots} seed"
    assert word.lines["modes"].split() == ["750:5:6", "640:0:0", "700:7:8", "755:7:8"]
    assert word.lines["unkept"] == ""
    assert "writable" not in word.lines
    assert word.lines["type"] == word.guard["root"]
    if word.guard["outcome"] == "fell-back":
        assert word.guard["root"] == "tmpfs"
        assert "THE ROOT IS IN MEMORY" in word.console
    else:
        assert word.guard["root"] == "f2fs"
        assert ",checkpoint=disable" in word.guard["options"]
    if word.guard["outcome"] == "blank":
        assert word.guard["seconds"] < 30
    else:
        assert word.guard["reasons"]


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=[pytest.mark.nightly] if c.nightly else []) for c in CASES],
)
def test_the_host_boots_blank_after(case: Case, bench: Any, booted: Any, volume_type: Any, tmp_path: Path) -> None:
    machine, first = booted
    disk = machine.copy(tmp_path)
    boots = 2
    if case.deed:
        assert bench.boot(disk, deed=case.deed).guard["outcome"] == "blank"
        boots += 1
    volume = volume_type(disk=disk)
    case.damage(volume)
    if case.resets:
        with pytest.raises(LabError, match="did not reach its script's end"):
            run_in_lab(case.rescue, kernel=bench.kernel, disks=[Disk(path=disk)])
    elif case.rescue:
        run_in_lab(
            f"{case.rescue} && sync && umount /mnt",
            kernel=bench.kernel,
            disks=[Disk(path=disk)],
            files=program("setfattr"),
        )
    if case.hangs:
        words, console, _ = bench.run(disk)
        assert words == ""
        assert "THE ROOT HANGS" in console
    sectors = (
        [volume.sector(block) + n for block in case.unreadable(volume) for n in range(8)] if case.unreadable else []
    )
    word = bench.boot(disk, parameters=case.parameters, unreadable=sectors)
    if case.hangs:
        assert "anicca: the filesystem hung at the boot before" in word.guard["reasons"]
    assert word.guard["outcome"] in case.outcomes, word.guard
    check(word, first, boots=boots)
    if case.again:
        word = bench.boot(disk)
        assert word.guard["outcome"] == case.again, word.guard
        check(word, first, boots=boots + 1)


def test_the_power_is_cut_while_it_writes(bench: Any, tmp_path: Path) -> None:
    disk = bench.copy(tmp_path)
    first = bench.boot(disk, deed="cut", cut=True)
    second = bench.boot(disk)
    assert second.guard["outcome"] == "blank", second.guard
    assert second.guard["reasons"] == []
    check(second, first, boots=2)


@pytest.mark.nightly
def test_the_power_is_cut_at_twenty_random_moments(paused: Any, tmp_path: Path) -> None:
    machine, state = paused
    disk = machine.copy(tmp_path)
    chance = random.Random(20)
    first = machine.boot(disk, deed="cut", cut=True, state=state)
    for boots in range(2, 22):
        word = machine.boot(disk, deed="cut", cut=True, delay_seconds=chance.uniform(0, 4), state=state)
        assert word.guard["outcome"] == "blank", word.guard
        assert word.guard["reasons"] == []
        check(word, first, boots=boots)


@pytest.mark.nightly
def test_a_disk_that_appears_late_is_waited_for(bench: Any, tmp_path: Path) -> None:
    word = bench.boot(bench.copy(tmp_path), late_seconds=40)
    assert (word.guard["outcome"], word.guard["reasons"]) == ("blank", [])
    assert word.guard["waited_seconds"] > 10


@pytest.mark.nightly
def test_a_disk_on_nvme(bench: Any, tmp_path: Path) -> None:
    disk = bench.copy(tmp_path)
    first = bench.boot(disk, deed="junk", driver="nvme,serial=root")
    word = bench.boot(disk, driver="nvme,serial=root")
    assert (word.guard["outcome"], word.guard["reasons"]) == ("blank", [])
    check(word, first, boots=2)


@pytest.mark.nightly
def test_what_is_forgotten_can_be_erased(bench: Any, tmp_path: Path) -> None:
    disk = bench.copy(tmp_path)
    bench.boot(disk, deed="secret")
    bench.boot(disk)
    assert SECRET in disk.read_bytes()
    word = bench.boot(disk, parameters="anicca.forget=erase")
    assert word.guard["outcome"] == "blank", word.guard
    assert SECRET not in disk.read_bytes()
    assert bench.boot(disk).guard["outcome"] == "blank"


@pytest.mark.nightly
def test_a_mount_without_the_option_is_noticed_when_nothing_is_left_of_it(bench: Any, tmp_path: Path) -> None:
    """No false alarm first: the checkpoint is recorded at the second boot, and the same at the two after it."""
    disk = bench.copy(tmp_path)
    for deed in ("junk", "many", "junk", "full"):
        word = bench.boot(disk, deed=deed)
        assert (word.guard["outcome"], word.guard["reasons"]) == ("blank", [])
    run_in_lab(
        STICKY + "touch /mnt/x && sync && rm /mnt/x && umount /mnt", kernel=bench.kernel, disks=[Disk(path=disk)]
    )
    word = bench.boot(disk)
    assert word.guard["outcome"] == "blank"
    assert "checkpoints were made on it since" in word.guard["reasons"][0]
    for _ in range(3):
        assert bench.boot(disk).guard["reasons"] == []
