"""A disk image written from a plan: no loop device, no device-mapper, no mount (docs/internals/disk-image.md).

The ext4 filesystem is made in place by `mke2fs -d` at the partition's offset, so the store's bytes are written once.
With mke2fs >= 1.47.1 (Debian 13) the ESP, `nix` and the partition table are the same bytes whenever the contents are;
the f2fs root has a random identity and checkpoint version by its own mkfs.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from typing import TYPE_CHECKING, assert_never

from anicca.disks.esp import BootFile
from anicca.disks.plan import (
    ALIGNMENT_BYTES,
    KIB,
    NIX_BYTES_PER_INODE,
    SECTOR_BYTES,
    Contents,
    DiskPlan,
    MakeEsp,
    MakeNix,
    MakeRoot,
    MakeTable,
    MarkRoot,
    plan_steps,
    table_script,
)
from anicca.disks.staging import measure_tree
from anicca.disks.tools import Bind, Tools
from anicca.errors import AniccaError, RefusedError
from anicca.events import Advanced, Finished, Report, Started, ignore
from anicca.fs import remove_tree, sync_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FAT_EPOCH_SECONDS = 315_532_800
"""1980-01-01, the first time that FAT can tell: every file on the ESP has it."""
STORE_EPOCH_SECONDS = 1
"""The mtime of everything in a store, by Nix's rule; also the time that mke2fs takes for now."""

NEW_VOLUME = "anicca: a new volume"
"""As in the guard (`anicca.roots`, which layers keep us from): tests compare the two."""

_COPY_BYTES = 1 << 20


