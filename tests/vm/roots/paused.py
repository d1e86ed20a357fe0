"""A machine saved when systemd has started in the initrd, before udev, to go on from again and again: half a boot.

Nothing has looked for a disk by then, so each that goes on from there sees its disk as it was when QEMU was killed.
"""

from __future__ import annotations

import stat
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from anicca import process
from anicca.vm.cpio import CpioEntry, directory, file, write_cpio
from anicca.vm.qmp import Qmp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.vm.roots.guest import Bench

PAUSE = """\
[Unit]
DefaultDependencies=no
Before=systemd-udevd.service systemd-udevd-kernel.socket systemd-udev-trigger.service anicca-guard.service

[Service]
Type=oneshot
ExecStart=/usr/bin/busybox sh -c "echo ready > /dev/ttyS1; sleep 1; echo on > /dev/ttyS1"
"""
UNITS = "etc/systemd/system"


def pause(machine: Bench, work: Path, *, deed: str) -> tuple[Bench, Path]:
    """The machine to boot with a state, and the file with that state; the deed is fixed with it."""
    wants = f"{UNITS}/sysinit.target.wants"
    link = CpioEntry(path=f"{wants}/pause.service", mode=stat.S_IFLNK | 0o777, content=b"../pause.service")
    added = write_cpio([directory(UNITS), file(f"{UNITS}/pause.service", PAUSE.encode()), directory(wants), link])
    content = machine.initrd.read_bytes()
    initrd = work / "initrd-paused"
    initrd.write_bytes(content + bytes(-len(content) % 4) + added)
    machine = replace(machine, initrd=initrd)
    state, socket = work / "state", work / "qmp"
    argv = [*machine.argv(machine.disk, deed=deed), "-qmp", f"unix:{socket},server=on,wait=off"]
    child = process.start(argv, output=work / "qemu.log")
    try:
        qmp = Qmp(socket, is_alive=lambda: child.poll() is None)
        words = machine.disk.with_name("words")
        _wait(child, lambda: b"ready" in words.read_bytes())
        qmp.execute("stop")
        assert words.read_bytes().split() == [b"ready"], "the machine went on before it could be saved"
        qmp.execute("migrate", uri=f"exec:cat > {state}")
        _wait(child, lambda: qmp.execute("query-migrate")["status"] == "completed")
        qmp.execute("quit")
        child.wait(30)
    finally:
        child.kill()
    return machine, state


def _wait(child: process.Child, done: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not done():
        assert child.poll() is None, "the machine has ended before its pause"
        assert time.monotonic() < end, "the machine has not come to its pause, or was not saved"
        time.sleep(0.1)
