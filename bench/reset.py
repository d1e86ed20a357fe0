"""What forgetting costs: the guard after a boot that wrote no files, 10,000 and 100,000, on each root.

    python -m bench.reset [--files N,N…] [--rounds N] [--roots ROOT,ROOT…]

On this machine's kernel, on loop devices; f2fs, nilfs2 and ZFS in a guest (emulated: compare them with themselves).
Seconds are the guard's own, the least of some rounds; beside them is how much of it is the last mount. Needs root, and
a kernel with btrfs and xfs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.integration.roots.volumes import open_host
from tests.vm.roots.guest import make_tree, run_alone, run_in_initrd
from tests.vm.roots.pond import PARAMETERS, boot_files, build_pond

from anicca import process
from anicca.roots.facts import parse_facts

KINDS = ("btrfs", "overlay:ext4", "overlay:xfs", "afresh:ext4", "afresh:xfs", "afresh:btrfs", "tmpfs")
FILES = "for d in $(seq {hundreds}); do mkdir d$d; cd d$d; for n in $(seq 100); do echo x > $n; done; cd ..; done; sync"

MEMORY_MIB = 2048
"""With less, nilfs2 ends for want of memory at 100,000 files."""
GUESTS = {
    **{kind: f"anicca.root=/dev/vda anicca.backend={kind} anicca.rootopts=" for kind in ("f2fs", "nilfs2")},
    # zpool makes partitions of its own on what is none.
    "zfs": f"anicca.root=/dev/vda1 {PARAMETERS}",
}
"""What is measured in a guest, and what the guard is told of it."""
SCRIPT = r"""
echo "@PARAMETERS@" > /run/cmdline
export ANICCA_CMDLINE=/run/cmdline
modprobe -a -q nilfs2 overlay zfs
guard() {
    /usr/lib/anicca/guard.sh; sleep 3; echo "$1 $(cat /run/anicca/guard.json)"
}
forget() {
    cd /; umount /sysroot
    umount /run/anicca/memory 2> /dev/null; umount /run/anicca/top 2> /dev/null
    [ ! -e /dev/zfs ] || zpool export anicca-root 2> /dev/null
}
for n in 1 2 3; do guard first; forget; done
for count in @COUNTS@; do
    for n in $(seq @ROUNDS@); do
        guard again; cd /sysroot
        for d in $(seq $((count / 100))); do
            mkdir d$d; cd d$d; for f in $(seq 100); do echo x > $f; done; cd ..
        done
        sync; forget
        guard $count; ls -A /sysroot; forget
    done
done
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", default="0,10000,100000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--roots", default=",".join((*KINDS, *GUESTS)), help="default: all")
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.files.split(",")]
    tree = make_tree()
    print("| guard, seconds (its mount) | " + " | ".join(f"{count} files" for count in counts) + " |")
    roots = arguments.roots.split(",")
    for kind in filter(roots.__contains__, KINDS):
        cells = []
        for count in counts:
            with tempfile.TemporaryDirectory(prefix="anicca-bench-") as name:
                cells.append(measure(tree, Path(name), kind, count, arguments.rounds))
        print(
            f"| {kind} | " + " | ".join(f"{seconds:.2f} ({mount:.2f})" for seconds, mount in cells) + " |", flush=True
        )
    for kind in filter(roots.__contains__, GUESTS):
        with tempfile.TemporaryDirectory(prefix="anicca-bench-") as name:
            taken = measure_in_guest(Path(name), kind, counts, arguments.rounds)
        cells = [min(taken[count]) for count in counts]
        print(f"| {kind} | " + " | ".join(f"{seconds:.2f} ({mount:.2f})" for seconds, mount in cells) + " |")
    return 0


def measure_in_guest(work: Path, kind: str, counts: list[int], rounds: int) -> dict[int, list[tuple[float, float]]]:
    """The guard's seconds, and those of its mount, by the files written before."""
    volume = work / "volume"
    with volume.open("wb") as file:
        file.truncate(2 << 30)
    script = SCRIPT.replace("@PARAMETERS@", GUESTS[kind]).replace("@ROUNDS@", str(rounds))
    script = script.replace("@COUNTS@", " ".join(map(str, counts)))
    if kind == "zfs":
        process.run(["sfdisk", "--quiet", volume], stdin=b'label: gpt\nname="root"\n')
        kernel, initrd = boot_files(build_pond()[1], work)
        words = run_in_initrd(script, kernel=kernel, initrd=initrd, volume=volume, seconds=3000, memory_mib=MEMORY_MIB)
    else:
        words = run_alone(script, work=work, volume=volume, seconds=3000, memory_mib=MEMORY_MIB)
    taken: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
    for line in words:
        what, _, facts = line.partition(" ")
        if what.isdecimal() and (read := parse_facts(facts)):
            if not read.is_ordinary:
                sys.exit(f"{kind}, {what} files: {facts}")
            taken[int(what)].append((read.seconds, read.mount_seconds))
        elif what not in ("first", "again"):
            sys.exit(f"{kind}: {line}")
    return taken


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