def read_boot_file(source: Path) -> BootFile:
    """A kernel or initrd with the digest that names it on the ESP."""
    with source.open("rb") as file:
        return BootFile(source=source, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def measure_contents(*, nix_root: Path, esp_files: Mapping[str, Path | bytes], generations: int = 1) -> Contents:
    """What would go onto a disk, for `plan_disk`; `esp_files` are those of this many generations."""
    tree = measure_tree(nix_root)
    sizes = {path: _content_size(content) for path, content in esp_files.items()}
    entries = sum(size for path, size in sizes.items() if path.startswith("EFI/anicca/"))
    return Contents(
        nix_bytes=tree.size_bytes,
        nix_files=tree.files,
        boot_manager_bytes=sum(sizes.values()) - entries,
        generation_bytes=-(-entries // generations),
    )


def write_image(
    plan: DiskPlan,
    *,
    output: Path,
    nix_root: Path,
    esp_files: Mapping[str, Path | bytes],
    tools: Tools | None = None,
    overwrite: bool = False,
    report: Report = ignore,
) -> None:
    """Write a sparse raw disk image to `output`.

    `nix_root` holds what the `nix` filesystem shall hold (`store/` and `var/`). The image appears under its name only
    when it is whole. Raises `RefusedError` if there is something at `output` and not `overwrite`, `ProgramError` if a
    program fails, `AniccaError` if there is no room or a file belongs to someone other than root.
    """
    tools = tools or Tools()
    # Tools may run elsewhere than in our working directory.
    output, nix_root = output.absolute(), nix_root.absolute()
    if not overwrite and (output.exists() or output.is_symlink()):
        raise RefusedError(f"{output}: is there already", hint="remove it, or ask for it to be overwritten")
    if not output.parent.is_dir():
        raise AniccaError(f"{output.parent}: no such directory")
    _check_contents(nix_root, esp_files, output, tools)
    # Beside the output: on the same filesystem, so that the end is a rename.
    work = output.parent / f".{output.name}.{os.getpid()}.tmp"
    _remove_stale_work(output)
    work.mkdir()
    steps = plan_steps(plan)
    report(Started(task="image", total=len(steps), unit="steps"))
    try:
        disk = work / "disk.raw"
        for done, step in enumerate(steps, start=1):
            match step:
                case MakeTable():
                    _make_table(step.plan, disk, tools)
                case MakeEsp():
                    _make_esp(step, disk, esp_files, work, tools)
                case MakeNix():
                    _make_nix(step, disk, nix_root, tools)
                case MakeRoot():
                    _make_root(step, disk, work, tools)
                case MarkRoot():
                    _mark_root(step, disk)
                case _:
                    assert_never(step)
            report(Advanced(task="image", done=done, note=str(step)))
        _sync(disk)
        disk.rename(output)
        sync_directory(output.parent)
    except OSError as error:
        raise AniccaError(f"{output}: cannot be written: {error.strerror}") from error
    finally:
        remove_tree(work)
    report(Finished(task="image"))


def _remove_stale_work(output: Path) -> None:
    """Remove what a writer of the same image left behind that was killed, or had our process id."""
    for stale in output.parent.glob(f".{glob.escape(output.name)}.*.tmp"):
        writer = stale.name.split(".")[-2]
        if writer == str(os.getpid()) or (writer.isdigit() and not os.path.lexists(f"/proc/{writer}")):
            remove_tree(stale)


def _make_table(plan: DiskPlan, disk: Path, tools: Tools) -> None:
    _sparse_file(disk, plan.size_bytes)
    tools.run_tool(
        ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", disk],
        binds=[Bind(disk, writable=True)],
        env={},
        stdin=table_script(plan).encode(),
    )


def _make_esp(step: MakeEsp, disk: Path, files: Mapping[str, Path | bytes], work: Path, tools: Tools) -> None:
    """FAT32 in a file of its own (mkfs.vfat 4.2 makes an unreadable FAT with `--offset`), then copied in.

    Files have the times of the copies that we make for it.
    """
    partition = step.partition
    alone = _sparse_file(work / "esp.raw", partition.size_bytes)
    tools.run_tool(
        [
            *("mkfs.vfat", "--invariant", "-F", "32", "-n", "ESP", "-i", partition.filesystem_id[:8]),
            *("-h", str(partition.start_bytes // SECTOR_BYTES), alone),
        ],
        binds=[Bind(alone, writable=True)],
        env={"SOURCE_DATE_EPOCH": str(FAT_EPOCH_SECONDS)},
    )
    stage = work / "esp"
    stage.mkdir()
    for path, content in sorted(files.items()):
        target = stage / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)
    for directory, names, filenames in os.walk(stage, topdown=False):
        for name in (*names, *filenames, "."):
            os.utime(f"{directory}/{name}", (FAT_EPOCH_SECONDS, FAT_EPOCH_SECONDS))
    tools.run_tool(
        ["mcopy", "-s", "-m", "-i", alone, *sorted(stage.iterdir()), "::"],
        binds=[Bind(alone, writable=True), Bind(stage)],
        # FAT keeps local times; what the machine's zone is must not show.
        env={"SOURCE_DATE_EPOCH": str(FAT_EPOCH_SECONDS), "TZ": "UTC", "MTOOLSRC": "/dev/null"},
    )
    remove_tree(stage)
    _copy_data(alone, disk, partition.start_bytes)
    alone.unlink()


def _make_nix(step: MakeNix, disk: Path, nix_root: Path, tools: Tools) -> None:
    """Ext4 at the partition's offset, filled from `nix_root`."""
    partition, identity = step.partition, step.partition.filesystem_id
    options = (
        f"offset={partition.start_bytes}",
        # Names are hashed with a seed of ours: directories come out in the same order every time.
        f"hash_seed={identity}",
        "root_owner=0:0",
        # The file is a hole until written to, so tables need no zeros, neither now nor by the kernel at first mount.
        "assume_storage_prezeroed=1",
    )
    tools.run_tool(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-i", str(NIX_BYTES_PER_INODE)),
            *("-L", partition.label, "-U", identity, "-E", ",".join(options)),
            *("-d", nix_root, disk, f"{partition.size_bytes // KIB}k"),
        ],
        binds=[Bind(disk, writable=True), Bind(nix_root)],
        # mke2fs before 1.47.1 knows only the second name, and does not clamp the times of files.
        env={"SOURCE_DATE_EPOCH": str(STORE_EPOCH_SECONDS), "E2FSPROGS_FAKE_TIME": str(STORE_EPOCH_SECONDS)},
    )


def _make_root(step: MakeRoot, disk: Path, work: Path, tools: Tools) -> None:
    """f2fs in a file of its own, because mkfs.f2fs knows no offset; then its few data are copied in."""
    alone = _sparse_file(work / "root.raw", step.partition.size_bytes)
    tools.run_tool(
        ["mkfs.f2fs", "-q", "-f", "-l", step.partition.label, *step.options, alone],
        binds=[Bind(alone, writable=True)],
        env={},
    )
    _copy_data(alone, disk, step.partition.start_bytes)
    alone.unlink()


def _mark_root(step: MarkRoot, disk: Path) -> None:
    """The line that the guard knows a new volume by."""
    with disk.open("r+b") as file:
        file.seek(step.partition.start_bytes)
        file.write(f"{NEW_VOLUME}\n".encode())


def _sparse_file(path: Path, size_bytes: int) -> Path:
    """A new file that is one hole."""
    with path.open("xb") as file:
        file.truncate(size_bytes)
    return path


def _copy_data(source: Path, target: Path, offset: int) -> None:
    """Copy what is not a hole and not zero into `target` at `offset`, which holds only zeros there."""
    zeros = bytes(_COPY_BYTES)
    with source.open("rb", buffering=0) as reader, target.open("r+b", buffering=0) as writer:
        end = os.fstat(reader.fileno()).st_size
        position = 0
        while position < end:
            try:
                position = os.lseek(reader.fileno(), position, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            stop = os.lseek(reader.fileno(), position, os.SEEK_HOLE)
            while position < stop:
                data = os.pread(reader.fileno(), min(_COPY_BYTES, stop - position), position)
                if data != zeros[: len(data)]:
                    os.pwrite(writer.fileno(), data, offset + position)
                position += len(data)


def _check_contents(nix_root: Path, esp_files: Mapping[str, Path | bytes], output: Path, tools: Tools) -> None:
    """Refuse before the work what would fail at its end."""
    tree = measure_tree(nix_root)
    if tree.foreign_owner is not None and not tools.shows_root_as_owner:
        raise AniccaError(
            f"{tree.foreign_owner}: does not belong to root, and would not on the host",
            hint="write the image as root, or with tools that run in a user namespace",
        )
    needed = tree.size_bytes + sum(_content_size(c) for c in esp_files.values()) * 2 + ALIGNMENT_BYTES
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise AniccaError(
            f"{output.parent}: {free // ALIGNMENT_BYTES} MiB are free, the image needs {needed // ALIGNMENT_BYTES} MiB",
            hint="make room, or write it elsewhere",
        )


def _content_size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _sync(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
