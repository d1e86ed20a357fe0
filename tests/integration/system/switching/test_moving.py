"""What a host has at paths that come to persist: adopted if it is its own, with whoever has it open down meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.integration.system.switching.small import SmallHost, SystemText
from tests.integration.system.switching.test_live_plan import ACTIVE, packages

from anicca.errors import RefusedError
from anicca.system.live import Keep, Moved, plan_live
from anicca.system.reading import Persisted
from anicca.system.switching.moving import read_moved
from anicca.system.switching.paths import do

if TYPE_CHECKING:
    from pathlib import Path

    from anicca.system.reading import System

pytestmark = pytest.mark.integration

KEEPS = "d 0755 0 0 /var/lib/app\nd 0755 0 0 /var/lib/plain\nd 0755 0 0 /var/lib/none\n"
SEED = {"/var/lib/app/first": "1", "/var/lib/plain/first": "1", "/var/lib/plain/link": "-> first"}


@pytest.fixture
def systems(host: SmallHost) -> tuple[System, System]:
    old, new = (
        host.places.system(host.workshop.system(SystemText(seed=SEED, packages=packages(), persist=text)))
        for text in ("", KEEPS)
    )
    return old, new


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("app", "plain"):
        (root / "var/lib" / name).mkdir(parents=True)
        (root / "var/lib" / name / "first").write_text("1")
    (root / "var/lib/plain/link").symlink_to("first")
    (root / "var/lib/app/more").write_text("a person's")
    (tmp_path / "proc").mkdir()
    (tmp_path / "kept").mkdir()
    return root


def open_in(proc: Path, number: int, unit: str, path: str) -> None:
    (proc / str(number) / "fd").mkdir(parents=True)
    (proc / str(number) / "fd/3").symlink_to(path)
    (proc / str(number) / "cgroup").write_text(f"0::/system.slice/{unit}\n")


def look(old: System, new: System, root: Path, *, adopts: bool = True) -> Moved:
    return read_moved(old, new, root=root, kept=root.parent / "kept", proc=root.parent / "proc", adopts=adopts)


def test_what_no_system_put_there_is_adopted(systems: tuple[System, System], root: Path) -> None:
    assert look(*systems, root) == Moved(adopted=frozenset(("/var/lib/app",)))
    (root / "var/lib/plain/first").write_text("2")
    assert look(*systems, root).adopted == {"/var/lib/app", "/var/lib/plain"}


def test_what_is_kept_already_is_not(systems: tuple[System, System], root: Path) -> None:
    there = root.parent / "kept/var/lib"
    there.mkdir(parents=True)
    (there / "app").symlink_to(root / "var/lib/app")
    assert look(*systems, root) == Moved()


def test_who_has_it_open_is_down_meanwhile(systems: tuple[System, System], root: Path) -> None:
    open_in(root.parent / "proc", 1, "d.service", "/var/lib/app/more")
    open_in(root.parent / "proc", 2, "o.service", "/var/lib/application")
    moved = look(*systems, root)
    assert moved.users == {"/var/lib/app": {"d.service"}}
    plan = plan_live(*systems, ACTIVE, moved=moved)
    # Each of these systems has images of its own.
    said = [line for line in plan.sentences() if not line.startswith(("replace", "have systemd"))]
    assert said == [
        "stop d.service (it has /var/lib/app open, which moves)",
        "persist /var/lib/app, with what it holds now",
        "persist /var/lib/plain",
        "persist /var/lib/none",
        "start d.service (it has /var/lib/app open, which moves)",
    ]
    # On the way back too, where nothing is adopted.
    back = look(systems[1], systems[0], root, adopts=False)
    assert not back.adopted
    assert back.users == {"/var/lib/app": {"d.service"}}


def test_a_session_that_writes_there_is_not_cut_off(systems: tuple[System, System], root: Path) -> None:
    open_in(root.parent / "proc", 1, "session-3.scope", "/var/lib/app/more")
    with pytest.raises(RefusedError, match=r"session-3\.scope has something in /var/lib/app open"):
        look(*systems, root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_it_is_adopted_before_it_is_bound(tmp_path: Path) -> None:
    kept = Persisted(path="/app", kind="d", mode=0o755, uid=0, gid=0)
    said = []

    def adopt(path: str) -> None:
        said.append(path)
        raise RefusedError("no")

    with pytest.raises(RefusedError, match="no"):
        do(Keep(kept=kept, seed=(), adopts=True), root=tmp_path, kept=tmp_path / "kept", adopt=adopt)
    assert said == ["/app"]
    assert not (tmp_path / "kept/app").exists()
