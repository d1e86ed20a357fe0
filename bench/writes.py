"""What a disk has to write for a root: the same work on f2fs as the guard mounts it, and on others, in one guest.

    python -m bench.writes [--gigabytes N]

Small files; a log with an fsync a line, rotated; a database that writes as sqlite does (journal written and synced,
pages changed and synced, journal removed). Counted are sectors written as the guest's kernel has them (diskstats),
until all is synced. A root in memory writes nothing until memory is short: it is measured where 4 MiB may stay there,
and the rest is swapped: the most that such a root can cost.
The boot is one from the guard to a host's first program, on a volume of 256 MiB (too small for xfs). Needs root.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
from pathlib import Path

from tests.vm.roots.guest import make_machine, run_alone

SCRIPT = r"""
text() { dd if=/usr/bin/busybox bs=1024 count=$1 status=none 2> /dev/null; }
small_files() {
    n=0
    while [ $n -lt 400 ]; do text $((8 + n % 32)) > $n; n=$((n + 1)); done
}
log_lines() {
    n=0
    while [ $n -lt 400 ]; do
        [ $n != 200 ] || mv log log.1
        dd if=/usr/bin/busybox of=log bs=200 count=1 oflag=append conv=notrunc,fsync status=none; n=$((n + 1))
    done
}
database() {
    text 1024 > data; sync; n=0
    while [ $n -lt 100 ]; do
        dd if=data of=journal bs=4096 count=2 conv=fsync status=none
        dd if=/usr/bin/busybox of=data bs=4096 count=1 seek=$((n * 37 % 256)) conv=notrunc,fsync status=none
        rm journal; n=$((n + 1))
    done
}
written() {
    while read -r _ _ name _ _ _ _ _ _ sectors _; do
        [ "$name" != vda ] || sum=$sectors
    done < /proc/diskstats
}
swap() {
    mkswap /dev/vda && swapon /dev/vda && mount -t cgroup2 cgroup2 /sys/fs/cgroup || return
    echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir /sys/fs/cgroup/short || return
    echo 4M > /sys/fs/cgroup/short/memory.high && echo $$ > /sys/fs/cgroup/short/cgroup.procs
}
round() {
    what=$1 make=$2 kind=$3 options=$4
    $make > /run/said 2>&1 || cat /run/said
    mount -t $kind -o $options /dev/vda /sysroot || return
    for work in small_files log_lines database; do
        mkdir /sysroot/$work; cd /sysroot/$work; sync; written; before=$sum
        $work
        sync; written; echo "wrote $what $work $((sum - before))"; cd /
    done
    for file in /sys/fs/f2fs/vda/compr_written_block; do [ ! -e $file ] || echo "compressed $what $(cat $file)"; done
    umount /sysroot
}
f2fs=checkpoint=disable,compress_algorithm=zstd,lazytime
round f2fs "mkfs.f2fs -q -f -O extra_attr,compression /dev/vda" f2fs $f2fs
round f2fs,compressed "mkfs.f2fs -q -f -O extra_attr,compression /dev/vda" f2fs $f2fs,compress_extension=*
round ext4 "mkfs.ext4 -q -F /dev/vda" ext4 noatime
round ext4,afresh "mkfs.ext4 -q -F -O ^has_journal /dev/vda" ext4 noatime
round btrfs "mkfs.btrfs -q -f /dev/vda" btrfs noatime,compress=zstd
round xfs "mkfs.xfs -q -f /dev/vda" xfs noatime
round tmpfs,swap swap tmpfs size=90%
"""
BOOTS = {
    "f2fs": "",
    "ext4,afresh": "anicca.backend=afresh:ext4 anicca.rootopts=noatime anicca.mkfs=-O,^has_journal",
    "ext4": "anicca.backend=overlay:ext4 anicca.rootopts=noatime anicca.mkfs=",
    "btrfs": "anicca.backend=btrfs anicca.rootopts=noatime,compress=zstd anicca.mkfs=",
    "tmpfs,swap": "anicca.backend=tmpfs anicca.rootopts=",
}
"""What the boot is measured with; ext4 is below an overlay there."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=int, default=1)
    arguments = parser.parse_args()
    written: dict[str, dict[str, float]] = collections.defaultdict(dict)
    with tempfile.TemporaryDirectory(prefix="anicca-bench-") as name:
        work = Path(name)
        volume = work / "volume"
        with volume.open("wb") as created:
            created.truncate(arguments.gigabytes << 30)
        for line in run_alone(SCRIPT, work=work, volume=volume, seconds=1200):
            match line.split():
                case ["wrote", what, load, sectors]:
                    written[what][load] = int(sectors) / 2048
                case ["compressed", what, blocks]:
                    print(f"{what}: {blocks} blocks written compressed")
                case _:
                    print(line, file=sys.stderr)
        (work / "machine").mkdir()
        for what, count in boots(work / "machine").items():
            written[what]["boot"] = count / 2048
    loads = list(written["f2fs"])
    print("| MiB written | " + " | ".join(loads) + " |")
    for what, by_load in written.items():
        cells = [
            f"{by_load[load]:.2f} ({by_load[load] / written['f2fs'][load]:.1f})" if load in by_load else ""
            for load in loads
        ]
        print(f"| {what} | " + " | ".join(cells) + " |")
    return 0


def boots(work: Path) -> dict[str, int]:
    """Sectors written to the root's volume by the second boot, when a filesystem has been made."""
    machine = make_machine(work)
    sectors = {}
    for what, parameters in BOOTS.items():
        (work / what).mkdir()
        disk = machine.copy(work / what)
        machine.boot(disk, parameters=parameters)
        sectors[what] = int(machine.boot(disk, parameters=parameters).lines["wrote"])
    return sectors


if __name__ == "__main__":
    sys.exit(main())
