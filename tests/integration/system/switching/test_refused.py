"""What every verb refuses before it touches anything: damage, another host's system, a host that is being changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from tests.integration.system.switching.small import SmallHost, SystemText
from tests.integration.system.switching.test_commands import state

from anicca.cli import app
from anicca.errors import RefusedError
from anicca.system.switching.host import hold

if TYPE_CHECKING:
    from collections.abc import Callable

    from anicca.store.path import StorePath

pytestmark = pytest.mark.integration

VERBS = ("boot", "switch", "test", "soft-reboot", "rollback", "gc")
GOING = ("boot", "switch", "test", "soft-reboot")


@pytest.fixture
def run(host: SmallHost) -> Callable[..., None]:
    """Runs a verb on the host."""

    def run_it(verb: str, *words: str) -> None:
        places = ["--boot", str(host.places.boot), "--run", str(host.places.run)]
        places += ["--command-line", str(host.places.command_line)]
        # As a unit of its own it would be this machine's.
        attached = ["--attached"] if verb in ("switch", "test") else []
        arguments = ["--store", str(host.places.store.root), verb, *words, *attached, *places]
        app.app.main(arguments, standalone_mode=False)

    return run_it


def damaged(host: SmallHost) -> StorePath:
    """A generation's system that lacks a byte of a package."""
    text = SystemText(initrd="initrd 2", packages={"p": ("1", {"/usr/bin/p": "xx"})})
    number = host.add(text)
    system = host.workshop.system(text)
    assert number == 2
    lost = next(path for path in host.places.store.closure([system]) if path != system)
    file = host.places.store.physical(lost) / "usr/bin/p"
    file.chmod(0o644)
    file.write_text("x")
    return system


@pytest.mark.parametrize("verb", VERBS)
def test_each_tells_what_it_would_do(verb: str) -> None:
    command = app.app.get_command(click.Context(app.app), verb)
    assert command is not None
    assert "dry_run" in [option.name for option in command.params]


@pytest.mark.parametrize("verb", [*GOING, "rollback"])
def test_a_damaged_system(host: SmallHost, run: Callable[..., None], verb: str) -> None:
    system = damaged(host)
    before = state(host)
    with pytest.raises(RefusedError, match="damaged; nothing was changed") as refused:
        run(verb, "2" if verb == "rollback" else str(system))
    assert "changed since it was registered" in str(refused.value.detail)
    assert state(host) == before


@pytest.mark.parametrize("verb", GOING)
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SystemText(name="other"), "this host is h, the system is other's"),
        (SystemText(parameters="rw anicca.nix=PARTUUID=2"), "anicca.nix: this host has PARTUUID=1, the system asks"),
    ],
)
def test_another_hosts_system(
    host: SmallHost, run: Callable[..., None], verb: str, text: SystemText, says: str
) -> None:
    system = host.workshop.system(text)
    host.places.store.add_indirect_root(host.places.store.root / "other", system)
    before = state(host)
    with pytest.raises(RefusedError, match=says):
        run(verb, str(system))
    assert state(host) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_host_that_somebody_changes_now(host: SmallHost, run: Callable[..., None], verb: str) -> None:
    host.add(SystemText(initrd="initrd 2"))
    before = state(host)
    words = {"gc": ["--keep", "1"], "rollback": []}.get(verb, ["2"])
    with (
        hold(host.places, "switch"),
        pytest.raises(RefusedError, match=r"somebody else changes this host now: anicca switch, process [0-9]+"),
    ):
        run(verb, *words)
    assert state(host) == before
