"""How long builds take: the example host from nothing beside a plain mmdebstrap, unchanged, and with one file changed.

    bench/build.py [--store DIR] [--rounds N]

The packages are fetched first, so that no network is in any number. Without --store, a store is made beside the
package cache and removed afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import fs, process
from anicca.debian.archive import find_mirrors
from anicca.debian.fetch import Fetcher, default_cache
from anicca.declare.load import evaluate
from anicca.events import Event, Finished, Started
from anicca.store import LocalStore
from anicca.system.build import realise
from anicca.system.locking import require_lock
from anicca.system.plan import SystemPlan, plan_system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.debian.lock import Lock
    from anicca.declare.spec import Spec

EXAMPLE = Path(__file__).parents[1] / "examples/sundryvm"
UNCHANGED_SECONDS, ONE_FILE_SECONDS, FIRST_RATIO = 0.5, 3.0, 1.25
"""What issue 2 asks for."""


class Clock:
    """Seconds by the name of what was timed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started

    def report(self, event: Event) -> None:
        """Time the steps of a build by its events."""
        match event:
            case Started():
                self._started[event.task] = time.perf_counter()
            case Finished():
                self.seconds[event.task] = time.perf_counter() - self._started[event.task]
            case _:
                pass


def anicca(store: Path, host: Path) -> float:
    """The wall time of the command, Python's start included."""
    started = time.perf_counter()
    process.run([sys.executable, "-m", "anicca", "--store", store, "build", host])
    return time.perf_counter() - started


def plain(lock: Lock, directory: Path) -> None:
    """A plain mmdebstrap of the lock's packages from local files."""
    repository = directory / "repository"
    process.run(
        [
            "mmdebstrap",
            "--mode=root",
            "--variant=essential",
            "--format=directory",
            f"--include={','.join(pin.name for pin in lock.packages)}",
            "--skip=check/empty",
            "--aptopt=APT::Install-Recommends false",
            "--dpkgopt=force-unsafe-io",
            lock.release,
            directory / "root",
            f"deb [trusted=yes] copy://{repository} ./",
        ],
        # No initrd here either: ours is counted apart.
        env={
            "PATH": os.environ["PATH"],
            "SOURCE_DATE_EPOCH": str(lock.epoch),
            "INITRD": "No",
            "TMPDIR": str(directory),
        },
    )
    fs.remove_tree(directory / "root")


def make_repository(lock: Lock, fetcher: Fetcher, repository: Path) -> None:
    repository.mkdir()
    stanzas = []
    for pin in lock.packages:
        (repository / f"{pin.name}.deb").symlink_to(fetcher.path(pin))
        control = process.run(["dpkg-deb", "-f", fetcher.path(pin)]).text.rstrip()
        stanzas.append(f"{control}\nFilename: ./{pin.name}.deb\nSize: {pin.size_bytes}\nSHA256: {pin.sha256}\n")
    index = "\n".join(stanzas).encode()
    (repository / "Packages").write_bytes(index)
    (repository / "Release").write_text(
        f"Suite: {lock.release}\nCodename: {lock.release}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
        f"Architectures: {lock.architecture} all\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )


def first_builds(plan: SystemPlan, lock: Lock, fetcher: Fetcher, work: Path, rounds: int) -> Path:
    """Time first builds and plain mmdebstraps in turn; the last store."""
    make_repository(lock, fetcher, work / "repository")
    ratios = []
    store_root = work / "store"
    for number in range(rounds):
        fs.remove_tree(store_root)
        clock = Clock()
        with clock.time("plain mmdebstrap"):
            plain(lock, work)
        with LocalStore.open(store_root) as store:
            with clock.time("toolchain"):
                realise(store, [plan.toolchain], plan.environment, fetcher, report=clock.report)
            with clock.time("tree and image"):
                realise(store, [plan.image], plan.environment, fetcher, report=clock.report)
            with clock.time("etc, seed, initrd, system"):
                realise(store, [plan.system], plan.environment, fetcher, report=clock.report)
        seconds = clock.seconds
        ratios.append(seconds["tree and image"] / seconds["plain mmdebstrap"])
        with_toolchain = (seconds["toolchain"] + seconds["tree and image"]) / seconds["plain mmdebstrap"]
        print(f"round {number + 1}:")
        shown = ("plain mmdebstrap", "toolchain", "tree and image", "etc, seed, initrd, system")
        steps = (plan.tree.tree.drv.name, plan.image.drv.name, "etc", "seed", "initrd")
        for name in (*shown, *steps):
            print(f"  {name:28} {seconds[name]:7.1f} s" + ("   (a step)" if name in steps else ""))
        print(f"  tree and image against plain mmdebstrap: {ratios[-1]:.2f}")
        print(f"  with the toolchain, which is built once for all hosts of a release: {with_toolchain:.2f}")
    verdict("first build of a tree / plain mmdebstrap, median", statistics.median(ratios), FIRST_RATIO, "")
    return store_root


def verdict(what: str, value: float, limit: float, unit: str) -> None:
    print(f"{'ok  ' if value <= limit else 'OVER'} {what}: {value:.2f}{unit} (at most {limit}{unit})")


def one_file(plan: SystemPlan, store_root: Path, work: Path, rounds: int) -> None:
    """Time builds in which one file of /etc changed; all but /etc and the system must stay."""
    copy = work / "host"
    shutil.copytree(EXAMPLE, copy)
    seconds = []
    for number in range(rounds):
        text = (copy / "web.py").read_text()
        (copy / "web.py").write_text(text.replace("hello", f"hello{number}"))
        changed = plan_system(evaluate_in(copy), require_lock(evaluate_in(copy), copy / "host.py"))
        for part in ("image", "seed", "initrd"):
            assert getattr(changed, part).out == getattr(plan, part).out, part
        assert changed.tree.tree.out == plan.tree.tree.out
        assert changed.etc.out != plan.etc.out
        seconds.append(anicca(store_root, copy / "host.py"))
    verdict("one changed file in /etc, median", statistics.median(seconds), ONE_FILE_SECONDS, " s")


def evaluate_in(directory: Path) -> Spec:
    return evaluate(directory / "host.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--store", type=Path, help="skip first builds: this store has the example host")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    host = EXAMPLE / "host.py"
    spec = evaluate(host)
    lock = require_lock(spec, host)
    plan = plan_system(spec, lock)
    fetcher = Fetcher(cache=default_cache(), find_mirrors=find_mirrors, epoch=lock.epoch)
    fetcher.fetch_all([*lock.packages, *lock.toolchain])
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=default_cache()))
    try:
        store_root = arguments.store or first_builds(plan, lock, fetcher, work, arguments.rounds)
        anicca(store_root, host)
        unchanged = [anicca(store_root, host) for _ in range(3 * arguments.rounds)]
        verdict("unchanged build, median", statistics.median(unchanged), UNCHANGED_SECONDS, " s")
        one_file(plan, store_root, work, arguments.rounds)
    finally:
        fs.remove_tree(work)


if __name__ == "__main__":
    main()
