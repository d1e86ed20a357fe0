"""Whether KVM works here: tried, not guessed.

A device that opens proves nothing: inside some virtual machines guests under KVM hang, or QEMU stops at the first
register that it may not set. So a guest of one boot sector is run the way that real ones are, and must speak.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from anicca import process
from anicca.fs import write_atomic
from anicca.vm.qemu import QEMU, Accelerator

PROBE_TIMEOUT_SECONDS = 2.0
"""KVM that works answers in a fifth of a second; TCG does too, so slower KVM is not worth having."""
_TRIES = 2
_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CACHE_NAME = "accelerator.json"

_WORD = b"anicca"
_EXIT_VALUE = 0x10
_EXIT_STATUS = (_EXIT_VALUE << 1) | 1
"""What isa-debug-exit makes of the value written to its port."""


def boot_sector() -> bytes:
    """512 bytes of real-mode code: writes a word to the first serial port, then leaves through isa-debug-exit."""
    start = bytes(
        [
            0xFC,  # cld
            *(0x31, 0xC0),  # xor ax, ax
            *(0x8E, 0xD8),  # mov ds, ax
            *(0xBA, 0xF8, 0x03),  # mov dx, 0x3f8
            0xBE,  # mov si, (address of the word, appended below)
        ]
    )
    loop = bytes(
        [
            0xAC,  # lodsb
            *(0x08, 0xC0),  # or al, al
            *(0x74, 0x03),  # jz past the loop
            0xEE,  # out dx, al
            *(0xEB, 0xF8),  # jmp to lodsb
            *(0xBA, 0xF4, 0x00),  # mov dx, 0xf4
            *(0xB0, _EXIT_VALUE),  # mov al, value
            0xEE,  # out dx, al
            0xF4,  # hlt
            *(0xEB, 0xFD),  # jmp to hlt
        ]
    )
    address = 0x7C00 + len(start) + 2 + len(loop)
    code = start + address.to_bytes(2, "little") + loop + _WORD + b"\0"
    return code.ljust(510, b"\0") + b"\x55\xaa"


def choose_accelerator(cache_dir: Path) -> Accelerator:
    """`kvm` where a guest runs under it, else `tcg`. Tried once per boot of this machine, kept in `cache_dir`."""
    cache = cache_dir / _CACHE_NAME
    boot_id = _BOOT_ID.read_text().strip()
    try:
        known = json.loads(cache.read_text())
        if known["boot_id"] == boot_id:
            return "kvm" if known["kvm"] is True else "tcg"
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing known, or nothing that we wrote
    works = kvm_works()
    cache_dir.mkdir(parents=True, exist_ok=True)
    write_atomic(cache, json.dumps({"boot_id": boot_id, "kvm": works}).encode())
    return "kvm" if works else "tcg"


def kvm_works() -> bool:
    """Run the tiny guest under KVM."""
    if not os.access(_KVM, os.R_OK | os.W_OK):
        return False
    return any(guest_speaks("kvm") for _try in range(_TRIES))


def guest_speaks(accelerator: Accelerator) -> bool:
    """Run the tiny guest under an accelerator; whether it said its word within the time."""
    cpu = "host" if accelerator == "kvm" else "max"
    with tempfile.TemporaryDirectory(prefix="anicca-probe-") as directory:
        disk = Path(directory) / "sector.raw"
        disk.write_bytes(boot_sector())
        try:
            done = process.run(
                [
                    *(QEMU, "-no-user-config", "-nodefaults", "-display", "none"),
                    *("-machine", "pc", "-accel", accelerator, "-cpu", cpu, "-m", "16", "-serial", "stdio"),
                    *("-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
                    *("-drive", f"file={disk},format=raw,if=none,id=disk,snapshot=on", "-device", "ide-hd,drive=disk"),
                ],
                timeout_seconds=PROBE_TIMEOUT_SECONDS,
                check=False,
            )
        except process.ProgramError:
            return False
    return done.status == _EXIT_STATUS and _WORD in done.stdout
