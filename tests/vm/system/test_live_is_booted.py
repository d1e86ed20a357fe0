"""After a switch a host is what a boot would have made of it, by the digest of its files and by its units.

Hosts in a row, each the one before but for a few things. One machine goes live from the first to the last and back,
so that whatever is added is also removed, and is looked at after each switch; it is booted into each host once.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import pairwise
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
DEFAULT = "vm.swappiness = 60"


def chain() -> dict[str, Declared]:
    """Each host is the one before it but for what its name says."""
    found = {"base": Declared()}

    def then(name: str, **changes: Any) -> None:
        found[name] = replace(list(found.values())[-1], **changes)

    if os.environ.get("ANICCA_EACH"):
        then("an /etc file changed", motd="hello\n")
        then("a service added", parts=(SLEEPER,))
        then("a service changed", parts=(LATER,))
        then("a timer added", parts=(LATER, TICKER))
        then("a socket-activated service added", parts=(LATER, TICKER, ECHO))
        then("a user added", users=(BOB,))
        then("a persisted path added", persist=(NOTES,))
        then("a kernel setting changed", parts=(LATER, TICKER, ECHO, SWAPPINESS))
        then("a kernel parameter", parameters=("test.marker=1",))
        then("a package added", packages=("tree",))
        then("a package upgraded", upgraded="libssl3t64")
    else:
        then("an /etc file changed, a service added", motd="hello\n", parts=(SLEEPER,))
        then("a service changed, a user added", parts=(LATER,), users=(BOB,))
        then("a package, a timer, and a kernel setting", packages=("tree",), parts=(LATER, TICKER, SWAPPINESS))
        then(
            "a package upgraded, a socket-activated service, a persisted path, a kernel parameter",
            upgraded="libssl3t64",
            parts=(LATER, TICKER, SWAPPINESS, ECHO),
            persist=(NOTES,),
            parameters=("test.marker=1",),
        )
    return found


CHAIN = chain()
"""With `ANICCA_EACH` one change each, which takes twice as long; with `ANICCA_FEW` all changes at once."""
if os.environ.get("ANICCA_FEW"):
    CHAIN = {name: CHAIN[name] for name in ("base", list(CHAIN)[-1])}
HOSTS = {name: declared for name, declared in CHAIN.items() if name != "base"}


def test_a_switched_host_is_what_a_boot_makes(start: Callable[..., AbstractContextManager[Mover]]) -> None:
    names = list(CHAIN)
    seen: list[tuple[str, str, dict[str, Any]]] = []
    booted: dict[str, dict[str, Any]] = {}
    found: list[str] = []
    with start(HOSTS) as mover:
        booted["base"] = mover.observe()
        for here, there in pairwise(names):
            seen.append((here, there, go_live(mover, there, "base", found)))
        booted[names[-1]] = boot_into(mover, names[-1])
        for here, there in pairwise(reversed(names)):
            seen.append((here, there, go_live(mover, there, names[-1], found)))
        for name in names[-2:0:-1]:
            booted[name] = boot_into(mover, name)
    for here, there, live in seen:
        differ = differences(live, booted[there])
        print(f"{here} -> {there}:", "\n  ".join(["differs:", *differ]) if differ else "the same", flush=True)  # noqa: T201
        found += [f"{here} -> {there}: {what}" for what in differ]
    assert found == []
    # The looks can tell hosts apart.
    for here, there in pairwise(names):
        assert differences(booted[here], booted[there]) != []


def go_live(mover: Mover, name: str, booted: str, found: list[str]) -> dict[str, Any]:
    """Switch and look at the host as a whole; `found` takes what it has and does not say."""
    said = mover.ask(f"anicca switch {mover.systems[name]}")
    live = mover.observe()
    status = json.loads(mover.ask("anicca --json status"))
    print(name, *said.splitlines(), *status["reboot"], *status["restart"].items(), sep="\n  ", flush=True)  # noqa: T201
    found += [
        f"{name}: {unit} runs {files}, which are gone, and nobody says so"
        for unit, files in live["stale"].items()
        if unit not in status["restart"]
    ]
    # What only a reboot brings is said as long as it is so.
    reboot = " ".join(status["reboot"])
    if (CHAIN[name].parameters != CHAIN[booted].parameters) != ("command line" in reboot):
        found.append(f"{name}: of the command line status says {status['reboot']}")
    if SWAPPINESS not in CHAIN[name].parts and live["sysctl"] != DEFAULT:
        if "kernel setting vm.swappiness: declared no more" not in reboot:
            found.append(f"{name}: {live['sysctl']} is declared no more, and status says {status['reboot']}")
        live["sysctl"] = DEFAULT
    return live


def boot_into(mover: Mover, name: str) -> dict[str, Any]:
    """The host as a boot makes it."""
    mover.ask(f"anicca boot {mover.systems[name]}")
    mover.boot()
    assert mover.ask("readlink /run/anicca/system") == str(mover.systems[name])
    return mover.observe()
