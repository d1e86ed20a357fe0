"""What becomes of a host whose power is cut, over and over: is it up each time, blank, and its persisted data whole?

    python -m bench.powercut [--cycles N] [--minutes N] [--whole]

One machine, one disk. In each cycle the host boots, is asked what the guard did and for the digest of its root, writes
with fsync in two processes, and is cut at a random moment within three seconds; or, in one cycle of three, at a random
moment of the boot itself, which then has not to do harm to the next. Needs root.

A cycle goes on from the state of a machine that was saved when systemd had started in the initrd, before it had seen a
disk (tests/vm/roots/paused.py). With --whole each starts from the kernel on.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.vm.roots.guest import Bench, How, make_machine
from tests.vm.roots.paused import pause


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60, help="begin no cycle after so many")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--whole", action="store_true", help="start each from the kernel on")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anicca-bench-") as name:
        work = Path(name)
        machine, state = make_machine(work), None
        if not arguments.whole:
            machine, state = pause(machine, work, deed="cut")
        cycles = Cycles(machine, state, seed=arguments.seed)
        end = time.monotonic() + arguments.minutes * 60
        while cycles.cuts < arguments.cycles and time.monotonic() < end:
            cycles.one()
    print(f"{cycles.cuts} power cuts (seed {arguments.seed}), {cycles.cuts - cycles.ups} of them during the boot.")
    print(f"The host was up at each of the {cycles.ups} boots let be, its root of one digest, what it keeps whole.")
    print(f"The guard said {dict(cycles.outcomes)}; it took {min(cycles.seconds):.2f} to {max(cycles.seconds):.2f} s")
    return 0 if set(cycles.outcomes) == {"blank"} else 1


class Cycles:
    """What has been seen until now."""

    def __init__(self, machine: Bench, state: Path | None, *, seed: int) -> None:
        self.machine = machine
        self.state = state
        self.chance = random.Random(seed)
        self.cuts = self.ups = self.written = self.between = 0
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.seconds: list[float] = []
        self.boot_seconds = 0.0
        self.facts: set[tuple[str, str, str]] = set()

    def one(self) -> None:
        """One cut. Raises `AssertionError` if the boot before it did not bring the host up, or not as it was."""
        how = How(deed="cut", seconds=400)
        if self.state is not None:
            how["state"] = self.state
        self.cuts += 1
        if self.boot_seconds and self.chance.random() < 1 / 3:
            how["cut_seconds"] = self.chance.uniform(0, self.boot_seconds)
            self.machine.run(self.machine.disk, **how)
            self.between += 1
            print(f"{self.cuts}: cut off after {how['cut_seconds']:.1f} s", file=sys.stderr, flush=True)
            return
        how["cut"], how["delay_seconds"] = True, self.chance.uniform(0, 3)
        word = self.machine.boot(self.machine.disk, **how)
        self.ups += 1
        self.boot_seconds = word.seconds
        self.seconds.append(word.guard["seconds"])
        self.outcomes[word.guard["outcome"] if not word.guard["reasons"] else str(word.guard)] += 1
        self.facts.add((word.lines["digest"], word.lines["machine"], word.lines["modes"]))
        assert len(self.facts) == 1, self.facts
        *counts, seed = word.lines["kept"].split()
        # A line each was written and synced by this boot and by all that came so far; perhaps by those cut off.
        assert seed == "seed"
        for count in map(int, counts):
            assert self.written < count <= self.written + 1 + self.between, (
                word.lines["kept"],
                self.written,
                self.between,
            )
        self.written, self.between = max(map(int, counts)), abs(int(counts[0]) - int(counts[1]))
        print(f"{self.cuts}: {word.guard['outcome']}, {word.seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
