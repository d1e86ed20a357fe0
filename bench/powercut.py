"""What becomes of a host whose power is cut, over and over: is it up each time, blank, and its persisted data whole?

    python -m bench.powercut [--cycles N] [--minutes N]

One machine, one disk. In each cycle the host boots, is asked what the guard did and for the digest of its root, writes
with fsync in two processes, and is cut at a random moment within four seconds. Needs root.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.vm.roots.guest import make_machine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60, help="begin no cycle after so many")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    outcomes: collections.Counter[str] = collections.Counter()
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="anicca-bench-") as name:
        work = Path(name)
        (work / "disk").mkdir()
        machine = make_machine(work)
        disk = machine.copy(work / "disk")
        end = time.monotonic() + arguments.minutes * 60
        facts: set[tuple[str, str, str]] = set()
        while sum(outcomes.values()) < arguments.cycles and time.monotonic() < end:
            word = machine.boot(disk, deed="cut", cut=True, delay_seconds=chance.uniform(0, 4))
            outcomes[word.guard["outcome"] if not word.guard["reasons"] else str(word.guard)] += 1
            facts.add((word.lines["digest"], word.lines["machine"], word.lines["modes"]))
            kept = word.lines["kept"].split()
            # Written and synced before the power went, at every boot until now.
            if kept != [str(sum(outcomes.values()))] * 2 + ["seed"] or len(facts) != 1:
                sys.exit(f"after {sum(outcomes.values())} cycles (seed {arguments.seed}): {kept}, {facts}")
            seconds.append(word.guard["seconds"])
            print(f"{sum(outcomes.values())}: {word.guard['outcome']}, {word.seconds:.0f} s", file=sys.stderr)
    print(
        f"{sum(outcomes.values())} power cuts (seed {arguments.seed}), the host up after each, its root of one digest,"
    )
    print(f"what it keeps whole. The guard said: {dict(outcomes)}; it took {min(seconds):.2f} to {max(seconds):.2f} s")
    return 0 if set(outcomes) == {"blank"} else 1


if __name__ == "__main__":
    sys.exit(main())
