"""A soft reboot: the kernel stays, the root is fresh, and the host is what a boot makes of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from tests.vm.system.hosts import Declared, Mover, differences

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(5400)]

HOSTS = {
    "b": Declared(
        motd="B\n",
        parts=('service("sleeper", "/usr/bin/sleep infinity", restart="no")',),
        persist=('Persist("/var/lib/notes", owner="ann", mode=0o750)',),
    )
}
JUNK = "echo junk > /junk; mkdir -p /var/junk; cp /bin/bash /var/junk; chmod 700 /srv; echo junk > /run/anicca/junk"
FORGOTTEN = """\
until [ "$(systemctl is-active anicca-forget)" = inactive ]; do sleep 1; done
mkdir -p /mnt/top && mount -t f2fs -o checkpoint=disable "$(findmnt -nvo SOURCE /)" /mnt/top && ls -A /mnt/top
umount /mnt/top
"""
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


def test_a_fresh_root_on_the_same_kernel(start: Callable[..., AbstractContextManager[Mover]]) -> None:
    with start(HOSTS) as mover:
        b = str(mover.systems["b"])
        kernel = mover.ask(BOOT_ID)
        mover.ask(JUNK)
        plan = mover.ask("anicca soft-reboot --dry-run")
        assert plan.startswith("lay out /nix/store/")
        assert mover.ask("cat /junk") == "junk"
        mover.ask(f"anicca boot {b}")

        mover.soft_reboot()
        assert mover.ask(BOOT_ID) == kernel
        assert mover.ask("readlink /run/anicca/system") == b
        assert mover.ask("cat /etc/motd; systemctl is-active sleeper") == "B\nactive"
        assert mover.ask("ls -d /junk /var/junk 2> /dev/null; stat -c %a /srv") == "755"
        assert mover.ask("ls -A / | grep -c anicca-root || :") == "0"
        facts = json.loads(mover.ask("cat /run/anicca/guard.json"))
        assert (facts["root"], facts["outcome"]) == ("f2fs", "blank")
        assert mover.ask(FORGOTTEN) == ".anicca-root-1"
        assert "checkpoint=disable" in mover.ask("findmnt -no OPTIONS /")
        mover.ask("echo kept > /var/lib/notes/proof; echo junk > /junk")

        # Once more: the root is a directory already.
        started = time.monotonic()
        mover.soft_reboot()
        soft = time.monotonic() - started
        assert mover.ask(BOOT_ID) == kernel
        assert mover.ask("cat /var/lib/notes/proof; ls /junk 2> /dev/null || :") == "kept"
        assert mover.ask(FORGOTTEN) == ".anicca-root-2"
        softly = mover.observe()

        # A live switch from there, and back.
        mover.ask("anicca switch 1")
        assert mover.ask("cat /etc/motd") == "A"
        mover.ask(f"anicca switch {b}")
        assert differences(mover.observe(), softly) == []

        started = time.monotonic()
        mover.boot()
        full = time.monotonic() - started
        assert mover.ask(BOOT_ID) != kernel
        assert json.loads(mover.ask("cat /run/anicca/guard.json"))["outcome"] == "blank"
        assert differences(softly, mover.observe()) == []
        # No test is timed: bench/switch.py says whether that is as fast as it shall be.
        print(f"soft reboot {soft:.0f} s, switched off and on {full:.0f} s")  # noqa: T201
