"""Whether KVM works here: tried, not guessed.

A device that opens proves nothing: inside some virtual machines guests under KVM hang, stop at the first register that
QEMU may not set, or run until the first instruction that a KVM without the processor's help does not know. So a machine
is started as real ones are, and its firmware must come to the point where it looks for what to boot: by then it has
been through all the processor's modes.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

from anicca import process
from anicca.errors import UsageError
from anicca.fs import write_atomic
from anicca.vm.firmware import prepare_firmware
from anicca.vm.qemu import Accelerator, QemuPlan, SerialFile, qemu_argv

PROBE_SECONDS = 10.0
"""KVM that works is there in two seconds. TCG needs as long as this, so slower KVM is not worth having."""
_POLL_SECONDS = 0.1
_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CACHE_NAME = "accelerator.json"
_CHOICE = "ANICCA_ACCELERATOR"

_WORD = b"BdsDxe:"
"""What the firmware's boot manager begins its lines with."""
_GIVEN_UP = b"KVM internal error"
"""What QEMU says when it stops a guest, but does not end itself."""


def choose_accelerator(cache_dir: Path) -> Accelerator:
    """What `ANICCA_ACCELERATOR` says; else `kvm` where a guest runs under it, or `tcg`.

    Tried once per boot of this machine, kept in `cache_dir`. Raises `UsageError` for an accelerator that there is not.
    """
    match os.environ.get(_CHOICE, ""):
        case "kvm" | "tcg" as chosen:
            return chosen
        case "":
            pass
        case other:
            raise UsageError(f"{_CHOICE}={other} is no accelerator", hint="kvm or tcg; unset it to have KVM tried")
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
    """Run firmware under KVM."""
    return os.access(_KVM, os.R_OK | os.W_OK) and firmware_starts("kvm", timeout_seconds=PROBE_SECONDS)


def firmware_starts(accelerator: Accelerator, *, timeout_seconds: float) -> bool:
    """Switch a machine without disks on; whether its firmware came to look for some within the time."""
    with tempfile.TemporaryDirectory(prefix="anicca-probe-") as name:
        directory = Path(name)
        console, log = directory / "console", directory / "log"
        console.touch()
        plan = QemuPlan(
            name="anicca-probe",
            accelerator=accelerator,
            boot=prepare_firmware(directory),
            serials=(SerialFile(path=console),),
            memory_mib=256,
        )
        # If we are killed, the guest must not stay behind.
        child = process.start(["setpriv", "--pdeathsig", "KILL", *qemu_argv(plan)], output=log)
        try:
            deadline = time.monotonic() + timeout_seconds
            while time.monotonic() < deadline and child.poll() is None and _GIVEN_UP not in log.read_bytes():
                if _WORD in console.read_bytes():
                    return True
                time.sleep(_POLL_SECONDS)
        finally:
            child.end()
    return False
