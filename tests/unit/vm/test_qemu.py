from __future__ import annotations

import base64
from pathlib import Path

from anicca.vm.qemu import (
    DirectKernel,
    Disk,
    Firmware,
    Network,
    QemuPlan,
    SerialFile,
    SerialTerminal,
    qemu_argv,
)

FIRMWARE = Firmware(code=Path("/fw/CODE.fd"), variables=Path("/run/vars.fd"))


def pairs(argv: list[str], option: str) -> list[str]:
    return [argv[at + 1] for at, word in enumerate(argv) if word == option]


def test_kvm_and_tcg() -> None:
    kvm = qemu_argv(QemuPlan(name="a", accelerator="kvm", boot=FIRMWARE))
    tcg = qemu_argv(QemuPlan(name="a", accelerator="tcg", boot=FIRMWARE))
    assert (pairs(kvm, "-accel"), pairs(kvm, "-cpu")) == (["kvm"], ["host"])
    assert (pairs(tcg, "-accel"), pairs(tcg, "-cpu")) == (["tcg,thread=multi"], ["max"])
    counted = qemu_argv(QemuPlan(name="a", accelerator="tcg-counted", boot=FIRMWARE))
    assert (pairs(counted, "-accel"), pairs(counted, "-icount")) == (["tcg,thread=single"], ["shift=1"])


def test_firmware_code_is_read_only_and_variables_are_ours() -> None:
    argv = qemu_argv(QemuPlan(name="a", accelerator="tcg", boot=FIRMWARE))
    assert pairs(argv, "-drive") == [
        "if=pflash,unit=0,format=raw,readonly=on,file=/fw/CODE.fd",
        "if=pflash,unit=1,format=raw,file=/run/vars.fd",
    ]
    assert "-kernel" not in argv


def test_direct_kernel() -> None:
    boot = DirectKernel(kernel=Path("/k"), initrd=None, command_line="a b")
    argv = qemu_argv(QemuPlan(name="a", accelerator="tcg", boot=boot, reboots=False))
    assert pairs(argv, "-kernel") == ["/k"]
    assert pairs(argv, "-append") == ["a b"]
    assert "-initrd" not in argv
    assert "-drive" not in argv
    assert "-no-reboot" in argv


def test_disks_keep_their_order_and_their_commas() -> None:
    disks = (
        Disk(path=Path("/a,b.raw")),
        Disk(path=Path("/c.qcow2"), format="qcow2", discard_writes=True, flushes=True),
    )
    argv = qemu_argv(
        QemuPlan(
            name="a", accelerator="tcg", boot=DirectKernel(kernel=Path("/k"), initrd=None, command_line=""), disks=disks
        )
    )
    assert pairs(argv, "-drive") == [
        "if=none,id=disk0,format=raw,file=/a,,b.raw,cache=unsafe,discard=unmap",
        "if=none,id=disk1,format=qcow2,file=/c.qcow2,cache=writeback,discard=unmap,snapshot=on",
    ]
    assert [d for d in pairs(argv, "-device") if d.startswith("virtio-blk")] == [
        "virtio-blk-pci,drive=disk0,bootindex=1",
        "virtio-blk-pci,drive=disk1,bootindex=2",
    ]


def test_ssh_is_forwarded_from_the_loopback_only() -> None:
    plan = QemuPlan(name="a", accelerator="tcg", boot=FIRMWARE, network=Network(ssh_port=2222, isolated=True))
    assert pairs(qemu_argv(plan), "-netdev") == ["user,id=net,hostfwd=tcp:127.0.0.1:2222-:22,restrict=on"]


def test_no_network_unless_asked_for() -> None:
    argv = qemu_argv(QemuPlan(name="a", accelerator="tcg", boot=FIRMWARE))
    assert "-netdev" not in argv
    assert "-nodefaults" in argv


def test_credentials_are_binary_safe() -> None:
    content = b"a,b=c\n\x00"
    argv = qemu_argv(QemuPlan(name="a", accelerator="tcg", boot=FIRMWARE, credentials={"x.y": content}))
    (option,) = [option for option in pairs(argv, "-smbios") if "credential" in option]
    head, _, encoded = option.partition("binary:x.y=")
    assert head == "type=11,value=io.systemd.credential."
    assert base64.b64decode(encoded) == content
    assert "," not in encoded


def test_kernel_parameters_are_for_the_boot_loader() -> None:
    argv = qemu_argv(QemuPlan(name="a", accelerator="kvm", boot=FIRMWARE, boot_parameters=("a=1,2", "b")))
    assert pairs(argv, "-smbios") == ["type=11,value=io.systemd.boot.kernel-cmdline-extra=a=1,,2 b"]


def test_an_emulated_timer_is_not_checked() -> None:
    argv = qemu_argv(QemuPlan(name="a", accelerator="tcg", boot=FIRMWARE, boot_parameters=("b",)))
    assert pairs(argv, "-smbios") == ["type=11,value=io.systemd.boot.kernel-cmdline-extra=b no_timer_check"]


def test_serial_ports() -> None:
    plan = QemuPlan(
        name="a", accelerator="tcg", boot=FIRMWARE, serials=(SerialTerminal(), SerialFile(path=Path("/l,g")))
    )
    argv = qemu_argv(plan)
    assert pairs(argv, "-serial") == ["mon:stdio", "chardev:serial1"]
    assert pairs(argv, "-chardev") == ["file,id=serial1,append=on,path=/l,,g"]
