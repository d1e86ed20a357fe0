"""What the guard costs: on a healthy f2fs root beside a bare mount of it, on a damaged one beside mkfs.

    python -m bench.guard [--rounds N] [--gigabytes N] [--count]

One guest runs our initrd's files without systemd. In each round a process of its own mounts the volume as an ordinary
initrd would (util-linux's mount, the declared options), then another is the guard: waiting, mounting, all checks, its
facts written. Between them the volume is unmounted. With --afresh each round goes on with a bare mkfs and the guard
with both superblocks zeroed. What the guard looks at while the boot goes on (the record of the checkpoint) is
not counted: nothing waits for it. Printed are medians and their ratio; under emulation seconds say
nothing by themselves. With --count the guest's clock counts instructions, whatever else the machine does. Needs root.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path

from tests.vm.roots.guest import run_alone

from anicca import process

HEALTHY = re.compile(r'"outcome": ("blank", "reasons": \[\]|"made-afresh")')
WITHIN = 1.2
AFRESH_WITHIN = 3
"""What issues 2 and 4 ask for."""
OPTIONS = "checkpoint=disable,compress_algorithm=zstd,lazytime"
SCRIPT = r"""
echo "anicca.backend=f2fs anicca.root=/dev/vda anicca.rootopts=@OPTIONS@" > /run/cmdline
export ANICCA_CMDLINE=/run/cmdline
timed() {
    read -r from _ < /proc/uptime
    "$@" || echo "failed: $*"
    read -r to _ < /proc/uptime
    sleep 1 # what the guard looks at later is not for the next to pay
    umount /sysroot
}
round=0
while [ $round -lt @ROUNDS@ ]; do
    timed /usr/bin/mount -t f2fs -o rw,@OPTIONS@ /dev/vda /sysroot; echo "bare $from $to"
    timed /usr/bin/busybox mount -t f2fs -o rw,@OPTIONS@ /dev/vda /sysroot; echo "busybox $from $to"
    timed /usr/lib/anicca/guard.sh; echo "guard $from $to"
    cat /run/anicca/guard.json
    @AFRESH@
    round=$((round + 1))
done
"""
AFRESH = r"""
    mkdir -p /mnt
    read -r from _ < /proc/uptime
    mkfs.f2fs -q -f -l anicca-root -O extra_attr,compression /dev/vda
    read -r to _ < /proc/uptime
    echo "mkfs $from $to"
    dd if=/dev/zero of=/dev/vda bs=8192 count=1 conv=fsync status=none
    timed /usr/lib/anicca/guard.sh; echo "afresh $from $to"
    cat /run/anicca/guard.json
    # Twice, for the checkpoint to be recorded again.
    timed /usr/lib/anicca/guard.sh; timed /usr/lib/anicca/guard.sh
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--gigabytes", type=int, default=5, help="size of the volume (default: as a host's root)")
    parser.add_argument("--afresh", action="store_true", help="and what it costs to make the root afresh")
    parser.add_argument("--count", action="store_true", help="time by instructions, 8 ns each")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anicca-bench-") as name:
        taken = measure(
            Path(name), arguments.rounds, arguments.gigabytes, count=arguments.count, afresh=arguments.afresh
        )
    bare = statistics.median(taken["bare"])
    for what, seconds in taken.items():
        if not seconds:
            continue
        median = statistics.median(seconds)
        print(
            f"{what:8} {median:.2f} s (from {min(seconds):.2f} to {max(seconds):.2f}), {median / bare:.2f} times bare"
        )
    ratio = statistics.median(taken["guard"]) / bare
    print(f"guard on a healthy root, {len(taken['bare'])} rounds: {ratio:.2f} times a bare mount (within {WITHIN})")
    recovery = 0.0
    if taken["mkfs"]:
        recovery = statistics.median(taken["afresh"]) / statistics.median(taken["mkfs"])
        print(f"guard on a damaged root: {recovery:.2f} times a bare mkfs (within {AFRESH_WITHIN})")
    return 0 if ratio <= WITHIN and recovery <= AFRESH_WITHIN else 1


def measure(work: Path, rounds: int, gigabytes: int, *, count: bool, afresh: bool) -> dict[str, list[float]]:
    """Seconds of each round, by what was timed. The first two are not counted: the guard still records then."""
    volume = work / "volume"
    with volume.open("wb") as created:
        created.truncate(gigabytes << 30)
    process.run(["mkfs.f2fs", "-q", "-f", "-l", "anicca-root", "-O", "extra_attr,compression", volume])
    script = SCRIPT.replace("@OPTIONS@", OPTIONS).replace("@ROUNDS@", str(rounds + 2))
    script = script.replace("@AFRESH@", AFRESH.replace("@OPTIONS@", OPTIONS) if afresh else "")
    words = run_alone(script, work=work, volume=volume, seconds=1200 + (80 if afresh else 20) * rounds, count=count)
    taken: dict[str, list[float]] = {"bare": [], "busybox": [], "guard": [], "mkfs": [], "afresh": []}
    for line in words:
        what, *times = line.split()
        if what in taken:
            taken[what].append(float(times[1]) - float(times[0]))
        elif what.startswith("{") and not HEALTHY.search(line):
            sys.exit(f"neither blank nor made afresh: {line}")
        elif what == "failed:":
            sys.exit(line)
    return {what: seconds[2:] for what, seconds in taken.items()}


if __name__ == "__main__":
    sys.exit(main())
