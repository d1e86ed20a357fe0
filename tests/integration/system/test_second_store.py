"""The same lock in a second, empty store: interrupted, killed, gone on with, and then the same to the bit.

The first store may be days old: it is kept between test runs.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca import fs, process
from anicca.store import LocalStore
from anicca.store.verify import Damage, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.system.conftest import BuiltHost

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

STRANGE = {
    "TZ": "Pacific/Auckland",
    "LANG": "de_CH.UTF-8",
    "SOURCE_DATE_EPOCH": "1",
    "PYTHONHASHSEED": "7",
    "PATH": os.environ["PATH"],
    "HOME": str(Path.home()),
    **{name: value for name, value in os.environ.items() if name.startswith("ANICCA_") or name.endswith("_proxy")},
}
"""What differs from the process that built the first store, besides its umask, host name and place."""
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """What was seen on the way."""

    store: LocalStore
    interrupted_status: int | None
    after_interrupt: list[Damage]
    after_kill: list[Damage]
    left_running: list[str]
    status: int | None
    log: str


def command(host: BuiltHost, root: Path) -> list[str]:
    inner = 'umask 077; hostname elsewhere; exec "$@"'
    tool = [sys.executable, "-m", "anicca", "--store", str(root), "build", str(host.file)]
    return ["unshare", "--uts", "sh", "-c", inner, "sh", *tool]


def wait_until(condition: Callable[[], bool], child: process.Child, seconds: float = 600) -> None:
    """Wait for something that the build says."""
    end = time.monotonic() + seconds
    while not condition():
        assert child.poll() is None, "the build ended before what we waited for"
        assert time.monotonic() < end, "the build did not come to what we waited for"
        time.sleep(0.2)


def running_below(root: Path) -> list[str]:
    """Programs whose command line names the store."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(root) in line:
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def check(root: Path) -> list[Damage]:
    with LocalStore.open(root) as store:
        return verify(store, check_contents=True)


@pytest.fixture(scope="module")
def second(built_host: BuiltHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    top = tmp_path_factory.mktemp("second")
    root = top / "elsewhere/deeper"
    argv = command(built_host, root)
    try:
        log = top / "interrupted.log"
        child = process.start(argv, output=log, env=STRANGE)
        wait_until(lambda: log.read_text().count(": done in") > 40, child)
        os.kill(child.pid, signal.SIGINT)
        interrupted_status = child.wait(60)
        after_interrupt = check(root)

        log = top / "killed.log"
        child = process.start(argv, output=log, env=STRANGE)
        # Far enough that dpkg is at work in the sandbox.
        wait_until(lambda: any(root.glob("nix/store/*-anicca-work/*/build/root/var/lib/dpkg/info/*.list")), child)
        child.kill()
        end = time.monotonic() + 20
        while running_below(root) and time.monotonic() < end:
            time.sleep(0.2)
        left_running = running_below(root)
        after_kill = check(root)

        log = top / "last.log"
        child = process.start(argv, output=log, env=STRANGE)
        status = child.wait(900)
        with LocalStore.open(root) as store:
            yield Second(
                store=store,
                interrupted_status=interrupted_status,
                after_interrupt=after_interrupt,
                after_kill=after_kill,
                left_running=left_running,
                status=status,
                log=log.read_text(),
            )
    finally:
        fs.remove_tree(top)


def test_ctrl_c_ends_with_its_own_status_and_leaves_a_valid_store(second: Second) -> None:
    assert second.interrupted_status == INTERRUPTED
    assert second.after_interrupt == []


def test_kill_9_leaves_a_valid_store_and_nothing_running(second: Second) -> None:
    assert second.after_kill == []
    assert second.left_running == []


def test_the_next_build_goes_on_where_the_killed_one_was(second: Second) -> None:
    assert second.status == 0, second.log
    assert "toolchain-trixie" not in second.log
    assert "tree-trixie: done" in second.log
    # The killed build's own; the garbage collector takes it. Those that ended otherwise left none.
    assert len(list(second.store.store_dir.glob("*-anicca-work"))) == 1


@pytest.mark.parametrize("part", ["tree", "image", "etc", "seed", "initrd", "system", "toolchain"])
def test_both_stores_have_the_same_bytes(built_host: BuiltHost, second: Second, part: str) -> None:
    plan = built_host.plan
    step = plan.tree.tree if part == "tree" else getattr(plan, part)
    first = {path: info.nar_hash for path, info in built_host.store.infos(step.outputs.values()).items()}
    again = {path: info.nar_hash for path, info in second.store.infos(step.outputs.values()).items()}
    assert len(first) == len(step.outputs)
    assert again == first


def test_every_object_of_the_system_is_the_same_with_the_same_references(built_host: BuiltHost, second: Second) -> None:
    first = built_host.store.infos(built_host.store.closure([built_host.plan.system.out]))
    again = second.store.infos(second.store.closure([built_host.plan.system.out]))
    assert len(first) > 100
    assert {path: (info.nar_hash, info.references) for path, info in again.items()} == {
        path: (info.nar_hash, info.references) for path, info in first.items()
    }


def test_the_finished_store_is_whole(second: Second) -> None:
    assert verify(second.store, check_contents=True) == []
