from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anicca.events import Event, Notice
from anicca.process import ProgramError
from anicca.vm.console import open_console
from anicca.vm.lab import build_initrd, find_kernel
from anicca.vm.machine import MachineConfig
from anicca.vm.qemu import DirectKernel, Disk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


def test_a_guest_on_the_terminal(debian_tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kernel = find_kernel(debian_tree)
    initrd = tmp_path / "initrd"
    script = "echo a word from the guest >/dev/console; sleep 1"
    initrd.write_bytes(build_initrd(script, token="x", kernel=kernel, modules=(), files={}))
    boot = DirectKernel(kernel=kernel.image, initrd=initrd, command_line="console=ttyS0 quiet panic=-1 no_timer_check")
    config = MachineConfig(name="console", disks=(), accelerator="tcg", direct_kernel=boot, memory_mib=512)
    events: list[Event] = []
    open_console(config, run_dir=tmp_path / "run", report=events.append)
    assert "a word from the guest" in capfd.readouterr().out
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices[0].startswith("ssh: ssh -F /dev/null -p ")
    assert "root@127.0.0.1" in notices[0]

    missing = MachineConfig(
        name="console", disks=(Disk(path=tmp_path / "nowhere"),), accelerator="tcg", direct_kernel=boot
    )
    with pytest.raises(ProgramError, match="QEMU ended with status 1"):
        open_console(missing, run_dir=tmp_path / "run")
