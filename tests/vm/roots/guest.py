"""A machine that boots our initrd into a host of one busybox script, which says what it sees and does a deed.

The tree is a Debian 13 with dracut, kept between runs; the initrd is made of it anew, the host in a second. Each
boot takes as long as kernel and initrd do.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from anicca import process
from anicca.debian.archive import find_mirrors
from anicca.fs import remove_tree
from anicca.roots.guard.files import ENVIRONMENT, MODULE_DIRECTORY, TREE_PACKAGES, dracut_arguments
from anicca.vm.cpio import file, write_cpio
from anicca.vm.lab import KernelFiles, find_kernel
from anicca.vm.qemu import DirectKernel, Disk, QemuPlan, SerialFile, qemu_argv
from anicca.vm.qmp import Qmp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MIB = 1 << 20
NIX_PARTUUID = "11111111-1111-5111-8111-1111111111ab"
ROOT_PARTUUID = "22222222-2222-5222-8222-2222222222ab"
NIX_MIB, ROOT_MIB = 64, 256
BACKEND_PACKAGES = ("btrfs-progs", "nilfs-tools", "xfsprogs")
ROOT_OFFSET = (1 + NIX_MIB) * MIB
SYSTEM = "/nix/store/00000000000000000000000000000000-system-test"
PARAMETERS = (
    "console=ttyS0 no_timer_check loglevel=5 rw panic=-1 anicca.digest=root anicca.stuck=wait "
    f"anicca.root=PARTUUID={ROOT_PARTUUID.upper()} anicca.backend=f2fs "
    "anicca.rootopts=checkpoint=disable,compress_algorithm=zstd,lazytime anicca.mkfs=-O,extra_attr,compression "
    f"anicca.nix=PARTUUID={NIX_PARTUUID} anicca.system={SYSTEM}"
)
PERSIST = """\
d 0750 5 6 /var/kept
f 0640 0 0 /var/one file
d 0700 7 8 /home/user/.keys
"""
HOST = r"""#!/bin/busybox sh
# The whole host. Words go to the second serial port.
exec < /dev/null > /dev/ttyS1 2>&1
export PATH=/bin
for word in $(cat /proc/cmdline); do case $word in deed=*) deed=${word#*=} ;; esac; done
date +%s%N >> /var/kept/boots
date +%s%N >> "/var/one file"
sync
echo "guard $(cat /run/anicca/guard.json)"
echo "digest $(cat /run/anicca/digest)"
echo "machine $(cat /etc/machine-id)"
echo "kept $(wc -l < /var/kept/boots) $(wc -l < '/var/one file') $(cat /var/kept/seeded)"
echo "modes $(stat -c %a:%u:%g /var/kept '/var/one file' /home/user/.keys /home/user | tr '\n' ' ')"
echo "unkept $(cat /run/anicca/unkept 2> /dev/null | tr '\n' ' ')"
for path in /usr /etc /nix/store; do touch $path/x 2> /dev/null && echo "writable $path"; done
echo "type $(awk '$2 == "/" {print $3}' /proc/mounts | tail -n 1)"
junk() {
    mkdir -p /junk /var/tmp
    for n in $(seq 200); do echo $n > /junk/$n; done
    cp /bin/busybox /var/tmp/su; chmod 4755 /var/tmp/su
    chmod 700 /; chown 5:5 /
    sync
}
end() {
    # What the guard says later, when it has looked at the checkpoint: the last word counts.
    sleep 1
    echo "guard $(cat /run/anicca/guard.json)"
    # In sectors, since the kernel started.
    sync; echo "wrote $(awk '$3 == "vda2" {print $10}' /proc/diskstats)"
    echo end
}
case $deed in
    junk) junk ;;
    reboot) junk; end; umount -a -r 2> /dev/null; reboot -f ;;
    reset) junk; dd if=/dev/zero of=/junk/big bs=1M count=20; end; sleep 1; echo b > /proc/sysrq-trigger; sleep 9 ;;
    cut)
        junk
        ( while :; do dd if=/dev/zero of=/junk/big bs=4096 count=100 conv=fsync 2> /dev/null; done ) &
        ( while :; do date +%N >> /var/kept/log; sync; done ) &
        sleep 1
        echo cut-me
        sleep 100
        ;;
    many)
        for round in 1 2; do
            mkdir /many
            for n in $(seq 3000); do : > /many/$n; done
            sync; [ $round = 2 ] || rm -r /many; sync
        done
        ;;
    secret) mkdir /secret; for n in $(seq 100); do echo "nobody is to $(echo read) this" > /secret/$n; done; sync ;;
    full)
        dd if=/dev/zero of=/full bs=1M 2> /dev/null; n=0
        # btrfs has both in the same blocks, and takes five times as many files if they are empty.
        some=$(head -c 1500 /dev/zero | tr '\0' x)
        while echo $some > /t$n; do n=$((n + 1)); done 2> /dev/null
        while true > /i$n; do n=$((n + 1)); done 2> /dev/null; sync
        ;;
    plant)
        umount /home/user/.keys
        rmdir /nix/persist/home/user/.keys
        ln -s /etc /nix/persist/home/user/.keys
        chmod 777 /nix/persist/var/kept; chown 9:9 "/nix/persist/var/one file"; sync
        ;;
    sticky) echo x > /x; mount -o remount,checkpoint=enable / && echo remounted; sync ;;
    fill) for size in 64k 1k; do dd if=/dev/zero of=/var/kept/full-$size bs=$size 2> /dev/null; done; sync ;;
