"""Building, moving to what was built, and collecting garbage, all at once and again and again: nothing is lost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.system.switching.esp import read_esp
from anicca.system.switching.host import check_whole, look

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.system.switching.small import SmallHost

pytestmark = pytest.mark.integration

MOVE = """
import sys, time
from pathlib import Path
from anicca.cli import app
from anicca.errors import RefusedError
from anicca.store import LocalStore
from tests.integration.system.switching.small import SystemText, Workshop
root, name = Path(sys.argv[1]), sys.argv[2]
places = ["--boot", root / "boot", "--run", root / "run", "--command-line", root / "cmdline"]
def command(*words):
    for _ in range(200):
        try:
            app.app.main([*map(str, ("--json", "--store", root, *words, *places))], standalone_mode=False)
            return
        except RefusedError as error:
            assert "somebody else" in str(error), error
            time.sleep(0.05)
    raise AssertionError("never my turn")
if name == "gc":
    for _ in range(10):
        command("gc", "--keep", "2")
else:
    work = root / f"work-{name}"
    work.mkdir()
    for number in range(6):
        (work / str(number)).mkdir()
        # What is built stays for its builder until the store is closed, so the move comes before.
        with LocalStore.open(root, durable=False) as store:
            packages = {"p": (f"{name}{number}", {"/usr/p": name + str(number)})}
            text = SystemText(initrd=f"initrd {name} {number}", packages=packages)
            command("boot", Workshop(store, work / str(number)).system(text))
"""


def test_build_switch_and_gc_at_once(host: SmallHost, tmp_path: Path) -> None:
    root = host.places.store.root
    host.places.store.close()
    logs = {name: tmp_path / name for name in ("a", "b", "gc", "gc-again")}
    running = {
        name: process.start([sys.executable, "-c", MOVE, root, name.removesuffix("-again")], output=log)
        for name, log in logs.items()
    }
    for name, child in running.items():
        assert child.wait(600) == 0, logs[name].read_text()[-2000:]
    esp = read_esp(host.places.boot)
    seen = look(host.places, esp)
    numbers = [one.number for one in seen.generations]
    # Twelve were made beside the first; the running one and the newest are always kept.
    assert seen.last_number == 13
    assert {1, 13} <= set(numbers)
    assert {name.generation for name in esp.entries} == set(numbers)
    for generation in seen.generations:
        check_whole(host.places, generation.system)
    assert len(esp.files) <= 2 * len(numbers)
