"""The argument list of a QEMU machine, chosen from a description of it. Touches nothing."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, assert_never

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Accelerator = Literal["kvm", "tcg", "tcg-counted"]
"""`tcg-counted`: the guest's clock counts instructions, so what it measures of itself is the same on a busy machine."""

QEMU = "qemu-system-x86_64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A virtio disk: /dev/vda and so on, in the order given."""

    path: Path
    format: Literal["raw", "qcow2"] = "raw"
    discard_writes: bool = False
    """Writes go to a temporary file of QEMU's own and are gone when it ends."""
    flushes: bool = False
    """Pass flushes on to the file. Not needed to survive the end of QEMU, only of the machine it runs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """UEFI, with the variables kept in a file of this machine's own."""

    code: Path
    variables: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectKernel:
    """A kernel loaded by QEMU itself; no firmware menu, no boot loader."""

    kernel: Path
    initrd: Path | None
    command_line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialFile:
    """A serial port written to a file, appended; the guest hears nothing."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialTerminal:
    """A serial port on our terminal; ctrl-a x ends the machine, ctrl-a c reaches QEMU's monitor."""


Serial = SerialFile | SerialTerminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """QEMU's user-mode network, with one port of this machine's loopback that leads to the guest's port 22."""

    ssh_port: int
    isolated: bool = False
    """The guest reaches nothing outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuPlan:
    """A whole machine."""

    name: str
    accelerator: Accelerator
    boot: Firmware | DirectKernel
    disks: tuple[Disk, ...] = ()
    serials: tuple[Serial, ...] = ()
    network: Network | None = None
    credentials: Mapping[str, bytes] = field(default_factory=dict)
    """systemd system credentials, by name."""
    boot_parameters: tuple[str, ...] = ()
    """What systemd-boot adds to the kernel command line of the entry that it starts (257 and later)."""
    memory_mib: int = 1024
    cpus: int = 2
    qmp_socket: Path | None = None
    reboots: bool = True
    """False: a guest that reboots ends the machine instead."""


def qemu_argv(plan: QemuPlan) -> list[str]:
    """QEMU's arguments, its own name first."""
    argv = [
        QEMU,
        *("-name", _value(plan.name)),
        *("-no-user-config", "-nodefaults", "-display", "none"),
        *("-machine", "q35"),
        *_accelerator(plan.accelerator),
        *("-smp", str(plan.cpus), "-m", str(plan.memory_mib)),
        # Without a source of entropy a guest's mkfs waits ten times longer for its random identity.
        *("-object", "rng-random,id=entropy,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=entropy"),
        *_boot(plan.boot),
    ]
    for number, disk in enumerate(plan.disks):
        argv += _disk(number, disk)
    for number, serial in enumerate(plan.serials):
        argv += _serial(number, serial)
    if plan.network is not None:
        argv += _network(plan.network)
    for name, content in sorted(plan.credentials.items()):
        encoded = base64.b64encode(content).decode()
        argv += ["-smbios", f"type=11,value=io.systemd.credential.binary:{_value(name)}={encoded}"]
    # An emulated timer may come late on a loaded machine, and the kernel's check of it would panic.
    parameters = (*plan.boot_parameters, *(("no_timer_check",) if plan.accelerator != "kvm" else ()))
    if parameters and isinstance(plan.boot, Firmware):
        extra = _value(" ".join(parameters))
        argv += ["-smbios", f"type=11,value=io.systemd.boot.kernel-cmdline-extra={extra}"]
    if plan.qmp_socket is not None:
        argv += ["-qmp", f"unix:{_value(str(plan.qmp_socket))},server=on,wait=off"]
    if not plan.reboots:
        argv.append("-no-reboot")
    return argv


def _accelerator(accelerator: Accelerator) -> list[str]:
    match accelerator:
        case "kvm":
            return ["-accel", "kvm", "-cpu", "host"]
        case "tcg":
            # "max" has RDRAND; plain qemu64 leaves the guest short of entropy for seconds.
            return ["-accel", "tcg,thread=multi", "-cpu", "max"]
        case "tcg-counted":
            # 2 ns each: about as fast as an emulated processor is here. The count is of one thread.
            return ["-accel", "tcg,thread=single", "-icount", "shift=1", "-cpu", "max"]
        case _:
            assert_never(accelerator)


def _boot(boot: Firmware | DirectKernel) -> list[str]:
    match boot:
        case Firmware():
            return [
                *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_value(str(boot.code))}"),
                *("-drive", f"if=pflash,unit=1,format=raw,file={_value(str(boot.variables))}"),
            ]
        case DirectKernel():
            argv = ["-kernel", str(boot.kernel), "-append", boot.command_line]
            return argv if boot.initrd is None else [*argv, "-initrd", str(boot.initrd)]
        case _:
            assert_never(boot)


def _disk(number: int, disk: Disk) -> list[str]:
    drive = [
        f"if=none,id=disk{number},format={disk.format},file={_value(str(disk.path))}",
        f"cache={'writeback' if disk.flushes else 'unsafe'}",
        "discard=unmap",
    ]
    if disk.discard_writes:
        drive.append("snapshot=on")
    return [
        *("-drive", ",".join(drive)),
        *("-device", f"virtio-blk-pci,drive=disk{number},bootindex={number + 1}"),
    ]


def _serial(number: int, serial: Serial) -> list[str]:
    match serial:
        case SerialFile():
            return [
                *("-chardev", f"file,id=serial{number},append=on,path={_value(str(serial.path))}"),
                *("-serial", f"chardev:serial{number}"),
            ]
        case SerialTerminal():
            return ["-serial", "mon:stdio"]
        case _:
            assert_never(serial)


def _network(network: Network) -> list[str]:
    options = f"user,id=net,hostfwd=tcp:127.0.0.1:{network.ssh_port}-:22"
    if network.isolated:
        options += ",restrict=on"
    # No option ROM: firmware must not try to boot from the network.
    return ["-netdev", options, "-device", "virtio-net-pci,netdev=net,romfile="]


def _value(text: str) -> str:
    """A value inside an option list: a comma is written twice."""
    return text.replace(",", ",,")