esac
end
umount -a -r 2> /dev/null
poweroff -f
"""


@dataclass(frozen=True, kw_only=True)
class Word:
    """What one boot said: the guard's facts, and the host's lines by their first word."""

    guard: dict[str, Any]
    lines: dict[str, str]
    console: str
    seconds: float


class How(TypedDict, total=False):
    """How to boot."""

    deed: str
    """What the host does besides telling what it sees."""
    parameters: str
    """For the kernel command line."""
    seconds: float
    """When to give up."""
    cut: bool
    """Cut its power when it asks for that."""
    delay_seconds: float
    """And so much later."""
    cut_seconds: float
    """Cut its power so long after its start, whatever it is at."""
    unreadable: Sequence[int]
    """Sectors of the disk that give errors when read."""
    late_seconds: float
    """Plug the disk in so long after the start."""
    driver: str
    """What QEMU attaches the disk by, instead of virtio-blk-pci."""
    state: Path
    """The state of a machine to go on from, instead of starting one."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the machine's parts are; `disk` has never been booted."""

    kernel: KernelFiles
    initrd: Path
    disk: Path
    parameters: str = PARAMETERS

    def copy(self, directory: Path) -> Path:
        target = directory / "disk.img"
        process.run(["cp", "--sparse=always", self.disk, target])
        return target

    def boot(self, disk: Path, **how: Unpack[How]) -> Word:
        """Boot, until the host has switched the machine off or (with `cut`) its power is cut as it has asked."""
        text, console, taken = self.run(disk, **how)
        lines = {key: rest for key, _, rest in (line.partition(" ") for line in text.splitlines())}
        assert "end" in lines or (how.get("cut") and "cut-me" in lines), (
            f"no word from the host\n{console[-6000:]}\n{text}"
        )
        return Word(guard=json.loads(lines["guard"]), lines=lines, console=console, seconds=taken)

    def run(self, disk: Path, **how: Unpack[How]) -> tuple[str, str, float]:
        """Boot likewise, or until the initrd gives up; the host's words, the console and the seconds it took."""
        console, words = disk.with_name("console.log"), disk.with_name("words")
        argv = self.argv(disk, **how)
        started = time.monotonic()
        child = process.start(argv, output=disk.with_name("qemu.log"))
        late = how.get("late_seconds", math.inf)
        try:
            if "state" in how:
                go_on(child, disk.with_name("qmp"))
            while child.poll() is None and time.monotonic() < started + how.get("seconds", 600):
                if how.get("cut") and b"cut-me" in words.read_bytes():
                    time.sleep(how.get("delay_seconds", 0))
                    break
                if time.monotonic() > started + how.get("cut_seconds", math.inf):
                    break
                if time.monotonic() > started + late:
                    late = math.inf
                    qmp = Qmp(disk.with_name("qmp"), is_alive=lambda: child.poll() is None)
                    qmp.execute("device_add", driver="virtio-blk-pci", id="late", bus="plug", drive="disk0")
                if b"THIS HOST CANNOT BOOT" in console.read_bytes():
                    break
                time.sleep(0.2)
        finally:
            child.kill()
        text = words.read_text(errors="replace").replace("\r", "")
        return text, console.read_text(errors="replace"), time.monotonic() - started

    def argv(self, disk: Path, **how: Unpack[How]) -> list[str]:
        """QEMU's arguments; console and words are new files beside the disk."""
        console, words = disk.with_name("console.log"), disk.with_name("words")
        for path in (console, words):
            path.write_bytes(b"")
        plan = QemuPlan(
            name="guard",
            accelerator="tcg",
            boot=DirectKernel(
                kernel=self.kernel.image,
                initrd=self.initrd,
                command_line=f"{self.parameters} deed={how.get('deed', 'none')} {how.get('parameters', '')}",
            ),
            disks=(Disk(path=with_errors(disk, how["unreadable"]) if how.get("unreadable") else disk),),
            serials=(SerialFile(path=console), SerialFile(path=words)),
            memory_mib=768,
            cpus=1,
            reboots=False,
        )
        incoming = ["-incoming", f"exec:cat {how['state']}"] if "state" in how else []
        driver = how.get("driver", "virtio-blk-pci")
        qemu = [word.replace("virtio-blk-pci,drive=disk0", f"{driver},drive=disk0") for word in qemu_argv(plan)]
        if "state" in how or "late_seconds" in how:
            qemu += ["-qmp", f"unix:{disk.with_name('qmp')},server=on,wait=off"]
        if "late_seconds" in how:
            at = next(n for n, word in enumerate(qemu) if word.startswith("virtio-blk-pci,drive=disk0"))
            qemu[at] = "pcie-root-port,id=plug,chassis=1"
        return ["setpriv", "--pdeathsig", "KILL", *qemu, *incoming]


