"""A generation that does not come up is left for the last good one after three boots, once, and the host says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.vm.system.hosts import SECONDS, Declared, Mover

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(5400)]

UNWELL = (
    'Part(units=[Unit("check.service", "[Unit]\\nBefore=boot-complete.target\\n[Service]\\nType=oneshot\\n'
    'ExecStart=/usr/bin/false\\n[Install]\\nRequiredBy=boot-complete.target\\n")])'
)
HOSTS = {
    "panics": Declared(motd="P\n"),
    "broken": Declared(motd="I\n"),
    "unwell": Declared(motd="U\n", parts=(UNWELL,)),
}
ESP = "mount /dev/disk/by-partlabel/esp /mnt; {command}; umount /mnt"
PANIC = "sed -i 's,^options .*,& rdinit=/nowhere,' /mnt/loader/entries/anicca-2+3.conf"
"""No program to start, and no disk to look for one on."""
BREAK = """\
cd /mnt; entry=loader/entries/anicca-3+3.conf; file=$(sed -n "s/^initrd *//p" $entry)
head -c 4000000 "./$file" > broken; sed -i "s,^initrd .*,initrd /broken," $entry; cd /; sync"""
"""The initrds of these hosts are one file; a broken one is a file of its own."""


def entries(mover: Mover) -> list[str]:
    return sorted(mover.ask(ESP.format(command="ls /mnt/loader/entries")).split())


def failed(mover: Mover) -> list[int]:
    found: list[int] = json.loads(mover.ask("anicca --json status"))["failed_generations"]
    return found


def boot_after_three_panics(mover: Mover) -> None:
    """Switched off and on after each, as a reset takes the emulator minutes."""
    mover.machine.power_off(timeout_seconds=SECONDS)
    for _ in range(3):
        mover.machine.start()
        mover.machine.wait_for_console("Kernel panic", timeout_seconds=SECONDS)
        mover.machine.cut_power()
    mover.machine.start()
    mover.wait()


def test_what_does_not_come_up_is_left(start: Callable[..., AbstractContextManager[Mover]]) -> None:
    with start(HOSTS) as mover:
        base = str(mover.systems["base"])

        # A kernel that panics.
        mover.ask(f"anicca boot {mover.systems['panics']}")
        assert entries(mover) == ["anicca-1-1.conf", "anicca-2+3.conf"]
        mover.ask(ESP.format(command=PANIC))
        boot_after_three_panics(mover)
        assert mover.ask("readlink /run/anicca/system") == base
        assert entries(mover) == ["anicca-1-1.conf", "anicca-2+0-3.conf"]
        assert failed(mover) == [2]
        assert "generation 2 was left: three boots of it were not healthy" in mover.ask("anicca status")

        # A broken initrd.
        mover.ask(f"anicca boot {mover.systems['broken']}")
        mover.ask(ESP.format(command=BREAK))
        boot_after_three_panics(mover)
        assert mover.ask("readlink /run/anicca/system") == base
        assert failed(mover) == [2, 3]

        # One that comes up, but not well: it stays, so that somebody can look, until it has been booted three times.
        mover.ask(f"anicca boot {mover.systems['unwell']}")
        # The first of them as systemd-boot would note it: three were counted above.
        mover.ask(ESP.format(command="mv /mnt/loader/entries/anicca-4+3.conf /mnt/loader/entries/anicca-4+2-1.conf"))
        for left in (1, 0):
            mover.boot()
            assert mover.ask("cat /etc/motd; systemctl is-active anicca-healthy check.service || :").split() == [
                *("U", "inactive", "failed")
            ]
            assert f"anicca-4+{left}-{3 - left}.conf" in entries(mover)
        mover.boot()
        assert mover.ask("readlink /run/anicca/system; cat /etc/motd") == f"{base}\nA"
        assert failed(mover) == [2, 3, 4]

        # Once: what was gone back to stays, whatever becomes of it.
        mover.boot()
        assert mover.ask("readlink /run/anicca/system") == base
        assert mover.generations()[1] == ["running", "booted", "next", "good"]
