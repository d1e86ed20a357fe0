from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from anicca.disks.esp import BOOT_MANAGER_IN_TREE, BootEntry, esp_files
from anicca.disks.image import measure_contents, read_boot_file, write_image
from anicca.disks.plan import MIB, DiskPlan, partition_uuid, plan_disk
from anicca.system.tools import toolchain_tools
from anicca.vm.lab import LabError, find_kernel, run_in_lab
from anicca.vm.machine import HostKeyChangedError, Machine, MachineConfig, MachineError
from anicca.vm.probe import choose_accelerator, firmware_starts
from anicca.vm.qemu import Disk
from anicca.vm.ssh import make_key

if TYPE_CHECKING:
    from pathlib import Path

    from anicca.vm.qemu import Accelerator

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

HOST = "vmtest"


@pytest.fixture(scope="module")
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> Accelerator:
    return choose_accelerator(tmp_path_factory.mktemp("accelerator"))


def make_image(tree: Path, output: Path) -> DiskPlan:
    """The whole tree as the filesystem on `nix`, booted from there: an ordinary root, for a machine without a guard."""
    kernel = find_kernel(tree)
    entry = BootEntry(
        host=HOST,
        generation=1,
        description="a test",
        kernel=read_boot_file(kernel.image),
        initrd=read_boot_file(next((tree / "boot").glob("initrd.img-*"))),
        options=f"root=PARTUUID={partition_uuid(HOST, 'nix')} rw console=ttyS0 no_timer_check",
    )
    files = esp_files([entry], boot_manager=tree / BOOT_MANAGER_IN_TREE)
    plan = plan_disk(
        host=HOST,
        esp_bytes=256 * MIB,
        nix_bytes=2048 * MIB,
        root_bytes=512 * MIB,
        contents=measure_contents(nix_root=tree, esp_files=files),
    )
    # A tree has files that are not root's; here they may keep their owners.
    tools = replace(toolchain_tools(tree), shows_root_as_owner=True)
    write_image(plan, output=output, nix_root=tree, esp_files=files, tools=tools)
    return plan


