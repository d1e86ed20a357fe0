from __future__ import annotations

import gzip
import json
import lzma
import os
import socket
import threading
from pathlib import Path

import pytest
import zstandard

from anicca import process
from anicca.errors import AniccaError, UsageError
from anicca.vm import probe
from anicca.vm.firmware import prepare_firmware
from anicca.vm.lab import KernelFiles, LabError, find_kernel
from anicca.vm.modules import read_modules
from anicca.vm.qemu import QEMU
from anicca.vm.ssh import free_port, make_key, ssh_answers

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_missing_firmware_names_its_package(tmp_path: Path) -> None:
    with pytest.raises(AniccaError) as caught:
        prepare_firmware(tmp_path, root=tmp_path)
    assert caught.value.faults[0].hint == "install the package ovmf"


def test_the_variables_of_a_machine_are_its_own_and_stay(tmp_path: Path) -> None:
    share = tmp_path / "usr/share/OVMF"
    share.mkdir(parents=True)
    for name in ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", "OVMF_CODE.fd", "OVMF_VARS.fd"):
        (share / name).write_text(name)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    firmware = prepare_firmware(run_dir, root=tmp_path)
    assert firmware.code == share / "OVMF_CODE_4M.fd"
    assert firmware.variables.read_text() == "OVMF_VARS_4M.fd"
    firmware.variables.write_text("set by the guest")
    assert prepare_firmware(run_dir, root=tmp_path).variables.read_text() == "set by the guest"


@pytest.mark.parametrize(("works", "name"), [(True, "kvm"), (False, "tcg")])
def test_kvm_is_tried_once_per_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool, name: str) -> None:
    tried = []

    def kvm_works() -> bool:
        tried.append(1)
        return works

    monkeypatch.setattr(probe, "kvm_works", kvm_works)
    assert [probe.choose_accelerator(tmp_path / "new") for _ in range(3)] == [name] * 3
    assert len(tried) == 1


def test_a_person_decides_what_qemu_runs_under(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "kvm_works", lambda: pytest.fail("nobody asked"))
    for name in ("kvm", "tcg"):
        monkeypatch.setenv("ANICCA_ACCELERATOR", name)
        assert probe.choose_accelerator(tmp_path) == name
    monkeypatch.setenv("ANICCA_ACCELERATOR", "hvf")
    with pytest.raises(UsageError, match="ANICCA_ACCELERATOR=hvf is no accelerator"):
        probe.choose_accelerator(tmp_path)


def test_a_guest_that_qemu_gives_up_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu = tmp_path / QEMU
    qemu.write_text("#!/bin/sh\necho 'KVM internal error. Suberror: 1' >&2\nexec sleep 600\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert not probe.firmware_starts("kvm", timeout_seconds=3600)


@pytest.mark.parametrize("cached", ['{"boot_id": "another", "kvm": true}', "", "[]", f'{{"boot_id": "{BOOT_ID}"}}'])
def test_what_was_true_at_another_boot_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: str
) -> None:
    (tmp_path / "accelerator.json").write_text(cached)
    monkeypatch.setattr(probe, "kvm_works", lambda: False)
    assert probe.choose_accelerator(tmp_path) == "tcg"
    assert json.loads((tmp_path / "accelerator.json").read_text()) == {"boot_id": BOOT_ID, "kvm": False}


def test_keys_are_what_ssh_takes(tmp_path: Path) -> None:
    private, public = make_key(tmp_path)
    assert private.stat().st_mode & 0o777 == 0o600
    derived = process.run(["ssh-keygen", "-y", "-f", private]).stdout
    assert derived.split()[:2] == public.split()[:2]
    assert make_key(tmp_path) == (private, public)


def test_a_port_that_accepts_is_not_yet_ssh() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ssh_answers(port, 0.2)
        silent, _address = server.accept()
        silent.close()

        def greet() -> None:
            connection, _address = server.accept()
            connection.sendall(b"SSH-2.0-x\r\n")
            connection.close()

        greeter = threading.Thread(target=greet)
        greeter.start()
        assert ssh_answers(port, 5)
        greeter.join()
    assert not ssh_answers(free_port(), 0.2)


def test_kernels_are_found_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    with pytest.raises(LabError, match="holds 0 kernels"):
        find_kernel(tmp_path)
    (tmp_path / "boot/vmlinuz-6.12").touch()
    assert find_kernel(tmp_path) == KernelFiles(
        image=tmp_path / "boot/vmlinuz-6.12", modules=tmp_path / "usr/lib/modules/6.12"
    )
    (tmp_path / "boot/vmlinuz-6.13").touch()
    with pytest.raises(LabError, match="holds 2 kernels"):
        find_kernel(tmp_path)


def test_modules_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "plain.ko").write_bytes(b"plain")
    (tmp_path / "x.ko.xz").write_bytes(lzma.compress(b"xz"))
    (tmp_path / "z.ko.zst").write_bytes(zstandard.ZstdCompressor().compress(b"zstandard"))
    (tmp_path / "g.ko.gz").write_bytes(gzip.compress(b"gzip"))
    (tmp_path / "modules.dep").write_text("plain.ko: x.ko.xz\nx.ko.xz: z.ko.zst\nz.ko.zst: g.ko.gz\ng.ko.gz:\n")
    assert read_modules(tmp_path, ["plain"]) == [("g", b"gzip"), ("z", b"zstandard"), ("x", b"xz"), ("plain", b"plain")]
    with pytest.raises(AniccaError, match="holds no kernel modules"):
        read_modules(tmp_path / "nowhere", ["plain"])