def go_on(child: process.Child, socket: Path) -> None:
    """Let a machine run as soon as its state has been read: it was saved standing still."""
    qmp = Qmp(socket, is_alive=lambda: child.poll() is None)
    while qmp.execute("query-status")["status"] == "inmigrate":
        time.sleep(0.05)
    qmp.execute("cont")
    qmp.close()


def with_errors(disk: Path, sectors: Sequence[int]) -> Path:
    """The same disk as QEMU's blkdebug has it: reading one of these sectors fails, writing does not."""
    rule = '[inject-error]\nevent = "none"\niotype = "read"\nerrno = "5"\nsector = "{}"\n'
    rules = disk.with_name("errors.conf")
    rules.write_text("".join(map(rule.format, sectors)))
    return Path(f"blkdebug:{rules}:{disk}")


def program(name: str) -> dict[str, bytes]:
    """A program of this machine and the libraries it needs, for the rescue guest, which has but busybox."""
    found = shutil.which(name)
    assert found is not None, name
    said = process.run(["ldd", found]).text
    libraries = [word for word in said.split() if word.startswith("/")]
    return {f"/bin/{name}": Path(found).read_bytes()} | {path: Path(path).read_bytes() for path in libraries}


def make_tree(*more: str) -> Path:
    """A Debian 13 with a kernel, dracut, the tools of every backend, and more packages. Only root can make one."""
    packages = sorted({*TREE_PACKAGES, *BACKEND_PACKAGES, "linux-image-amd64", "udev", *more})
    cache = Path(os.environ.get("ANICCA_TEST_CACHE") or Path.home() / ".cache/anicca-tests")
    tree = cache / f"dracut-tree-{hashlib.sha256(repr(packages).encode()).hexdigest()[:16]}"
    if not tree.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f".{tree.name}.{os.getpid()}"
        process.run(
            [
                *("mmdebstrap", "--variant=essential", f"--include={','.join(packages)}"),
                *("--aptopt=APT::Install-Recommends 0", "trixie", partial, find_mirrors().bases["debian"]),
            ],
            timeout_seconds=900,
        )
        partial.rename(tree)
    return tree


def make_initrd(tree: Path, output: Path) -> None:
    """As the system layer does: our module in the tree, dracut in a chroot of it. In mounts of its own."""

    def lay(upper: Path) -> None:
        module = upper / "usr/lib/dracut/modules.d/90anicca"
        module.parent.mkdir(parents=True)
        shutil.copytree(MODULE_DIRECTORY, module)

    arguments = dracut_arguments(find_kernel(tree).modules.name, "/scratch/initrd", scratch="/scratch")
    run_in_tree(tree, lay, arguments, output)


def run_in_tree(tree: Path, lay: Callable[[Path], object], arguments: Sequence[str], output: Path) -> None:
    """Run a program that writes /scratch/initrd in a chroot of a tree, over which `lay` has laid files."""
    work = output.parent / "initrd-work"
    for name in ("upper/scratch", "work", "root"):
        (work / name).mkdir(parents=True)
    lay(work / "upper")
    script = """set -e
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
root=$2/root; shift 2
exec chroot "$root" "$@"
"""
    process.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", tree, work, *arguments],
        env={**ENVIRONMENT, "PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": "1700000000"},
        timeout_seconds=300,
    )
    shutil.copyfile(work / "upper/scratch/initrd", output)
    remove_tree(work)


