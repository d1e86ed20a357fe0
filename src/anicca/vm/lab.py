"""A rescue guest: busybox and a few modules of a given kernel, started directly, that runs one script on given disks.

It does to a disk what a person could do from a rescue system, with the host's own kernel, while the machine that
runs us may have no such filesystem at all.
"""

from __future__ import annotations

import secrets
import shutil
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import process
from anicca.errors import AniccaError
from anicca.vm.cpio import directory, file, write_cpio
from anicca.vm.machine import TAIL_LINES, plain_text
from anicca.vm.modules import read_modules
from anicca.vm.qemu import Accelerator, DirectKernel, Disk, QemuPlan, SerialFile, qemu_argv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_MODULES = ("virtio_pci", "virtio_blk", "virtio_rng", "f2fs", "ext4")
"""What it takes to see disks of these machines and the filesystems on them."""

_INIT = """\
#!/bin/busybox sh
# The console is for the kernel; what the script says goes to the second serial port.
export PATH=/sbin:/bin
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/console 2>&1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
for module in /modules/*; do insmod "$module" || echo "lab: cannot load $module"; done
stty -F /dev/ttyS1 raw -echo
sh /script >/dev/ttyS1 2>&1
status=$?
sync
echo "{token} $status" >/dev/ttyS1
# The port is slow: let it drain.
stty -F /dev/ttyS1 raw -echo
poweroff -f
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFiles:
    """A kernel: its image, and its `lib/modules/VERSION`."""

    image: Path
    modules: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LabResult:
    """What the script printed (stdout and stderr), and its status."""

    status: int
    output: str


class LabError(AniccaError):
    """The rescue guest did not come to the end of its script, or its script failed."""


def find_kernel(tree: Path) -> KernelFiles:
    """The kernel of a Debian tree that holds just one. Raises `LabError` for none or several."""
    found = sorted((tree / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise LabError(f"{tree}/boot: holds {len(found)} kernels, one was expected")
    version = found[0].name.removeprefix("vmlinuz-")
    return KernelFiles(image=found[0], modules=tree / "usr/lib/modules" / version)


def run_in_lab(
    script: str,
    *,
    kernel: KernelFiles,
    disks: Sequence[Disk] = (),
    accelerator: Accelerator = "tcg",
    modules: Sequence[str] = DEFAULT_MODULES,
    files: Mapping[str, bytes] | None = None,
    memory_mib: int = 512,
    timeout_seconds: float = 120,
    check: bool = True,
) -> LabResult:
    """Run a script of busybox's sh as root, the disks being /dev/vda, /dev/vdb and so on, and give back its output.

    `files` (absolute path -> content, executable) are put into the guest's root. Raises `LabError` if the script's end
    is not seen within the time, or (with `check`) if its status is not 0.
    """
    token = f"lab-end-{secrets.token_hex(8)}"
    with tempfile.TemporaryDirectory(prefix="anicca-lab-") as name:
        work = Path(name)
        console, output = work / "console", work / "output"
        initrd = work / "initrd"
        initrd.write_bytes(build_initrd(script, token=token, kernel=kernel, modules=modules, files=files or {}))
        plan = QemuPlan(
            name="anicca-lab",
            accelerator=accelerator,
            boot=DirectKernel(
                kernel=kernel.image,
                initrd=initrd,
                command_line="console=ttyS0 quiet panic=-1 no_timer_check",
            ),
            disks=tuple(disks),
            serials=(SerialFile(path=console), SerialFile(path=output)),
            memory_mib=memory_mib,
            cpus=1,
            reboots=False,
        )
        try:
            process.run(["setpriv", "--pdeathsig", "KILL", *qemu_argv(plan)], timeout_seconds=timeout_seconds)
        except process.ProgramError as error:
            said = error.detail or ""
            raise LabError(f"the rescue guest: {error}", detail=said + _tail(console) + _tail(output)) from error
        text = output.read_bytes().decode("utf-8", "replace")
        body, found, rest = text.partition(token)
        status = rest.strip()
        if not found or not status.isdecimal():
            raise LabError("the rescue guest did not reach its script's end", detail=_tail(console) + _tail(output))
        result = LabResult(status=int(status), output=body)
    if check and result.status != 0:
        raise LabError(f"the rescue guest's script ended with status {result.status}", detail=result.output)
    return result


def build_initrd(
    script: str, *, token: str, kernel: KernelFiles, modules: Sequence[str], files: Mapping[str, bytes]
) -> bytes:
    """The guest's whole root, as the kernel unpacks it."""
    entries = [directory(name) for name in ("bin", "dev", "proc", "sys", "tmp", "mnt", "modules", "etc")]
    made = {entry.path for entry in entries}
    entries.append(file("bin/busybox", _read_busybox(), executable=True))
    entries.append(file("init", _INIT.replace("{token}", token).encode(), executable=True))
    entries.append(file("script", script.encode()))
    for number, (name, content) in enumerate(read_modules(kernel.modules, modules)):
        entries.append(file(f"modules/{number:03}-{name}.ko", content))
    for path, content in files.items():
        relative = path.lstrip("/")
        parents = [str(p) for p in reversed(Path(relative).parents) if str(p) != "."]
        for parent in parents:
            if parent not in made:
                made.add(parent)
                entries.append(directory(parent))
        entries.append(file(relative, content, executable=True))
    return write_cpio(entries)


def _read_busybox() -> bytes:
    """Busybox, if it needs no libraries."""
    path = shutil.which("busybox")
    content = Path(path).read_bytes() if path else b""
    if not is_static_elf(content):
        raise LabError("there is no static busybox here", hint="install the package busybox-static")
    return content


def is_static_elf(content: bytes) -> bool:
    """Whether this is a 64-bit little-endian ELF program without an interpreter (elf(5), PT_INTERP)."""
    if content[:6] != b"\x7fELF\x02\x01":
        return False
    (offset,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    interpreter = 3
    types = (struct.unpack_from("<I", content, offset + number * size)[0] for number in range(count))
    return interpreter not in types


def _tail(log: Path) -> str:
    """The last lines of a log that may not exist."""
    if not log.exists():
        return ""
    return "\n".join(plain_text(log.read_bytes()).splitlines()[-TAIL_LINES:]) + "\n"
