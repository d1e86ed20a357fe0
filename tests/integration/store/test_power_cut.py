"""A power cut: the disk as it is at some moment, without what the kernel had not written yet."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

WORKER = """
import random, sys
from pathlib import Path
from anicca.store import LocalStore, instantiate
from anicca.store.build import build
from anicca.store.gc import collect
from anicca.store.optimise import optimise

root, scratch, draw = Path(sys.argv[1]), Path(sys.argv[2]), random.Random(int(sys.argv[3]))
scratch.mkdir(exist_ok=True)

def make(context):
    out = context.outputs["out"]
    out.mkdir()
    for number in range(draw.choice([3, 70])):
        (out / f"f{number}").write_bytes(draw.randbytes(draw.randint(0, 3000)))

print("ready", flush=True)
while True:
    with LocalStore.open(root) as store:
        for _ in range(3):
            tree = scratch / f"tree-{draw.randint(0, 3)}"
            tree.mkdir(exist_ok=True)
            (tree / "file").write_bytes(draw.randbytes(draw.randint(0, 200_000)))
            store.add_path("tree", tree)
            item = instantiate(name="x", system="builtin", builder="builtin:make", env={"n": str(draw.random())})
            build(store, [item], builders={"builtin:make": make})
        optimise(store) if draw.random() < 0.2 else None
    with LocalStore.open(root) as store:
        collect(store, max_freed_bytes=300_000)
"""


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    process.run(["mount", "-o", "loop,commit=300", image, place])
    try:
        yield place
    finally:
        process.run(["umount", place])


@pytest.mark.parametrize("cuts", [pytest.param(6, id="some"), pytest.param(100, id="many", marks=pytest.mark.nightly)])
def test_nothing_registered_is_lost_or_half_there(tmp_path: Path, cuts: int) -> None:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists():
        pytest.skip("needs root, mkfs.ext4 and loop devices")
    (tmp_path / "worker.py").write_text(WORKER)
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(96 << 20)
    process.run(["mkfs.ext4", "-q", "-F", image])
    draw = random.Random(7)
    with mounted(image, tmp_path / "mount") as mount:
        with LocalStore.open(mount) as store:
            kept = store.add_text("kept", "kept")
            store.add_root("kept", kept)
        log = tmp_path / "log"
        child = process.start([sys.executable, tmp_path / "worker.py", mount, tmp_path / "scratch", "1"], output=log)
        try:
            deadline = time.monotonic() + 60
            while not log.exists() or "ready" not in log.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for cut in range(cuts):
                time.sleep(draw.uniform(0.2, 1.5))
                assert child.poll() is None, log.read_text()
                # Hold the writer still, so that the copy is the disk of one moment.
                os.killpg(child.pid, signal.SIGSTOP)
                shutil.copyfile(image, tmp_path / f"cut-{cut}")
                os.killpg(child.pid, signal.SIGCONT)
        finally:
            child.kill()
    seen = 0
    for cut in range(cuts):
        with mounted(tmp_path / f"cut-{cut}", tmp_path / "after") as after, LocalStore.open(after) as store:
            assert store.verify(check_contents=True) == []
            assert store.is_valid(kept)
            seen += len(store.all_valid())
            store.close()
        (tmp_path / f"cut-{cut}").unlink()
    assert seen > cuts
