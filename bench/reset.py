"""What forgetting costs: the guard after a boot that wrote no files, 10,000 and 100,000, on each root but f2fs.

    python -m bench.reset [--files N,N…] [--rounds N]

On this machine's kernel, on loop devices (an f2fs root is not reset at all). Seconds are the guard's own, the least of
some rounds; beside them is how much of it is the last mount. Needs root, and a kernel with btrfs and xfs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.integration.roots.volumes import open_host
from tests.vm.roots.guest import make_tree

KINDS = ("btrfs", "overlay:ext4", "overlay:xfs", "afresh:ext4", "afresh:xfs", "afresh:btrfs", "tmpfs")
FILES = "for d in $(seq {hundreds}); do mkdir d$d; cd d$d; for n in $(seq 100); do echo x > $n; done; cd ..; done; sync"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", default="0,10000,100000")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.files.split(",")]
    tree = make_tree()
    print("| guard, seconds (its mount) | " + " | ".join(f"{count} files" for count in counts) + " |")
    for kind in KINDS:
        cells = []
        for count in counts:
            with tempfile.TemporaryDirectory(prefix="anicca-bench-") as name:
                cells.append(measure(tree, Path(name), kind, count, arguments.rounds))
        print(
            f"| {kind} | " + " | ".join(f"{seconds:.2f} ({mount:.2f})" for seconds, mount in cells) + " |", flush=True
        )
    return 0


def measure(tree: Path, work: Path, kind: str, count: int, rounds: int) -> tuple[float, float]:
    with open_host(tree, work, f"anicca.backend={kind}", mebibytes=2048) as host:
        host.boot()
        taken = []
        for _ in range(rounds):
            host.boot(FILES.format(hundreds=count // 100))
            facts, root = host.boot()
            if facts["outcome"] != "blank" or len(root) > len(["/", "lost+found"]):
                sys.exit(f"{kind}, {count} files: {facts}")
            taken.append((facts["seconds"], facts["mount_seconds"]))
        return min(taken)


if __name__ == "__main__":
    sys.exit(main())
