"""A host that builds what it becomes: a declaration beside its lock, on the host itself, without a network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.vm.system.hosts import SECONDS, Declared, Mover, toolchain

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(3600)]

BASE = Declared(tool="tool(builds=True)")
HOSTS: dict[str, Declared] = {}


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

        mover.ask("echo 'host = 1' > /root/host/host.py")
        wrong = mover.machine.run("anicca switch /root/host/host.py", timeout_seconds=SECONDS, check=False)
        assert wrong.status == 3
        assert mover.ask("cat /etc/motd") == "built here"