@pytest.fixture(scope="module")
def image(debian_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("image") / "disk.img"
    make_image(debian_tree, output)
    return output


def boot_id(machine: Machine) -> str:
    return machine.run("cat /proc/sys/kernel/random/boot_id").text.strip()


def test_firmware_starts_under_emulation_and_in_no_time_does_not() -> None:
    assert firmware_starts("tcg", timeout_seconds=120)
    assert not firmware_starts("tcg", timeout_seconds=0.2)


def test_a_machine_from_firmware_to_power_off(
    image: Path, debian_tree: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    unit = b"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/touch /run/extra-unit-ran\n"
    config = MachineConfig(
        name=HOST,
        disks=(Disk(path=image),),
        accelerator=accelerator,
        credentials={"systemd.extra-unit.extra.service": unit},
        boot_parameters=("anicca.test=1,2",),
    )
    with Machine(config, run_dir=tmp_path / "run") as machine:
        machine.start()
        machine.wait_for_console(r"Linux version \d", timeout_seconds=120)
        machine.wait_for_ssh()

        # By systemd-boot, from our partitions, with our key and nobody else's.
        command_line = machine.run("cat /proc/cmdline").text.split()
        assert f"root=PARTUUID={partition_uuid(HOST, 'nix')}" in command_line
        assert "anicca.test=1,2" in command_line
        assert machine.run("findmnt -no SOURCE,FSTYPE /").text.split() == ["/dev/vda2", "ext4"]
        assert machine.run("cat /root/.ssh/authorized_keys").stdout == make_key(tmp_path / "run")[1]
        machine.run("systemctl start extra.service && test -e /run/extra-unit-ran")
        assert machine.run("tr a-z A-Z", stdin=b"by stdin").stdout == b"BY STDIN"

        # A command that fails says so, with what it printed and the console.
        with pytest.raises(MachineError, match="ended with status 7: to stderr") as caught:
            machine.run("echo to stderr >&2; exit 7")
        assert "Linux version" in machine.console_text()
        assert caught.value.detail
        assert machine.run("exit 7", check=False).status == 7
        with pytest.raises(MachineError, match="did not end within 2 s"):
            machine.run("sleep 60", timeout_seconds=2)

        # A reboot is another boot of the same host.
        before, pinned = boot_id(machine), machine.host_keys()
        assert b"ssh-ed25519" in pinned
        machine.run("echo kept > /var/lib/kept && sync")
        machine.reboot()
        assert "Reached target" not in machine.console_text()
        machine.wait_for_ssh()
        assert boot_id(machine) != before
        assert machine.host_keys() == pinned

        # Another host key than before is not taken.
        other = make_key(tmp_path)[1].decode().rsplit(" ", 1)[0]
        (tmp_path / "run/known_hosts").write_text(f"anicca-guest {other}\n")
        machine._hang_up()
        with pytest.raises(HostKeyChangedError, match="another host key"):
            machine.wait_for_ssh(timeout_seconds=60)
        machine.forget_host_keys()
        machine.wait_for_ssh(timeout_seconds=60)
        assert machine.host_keys() == pinned

        machine.power_off()
        assert not machine.is_running()
        with pytest.raises(MachineError, match="does not run"):
            machine.run("true")

    # Seen from outside, with the guest's own kernel: what was synced is there.
    seen = run_in_lab(
        "mount -t ext4 /dev/vda2 /mnt && cat /mnt/var/lib/kept && umount /mnt",
        kernel=find_kernel(debian_tree),
        disks=[Disk(path=image)],
        accelerator=accelerator,
    )
    assert seen.output == "kept\n"


def test_waits_end_and_power_can_be_cut(image: Path, accelerator: Accelerator, tmp_path: Path) -> None:
    config = MachineConfig(name=HOST, disks=(Disk(path=image, discard_writes=True),), accelerator=accelerator)
    with Machine(config, run_dir=tmp_path) as machine:
        machine.start()
        assert machine._child is not None
        pid = machine._child.pid
        machine.wait_for_console(r"Linux version \d", timeout_seconds=120)
        began = time.monotonic()
        with pytest.raises(MachineError, match="did not show 'no such words' within 1 s") as caught:
            machine.wait_for_console("no such words", timeout_seconds=1)
        assert time.monotonic() - began < 5
        # The console's last lines: how far the kernel is by then depends on the machine.
        assert re.search(r"^\[ +\d+\.\d{6}\] ", caught.value.detail or "", re.MULTILINE)
        machine.reset()
        assert "Linux version" not in machine.console_text()
        machine.wait_for_console(r"Linux version \d", timeout_seconds=120)
        sockets = machine._sockets
        machine.cut_power()
        assert not machine.is_running()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(MachineError, match="switched off before the console showed"):
            machine.wait_for_console("anything else", timeout_seconds=60)
        assert (tmp_path / "console.log").read_bytes().count(b"Linux version ") == 2
    assert sockets is not None
    assert not sockets.exists()


def test_a_disk_that_is_not_there_is_said(accelerator: Accelerator, tmp_path: Path) -> None:
    config = MachineConfig(name=HOST, disks=(Disk(path=tmp_path / "nowhere.img"),), accelerator=accelerator)
    with Machine(config, run_dir=tmp_path / "run") as machine:
        with pytest.raises(MachineError, match="QEMU does not start") as caught:
            machine.start()
        assert "nowhere.img" in (caught.value.detail or "")
        assert not machine.is_running()


def test_the_lab_writes_to_f2fs(image: Path, debian_tree: Path, accelerator: Accelerator) -> None:
    kernel = find_kernel(debian_tree)
    disks = [Disk(path=image)]
    run_in_lab(
        "set -e; mount -t f2fs /dev/vda3 /mnt; echo $(cat /word) > /mnt/word; umount /mnt",
        kernel=kernel,
        disks=disks,
        accelerator=accelerator,
        files={"/word": b"sticks\n"},
    )
    seen = run_in_lab(
        "mount -t f2fs -o checkpoint=disable /dev/vda3 /mnt; cat /mnt/word; grep -o checkpoint=disable /proc/mounts",
        kernel=kernel,
        disks=disks,
        accelerator=accelerator,
    )
    assert seen.output == "sticks\ncheckpoint=disable\n"


def test_the_lab_reports_what_fails(debian_tree: Path, accelerator: Accelerator) -> None:
    kernel = find_kernel(debian_tree)
    with pytest.raises(LabError, match="ended with status 3") as caught:
        run_in_lab("echo before; exit 3", kernel=kernel, accelerator=accelerator)
    assert caught.value.detail == "before\n"
    with pytest.raises(LabError, match="did not reach its script's end"):
        run_in_lab("poweroff -f", kernel=kernel, accelerator=accelerator)
    with pytest.raises(LabError, match="still running after 8 s"):
        run_in_lab("sleep 100", kernel=kernel, accelerator=accelerator, timeout_seconds=8)