ALONE = r"""#!/usr/bin/busybox sh
export PATH=/usr/sbin:/usr/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev; mount -t tmpfs tmpfs /run
/usr/sbin/modprobe -a -q virtio_pci virtio_blk virtio_rng f2fs ext4 btrfs xfs
while [ ! -e /dev/vda ]; do sleep 1; done
mkdir -p /sysroot
exec > /dev/ttyS1 2>&1
"""


def run_alone(
    script: str, *, work: Path, volume: Path, seconds: float, count: bool = False, memory_mib: int = 768
) -> list[str]:
    """What a script says that runs in our initrd instead of systemd, with a volume as /dev/vda. For benches.

    With `count` the guest's clock counts instructions (8 ns each) instead of time.
    """
    tree = make_tree()
    make_initrd(tree, work / "ours")
    kernel = find_kernel(tree)
    return run_in_initrd(
        script,
        kernel=kernel,
        initrd=work / "ours",
        volume=volume,
        seconds=seconds,
        count=count,
        memory_mib=memory_mib,
    )


def run_in_initrd(
    script: str,
    *,
    kernel: KernelFiles,
    initrd: Path,
    volume: Path,
    seconds: float,
    count: bool = False,
    memory_mib: int = 768,
) -> list[str]:
    """What a script says that runs in any initrd with busybox instead of its init. See `run_alone`."""
    content = initrd.read_bytes()
    init = f"{ALONE}{script}\necho end\npoweroff -f\n"
    added = write_cpio([file("alone", init.encode(), executable=True)])
    alone, console, words = (initrd.with_name(f"{initrd.name}-{name}") for name in ("alone", "console", "words"))
    alone.write_bytes(content + bytes(-len(content) % 4) + added)
    plan = QemuPlan(
        name="alone",
        accelerator="tcg",
        boot=DirectKernel(
            kernel=kernel.image,
            initrd=alone,
            command_line="console=ttyS0 quiet panic=-1 no_timer_check rdinit=/alone",
        ),
        disks=(Disk(path=volume),),
        serials=(SerialFile(path=console), SerialFile(path=words)),
        memory_mib=memory_mib,
        cpus=1,
        reboots=False,
    )
    argv = [word.replace("thread=multi", "thread=single") if count else word for word in qemu_argv(plan)]
    argv += ["-icount", "shift=3"] if count else []
    process.run(["setpriv", "--pdeathsig", "KILL", *argv], timeout_seconds=seconds)
    said = words.read_text().replace("\r", "").splitlines()
    assert said[-1:] == ["end"], console.read_text()[-3000:] + "\n".join(said)
    return said[:-1]


