"""After a switch a host is what a boot would have made of it: one that was switched is compared with itself, booted.

Each step is one change. The host goes there live, is looked at as a whole, reboots, and is looked at again.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.vm.system.hosts import Declared, Mover, differences

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(7200)]

SLEEPER = 'service("sleeper", "/usr/bin/sleep infinity", restart="no")'
LATER = 'service("sleeper", "/usr/bin/sleep 1000000", restart="no")'
TICKER = 'timer("ticker", "/usr/bin/true", calendar="daily")'
ECHO = (
    'Part(units=[Unit("echo.socket", "[Socket]\\nListenStream=127.0.0.1:7777\\nAccept=yes\\n'
    '[Install]\\nWantedBy=sockets.target\\n"), '
    'Unit("echo@.service", "[Service]\\nExecStart=/usr/bin/cat\\nStandardInput=socket\\n")])'
)
BOB = 'User("bob", groups=["sudo"])'
NOTES = 'Persist("/var/lib/notes", owner="ann", mode=0o750)'
SWAPPINESS = 'Part(sysctl={"vm.swappiness": 17})'


def steps() -> dict[str, Declared]:
    """Each host is the one before it but for what its name says."""
    chain = {"an /etc file changed": Declared(motd="hello\n")}

    def then(name: str, **changes: Any) -> None:
        chain[name] = replace(list(chain.values())[-1], **changes)

    then("a service added", parts=(SLEEPER,))
    then("a service changed", parts=(LATER,))
    then("a timer added", parts=(LATER, TICKER))
    then("a socket-activated service added", parts=(LATER, TICKER, ECHO))
    then("a user added", users=(BOB,))
    then("a persisted path added", persist=(NOTES,))
    then("a kernel setting changed", parts=(LATER, TICKER, ECHO, SWAPPINESS))
    then("a kernel parameter", parameters=("test.marker=1",))
    then("a package added", packages=("tree",))
    then("a package removed", packages=())
    then("a package upgraded", upgraded="libssl3t64")
    then("a service removed", parts=(TICKER, ECHO, SWAPPINESS))
    then("timer and socket removed", parts=(SWAPPINESS,))
    then("a user removed", users=())
    then("a persisted path removed", persist=())
    return chain


EACH = steps()
FEW = (
    "a service added",
    "a kernel setting changed",
    "a package added",
    "a package upgraded",
    "a persisted path removed",
)
"""Steps of several changes each, for those who have no hour."""
HOSTS = {name: EACH[name] for name in (FEW if os.environ.get("ANICCA_FEW") else EACH)}


def test_a_switched_host_is_what_a_boot_makes(start: Callable[..., AbstractContextManager[Mover]]) -> None:
    wrong: dict[str, list[str]] = {}
    before = Declared()
    with start(HOSTS) as mover:
        for name, declared in HOSTS.items():
            said = mover.ask(f"anicca switch {mover.systems[name]}")
            live = mover.observe()
            status = json.loads(mover.ask("anicca --json status"))
            # What still runs old files is not hidden.
            hidden = {unit: files for unit, files in live["stale"].items() if unit not in status["restart"]}
            cmdline = any("command line" in one for one in status["reboot"])
            mover.boot()
            booted = mover.observe()
            found = differences(live, booted)
            found += [f"{unit} runs {files}, which are gone, and nobody says so" for unit, files in hidden.items()]
            if (declared.parameters != before.parameters) != cmdline:
                found.append(f"status says of a reboot: {status['reboot']}")
            before = declared
            if found:
                wrong[name] = [*found, *said.splitlines()]
            print(name, "is the same" if not found else "\n  ".join(["differs:", *found]), flush=True)  # noqa: T201
    assert wrong == {}
