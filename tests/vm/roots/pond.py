"""A declared host with its root on ZFS: the only way to an initrd that has the module and its programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vm.system.hosts import CACHE, anicca

from anicca import process
from anicca.store import LocalStore, StorePath
from anicca.system.image import follow
from anicca.vm.lab import KernelFiles

if TYPE_CHECKING:
    from pathlib import Path

HOST = """\
from anicca.declare import Disk, Host, Zfs
from anicca.declare.services import ssh

host = Host(
    name="pond",
    packages=["attr"],
    components=["contrib"],
    root=Zfs(),
    disk=Disk(esp="256M", nix="3G", root="1G"),
    persist=["/var/lib/kept"],
    parts=[ssh()],
)
"""
PARAMETERS = "anicca.backend=zfs anicca.rootopts=noatime anicca.mkfs=-O,compression=lz4"
"""What the guard is told of such a root, besides where it is."""


def build_pond() -> tuple[Path, Path]:
    """The host's file, locked once, and its system in the tests' store."""
    file = CACHE / "zfs/host.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HOST)
    anicca("lock", file)
    with LocalStore.open(CACHE / "store") as store:
        return file, store.physical(StorePath.parse(anicca("build", file).strip()))


def boot_files(system: Path, work: Path) -> tuple[KernelFiles, Path]:
    """Copies of a system's kernel and initrd."""
    with LocalStore.open(CACHE / "store") as store:
        for name in ("kernel", "initrd"):
            process.run(["cp", follow(store, system / name), work / name])
    return KernelFiles(image=work / "kernel", modules=work), work / "initrd"