def put_busybox(directory: Path) -> None:
    """This machine's busybox, and links to it by all the names that it goes by."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, directory / "busybox")
    for name in process.run([busybox, "--list"]).text.split():
        if name != "busybox":
            (directory / name).symlink_to("busybox")


def make_host(store: Path, work: Path) -> None:
    """The system object of the busybox host, under a directory that stands for /nix/store."""
    system = store / Path(SYSTEM).name
    (system / "layout").mkdir(parents=True)
    (system / "layout/persist").write_text(PERSIST)
    usr, etc, seed = work / "tree/usr", work / "etc", work / "seed"
    (usr / "bin").mkdir(parents=True)
    (usr / "sbin").mkdir()
    (usr / "lib").mkdir()
    (usr / "lib/os-release").write_text("ID=test\n")
    put_busybox(usr / "bin")
    (usr / "sbin/init").write_text(HOST)
    (usr / "sbin/init").chmod(0o755)
    etc.mkdir()
    (etc / "machine-id").symlink_to("/run/anicca/machine-id")
    (etc / "os-release").symlink_to("../usr/lib/os-release")
    for name in ("dev", "proc", "sys", "run", "tmp", "usr", "etc", "nix", "var/kept", "home/user"):
        (seed / name).mkdir(parents=True)
    (seed / "var/kept/seeded").write_text("seed\n")
    (seed / "var/beside").write_text("beside\n")
    (seed / "var/.link").symlink_to("nowhere")
    os.chown(seed / "home/user", 7, 8)
    os.setxattr(seed / "home/user", "user.mark", b"kept")
    for name in ("bin", "sbin", "lib"):
        (seed / name).symlink_to(f"usr/{name}")
    # Through links, as in a real store.
    for name, source in (("tree", work / "tree"), ("etc", etc), ("seed", seed)):
        image = store / f"{name}-image"
        process.run(["mkfs.erofs", "--quiet", "-T0", image, source])
        (system / f"{name}.erofs").symlink_to(f"/nix/store/{image.name}")


def make_disk(output: Path, work: Path) -> None:
    stage = work / "nix"
    (stage / "store").mkdir(parents=True)
    make_host(stage / "store", work)
    put_disk(output, stage, work)


def put_disk(output: Path, stage: Path, work: Path) -> None:
    """A disk whose first partition is an ext4 of what is in `stage`, and whose second is an f2fs for the root."""
    with output.open("wb") as file:
        file.truncate((NIX_MIB + ROOT_MIB + 2) * MIB)
    sectors = MIB // 512
    table = (
        "label: gpt\n"
        f'start={sectors}, size={NIX_MIB * sectors}, uuid={NIX_PARTUUID}, name="anicca-nix"\n'
        f'start={(1 + NIX_MIB) * sectors}, size={ROOT_MIB * sectors}, uuid={ROOT_PARTUUID}, name="anicca-root"\n'
    )
    process.run(["sfdisk", "--quiet", output], stdin=table.encode())
    nix, root = work / "nix.img", work / "root.img"
    process.run(["mke2fs", "-q", "-t", "ext4", "-L", "anicca-nix", "-d", stage, nix, f"{NIX_MIB}m"])
    with root.open("wb") as file:
        file.truncate(ROOT_MIB * MIB)
    process.run(["mkfs.f2fs", "-q", "-f", "-l", "anicca-root", "-O", "extra_attr,compression", root])
    for image, offset in ((nix, MIB), (root, ROOT_OFFSET)):
        process.run(
            [
                "dd",
                f"if={image}",
                f"of={output}",
                "bs=1M",
                f"seek={offset // MIB}",
                "conv=notrunc,sparse",
                "status=none",
            ]
        )


def make_machine(work: Path) -> Bench:
    """All the parts of the machine, made in an empty directory."""
    tree = make_tree()
    make_initrd(tree, work / "initrd")
    (work / "host").mkdir()
    make_disk(work / "disk.img", work / "host")
    return Bench(kernel=find_kernel(tree), initrd=work / "initrd", disk=work / "disk.img")


@dataclass(frozen=True, kw_only=True)
class Volume:
    """The f2fs volume inside a disk's file. Layout: include/linux/f2fs_fs.h, little-endian, the superblock at 1024."""

    disk: Path
    blocks: dict[str, int] = field(default_factory=dict)

    def read(self, block: int, count: int = 1) -> bytes:
        with self.disk.open("rb") as file:
            file.seek(ROOT_OFFSET + block * 4096)
            return file.read(count * 4096)

    def write(self, block: int, content: bytes) -> None:
        with self.disk.open("r+b") as file:
            file.seek(ROOT_OFFSET + block * 4096)
            file.write(content)

    def sector(self, block: int) -> int:
        """The first of a block's sectors on the disk."""
        return (ROOT_OFFSET + block * 4096) // 512

    def area(self, name: str) -> tuple[int, int]:
        """The first block of an area, and how many blocks it has: cp, sit, nat, ssa, main."""
        order = ("cp", "sit", "nat", "ssa", "main")
        superblock = self.read(0)[1024:]
        assert superblock[:4] == b"\x10\x20\xf5\xf2"
        segments = struct.unpack_from("<5I", superblock, 52)
        starts = struct.unpack_from("<5I", superblock, 76)
        at = order.index(name)
        return starts[at], segments[at] * 512

    def root_inode(self) -> int:
        """The block of the root directory's inode: entry 3 of the NAT, of 9 bytes each, its address the last four."""
        start, _ = self.area("nat")
        (block,) = struct.unpack_from("<I", self.read(start), 3 * 9 + 5)
        return int(block)

    def root_directory(self) -> int:
        """The block with the root directory's entries: the first address after the inode's extra attributes."""
        inode = self.read(self.root_inode())
        (extra,) = struct.unpack_from("<H", inode, 360)
        (block,) = struct.unpack_from("<I", inode, 360 + extra)
        return int(block)

    def active_pack(self) -> tuple[int, int]:
        """First block and length of the checkpoint pack with the higher version."""
        first, _ = self.area("cp")
        packs = []
        for block in (first, first + 512):
            head = self.read(block)
            packs.append((struct.unpack_from("<Q", head)[0], block, struct.unpack_from("<I", head, 136)[0]))
        _, block, length = max(packs)
        return block, length
