"""The power is cut at steps of a live switch: the host boots the old system or the new one, whole, never a mix."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.vm.system.hosts import STOP_AT, Declared, Mover, differences

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(7200)]

HOSTS = {
    "b": Declared(
        motd="B\n",
        packages=("tree",),
        parts=('service("sleeper", "/usr/bin/sleep infinity", restart="no")',),
        persist=('Persist("/var/lib/notes", mode=0o750)',),
        files=('"/srv/www/default/more.html": File("more\\n")',),
    )
}
CUTS = int(os.environ.get("ANICCA_CUTS", "6"))
RUN = "PYTHONPATH=/etc/anicca/python python3 /run/at.py {step} switch --attached {system}"
NEVER = 10_000


def test_a_cut_leaves_one_or_the_other(start: Callable[..., AbstractContextManager[Mover]]) -> None:
    seen = []
    with start(HOSTS) as mover:
        b = str(mover.systems["b"])
        booted = {"A": mover.observe()}
        mover.ask("cat > /run/at.py", stdin=STOP_AT.read_bytes())
        said = mover.ask(RUN.format(step=NEVER, system=b))
        steps = int(said.split()[-2])
        mover.boot()
        booted["B"] = mover.observe()
        for step in chosen(steps, CUTS):
            if mover.ask("cat /etc/motd") == "B":
                mover.ask("anicca switch 1")
            stopped = mover.stop_after(str(step), b)
            mover.machine.cut_power()
            mover.machine.start()
            mover.wait()
            which = mover.ask("cat /etc/motd")
            seen.append(which)
            print(f"step {step} of {steps}, {stopped}: booted {which}", flush=True)  # noqa: T201
            assert differences(mover.observe(), booted[which]) == []
            assert mover.ask("systemctl is-system-running || :") == "running"
            assert mover.ask("anicca store verify --check-contents 2>&1 || :") == ""
    # What boots changes with the last steps.
    assert seen[0] == "A"
    assert seen[-1] == "B"
    assert seen == sorted(seen)


def chosen(steps: int, count: int) -> list[int]:
    """The first step, and others of the last third, where what outlives the boot is written; the last is the end."""
    first = steps * 2 // 3
    return sorted({1, *(first + (steps - first) * number // (count - 1) for number in range(1, count))})
