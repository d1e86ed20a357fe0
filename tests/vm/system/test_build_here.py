"""A host that builds what it becomes: a declaration beside its lock, on the host itself, without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.vm.system.hosts import SECONDS, Declared, Mover, toolchain

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(3600)]

BASE = Declared(tool="tool(builds=True)")
HOSTS: dict[str, Declared] = {}
COLLECT = b"""\
while [ ! -e /run/stop ]; do
    for command in "anicca store gc" "anicca gc --keep 2"; do
        # 5: somebody else changes the host now.
        $command > /dev/null 2> "$1.said" || [ $? = 5 ] || cat "$1.said"
    done
    echo round
done
"""
SWITCH = "until anicca switch /root/host/host.py; do [ $? = 5 ] || exit 1; done"


def test_a_host_builds_and_becomes_what_is_declared(start: Callable[..., AbstractContextManager[Mover]]) -> None:
    with start(HOSTS, base=BASE, more=[toolchain]) as mover:
        mover.ask(
            "mkdir -p /root/host; cat > /root/host/host.lock", stdin=BASE.file.with_name("host.lock").read_bytes()
        )
        mover.ask("cat > /root/host/host.py", stdin=BASE.file.read_bytes())
        assert mover.ask("cd /root/host && anicca switch host.py") == "nothing to do"

        mover.ask("sed -i 's/A.n/built here\\\\n/' /root/host/host.py; grep -n built /root/host/host.py")
        before = mover.generations()
        plan = json.loads(mover.ask("anicca --json switch /root/host/host.py --dry-run"))
        assert "replace /etc in place" in plan["live"]
        assert mover.generations() == before
        assert json.loads(mover.ask("anicca --json switch /root/host/host.py")) == plan
        assert mover.ask("cat /etc/motd /srv/www/default/index.html") == "built here\nbuilt here"
        assert mover.generations()[2] == ["running", "next"]
        # Which line said it is known.
        (made,) = [one for one in json.loads(mover.ask("anicca --json generations")) if one["number"] == 2]
        assert made["made_from"]["origins"]["files[/etc/motd]"][0].startswith("host.py:")
        assert "host.py:" in mover.ask("anicca why /etc/motd")

        all_at_once(mover)

        mover.ask("echo 'host = 1' > /root/host/host.py")
        wrong = mover.machine.run("anicca switch /root/host/host.py", timeout_seconds=SECONDS, check=False)
        assert wrong.status == 3
        assert mover.ask("cat /etc/motd") == "three"


def all_at_once(mover: Mover) -> None:
    """Builds and switches beside two who collect garbage all the time: each comes about, and nothing is lost.

    There is no network: what builds stays with what it has built.
    """
    mover.ask("cat > /run/collect", stdin=COLLECT)
    unit = "systemd-run -q --unit=collector-{0} -E PATH=$PATH -p StandardOutput=truncate:/run/collected-{0}"
    for one in "ab":
        mover.ask(f"{unit} sh /run/collect /run/collected-{{0}}".format(one))
    for word in ("one", "two", "three"):
        mover.ask("cat > /root/host/host.py", stdin=replace(BASE, motd=f"{word}\n").text().encode())
        mover.ask(SWITCH)
        assert mover.ask("cat /etc/motd /srv/www/default/index.html") == f"{word}\n{word}"
    mover.ask("touch /run/stop; while systemctl -q is-active collector-a collector-b; do sleep 1; done")
    assert set(mover.ask("cat /run/collected-a /run/collected-b").split("\n")) == {"round"}
    assert mover.ask("anicca store verify --check-contents 2>&1 || :") == ""
    # Who was dropped is dropped as a whole, and who is there is whole.
    numbers = set(mover.generations())
    assert numbers < {1, 2, 3, 4, 5}
    assert {1, 5} <= numbers
    for number in numbers:
        mover.ask(f"anicca switch {number} --dry-run")
