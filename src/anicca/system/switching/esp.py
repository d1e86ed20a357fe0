"""Reading an ESP and carrying a boot plan out on it, wherever it is mounted."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, assert_never

from anicca import fs, process
from anicca.disks.esp import FILES_DIRECTORY, BootEntry, BootFile, initrd_path, kernel_path
from anicca.errors import AniccaError
from anicca.system.boot import ENTRIES, Copy, Delete, Esp, Step, Wanted, Write, parse_entry_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from anicca.system.generations import Generation
    from anicca.system.reading import System


@contextmanager
def mounted_esp(device: Path | None, boot: Path) -> Iterator[None]:
    """The host's ESP on `boot` as long as it is needed, by the identity that it has from the image; for root only."""
    if device is None or not device.exists() or (boot / ENTRIES).is_dir() or os.geteuid() != 0:
        yield
        return
    boot.mkdir(exist_ok=True)
    options = "umask=0077,nodev,nosuid,noexec"
    process.run(["mount", "-t", "vfat", "-o", options, device, boot], timeout_seconds=60)
    try:
        yield
    finally:
        process.run(["umount", boot], timeout_seconds=60)


def read_esp(boot: Path) -> Esp:
    """What is on the ESP mounted at `boot`, as far as it is ours. Raises `AniccaError` if nothing is there."""
    entries_directory, files_directory = boot / ENTRIES, boot / FILES_DIRECTORY
    if not entries_directory.is_dir():
        raise AniccaError(f"{boot}: no boot entries there", hint="mount the ESP, or say where it is with --boot")
    entries, files = {}, {}
    for path in sorted(entries_directory.iterdir()):
        name = parse_entry_name(path.name)
        if name is not None:
            entries[name] = path.read_text()
        elif path.name.startswith(".anicca-") and path.name.endswith(".tmp"):
            files[f"{ENTRIES}/{path.name}"] = path.stat().st_size
    for path in sorted(files_directory.iterdir()) if files_directory.is_dir() else ():
        files[f"{FILES_DIRECTORY}/{path.name}"] = path.stat().st_size
    return Esp(entries=entries, files=files, free_bytes=shutil.disk_usage(boot).free)


def want(generation: Generation, system: System) -> Wanted:
    """The boot menu's entry of a generation. Reads its kernel and initrd, whose content names them."""
    entry = BootEntry(
        host=system.name,
        generation=generation.number,
        description=f"Debian {system.release}, Linux {system.kernel_version}",
        kernel=_boot_file(system.kernel),
        initrd=_boot_file(system.initrd),
        options=system.cmdline,
    )
    sizes = {
        kernel_path(entry): entry.kernel.source.stat().st_size,
        initrd_path(entry): entry.initrd.source.stat().st_size,
    }
    return Wanted(entry=entry, size_bytes=sizes)


@cache
def _boot_file(source: Path) -> BootFile:
    """Its digest, taken once: what lies in the store does not change, and generations share most kernels."""
    from anicca.disks.image import read_boot_file  # noqa: PLC0415 (who has nothing new to boot needs none)

    return read_boot_file(source)


def carry_out(steps: Sequence[Step], boot: Path, *, after: Callable[[Step], None] = lambda _step: None) -> None:
    """Do the steps on the ESP, each on the disk before the next begins. `after` is called between them."""
    for step in steps:
        match step:
            case Delete(path=path):
                (boot / path).unlink()
                fs.sync_directory((boot / path).parent)
            case Copy(source=source, path=path):
                _copy(source, boot / path)
            case Write(path=path, content=content):
                fs.write_atomic(boot / path, content.encode())
                _settle(boot / path)
            case _:
                assert_never(step)
        after(step)


def _copy(source: Path, target: Path) -> None:
    """Copy, sync, rename: the name that tells the content never has another."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with source.open("rb") as reader, temporary.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _settle(target)


def _settle(path: Path) -> None:
    """Make a file durable under the name that it was given last.

    FAT keeps a file's size and first cluster beside its name, and Linux writes them with the file, not with the
    directory: without this a power cut within half a minute leaves the name, and nothing in it.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    fs.sync_directory(path.parent)
