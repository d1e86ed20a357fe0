from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Literal

import pytest

from anicca import process
from anicca.disks.esp import BootEntry, esp_files
from anicca.disks.image import measure_contents, read_boot_file, write_image
from anicca.disks.plan import MIB, DiskPlan, PartitionPlan, partition_uuid, plan_disk
from anicca.disks.staging import link_objects, measure_tree
from anicca.disks.tools import Bind, Tools, run_machine_tool
from anicca.errors import AniccaError, RefusedError
from anicca.events import Event, Finished
from anicca.fs import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

pytestmark = pytest.mark.integration

NOBODY = 65_534


def tool(*argv: str | Path) -> process.Completed:
    return run_machine_tool(argv, binds=(), env={})


def make_store(directory: Path) -> None:
    """A few objects: read-only files, a program, links, hard links, a long name, and something big enough to see."""
    objects = directory / "store"
    package = objects / "aaaa-package-1"
    (package / "bin").mkdir(parents=True)
    (package / "bin/tool").write_bytes(b"#!/bin/sh\necho hi\n")
    (package / "bin/tool").chmod(0o555)
    (package / "bin/again").hardlink_to(package / "bin/tool")
    (package / "link").symlink_to("/nix/store/bbbb-other")
    (package / ("long-" * 40)).write_bytes(b"")
    (package / "big").write_bytes(hashlib.shake_256(b"big").digest(3 * MIB))
    (package / "big").chmod(0o444)
    (objects / "bbbb-other").write_text("alone")
    (directory / "var/nix/db").mkdir(parents=True)
    (directory / "var/nix/db/db.sqlite").write_bytes(b"db")
    for path in [*directory.rglob("*"), directory]:
        os.utime(path, (1, 1), follow_symlinks=False)
        if path.is_dir() and objects in path.parents:
            path.chmod(0o555)


@pytest.fixture
def nix_root(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "nix-root"
    made.mkdir()
    make_store(made)
    yield made
    remove_tree(made)


@pytest.fixture
def boot_files(tmp_path: Path) -> Mapping[str, Path | bytes]:
    for name in ("kernel", "initrd", "manager"):
        (tmp_path / name).write_bytes(hashlib.shake_256(name.encode()).digest(700_001))
    entry = BootEntry(
        host="testhost",
        generation=1,
        description="Debian 13",
        kernel=read_boot_file(tmp_path / "kernel"),
        initrd=read_boot_file(tmp_path / "initrd"),
        options="rw quiet",
    )
    return esp_files([entry], boot_manager=tmp_path / "manager")


def make_plan(
    nix_root: Path,
    boot_files: Mapping[str, Path | bytes],
    *,
    root_bytes: int = 256 * MIB,
    root_filesystem: Literal["f2fs", "none"] = "f2fs",
) -> DiskPlan:
    return plan_disk(
        host="testhost",
        esp_bytes=64 * MIB,
        nix_bytes=128 * MIB,
        root_bytes=root_bytes,
        root_filesystem=root_filesystem,
        contents=measure_contents(nix_root=nix_root, esp_files=boot_files),
    )


def part(plan: DiskPlan, role: str) -> PartitionPlan:
    return next(p for p in plan.partitions if p.role == role)


def extract(image: Path, partition: PartitionPlan, target: Path) -> Path:
    with image.open("rb") as reader, target.open("wb") as writer:
        reader.seek(partition.start_bytes)
        writer.write(reader.read(partition.size_bytes))
    return target


def leftovers(directory: Path) -> list[str]:
    return sorted(name for name in (p.name for p in directory.iterdir()) if "disk.img" in name)


def test_the_image_is_what_the_plan_says(
    tmp_path: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]
) -> None:
    plan = make_plan(nix_root, boot_files)
    image = tmp_path / "disk.img"
    events: list[Event] = []
    write_image(plan, output=image, nix_root=nix_root, esp_files=boot_files, report=events.append)
    assert events[-1] == Finished(task="image")
    assert leftovers(tmp_path) == ["disk.img"]

    table = json.loads(tool("sfdisk", "-J", image).text)["partitiontable"]
    assert table["label"] == "gpt"
    assert table["id"].lower() == str(partition_uuid("testhost", "disk"))
    assert [(p["name"], p["uuid"].lower(), p["start"] * 512, p["size"] * 512) for p in table["partitions"]] == [
        (p.label, str(p.uuid), p.start_bytes, p.size_bytes) for p in plan.partitions
    ]
    assert [p["type"][:8] for p in table["partitions"]] == ["C12A7328", "0FC63DAF", "0FC63DAF"]
    assert [p.get("attrs") for p in table["partitions"]] == [None, None, "GUID:63"]
    assert "No errors detected." in tool("sfdisk", "--verify", image).text

    # Sparse: the data, and a few MiB of tables.
    assert image.stat().st_size == plan.size_bytes
    assert image.stat().st_blocks * 512 < 40 * MIB


def test_a_root_that_the_guard_makes_begins_with_its_line(
    tmp_path: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]
) -> None:
    plan = make_plan(nix_root, boot_files, root_filesystem="none")
    write_image(plan, output=tmp_path / "disk.img", nix_root=nix_root, esp_files=boot_files)
    root = extract(tmp_path / "disk.img", part(plan, "root"), tmp_path / "root").read_bytes()
    assert root.rstrip(b"\0") == b"anicca: a new volume\n"


def test_the_esp_holds_the_boot_files(tmp_path: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]) -> None:
    plan = make_plan(nix_root, boot_files, root_bytes=0)
    image = tmp_path / "disk.img"
    write_image(plan, output=image, nix_root=nix_root, esp_files=boot_files)
    esp = extract(image, part(plan, "esp"), tmp_path / "esp.fs")
    tool("fsck.vfat", "-n", esp)
    copied = tmp_path / "copied"
    copied.mkdir()
    tool("mcopy", "-s", "-n", "-i", esp, "::EFI", "::loader", copied)
    found = {str(p.relative_to(copied)): p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    assert found == {path: c if isinstance(c, bytes) else c.read_bytes() for path, c in boot_files.items()}


def test_nix_holds_the_store_and_is_sound(
    tmp_path: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]
) -> None:
    plan = make_plan(nix_root, boot_files)
    image = tmp_path / "disk.img"
    write_image(plan, output=image, nix_root=nix_root, esp_files=boot_files)
    place = f"{image}?offset={part(plan, 'nix').start_bytes}"
    tool("e2fsck", "-f", "-n", place)
    facts = tool("debugfs", "-R", "show_super_stats -h", place).text
    assert "Filesystem volume name:   anicca-nix" in facts
    assert f"Filesystem UUID:          {partition_uuid('testhost', 'nix-filesystem')}" in facts

    out = tmp_path / "out"
    out.mkdir()
    tool("debugfs", "-R", f"rdump / {out}", place)
    remove_tree(out / "lost+found")
    assert _facts(out) == _facts(nix_root)
    again = tool("debugfs", "-R", "stat /store/aaaa-package-1/bin/again", place).text
    assert "Links: 2" in again
    assert "User:     0   Group:     0" in again
    assert "mtime: 0x00000001" in again
    remove_tree(out)


def _facts(root: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in root.rglob("*"):
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (path.lstat().st_mode, content)
    return found


def test_root_is_blank_f2fs(tmp_path: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]) -> None:
    plan = make_plan(nix_root, boot_files)
    image = tmp_path / "disk.img"
    write_image(plan, output=image, nix_root=nix_root, esp_files=boot_files)
    root = extract(image, part(plan, "root"), tmp_path / "root.fs")
    known = tool("blkid", "-p", "-o", "export", root).text
    assert "TYPE=f2fs" in known
    assert "LABEL=anicca-root" in known
    checked = tool("fsck.f2fs", "--dry-run", root).text
    # One inode, the root's, and nothing is wrong with it.
    assert re.search(r"valid_inode_count matched with CP +\[Ok\.\.\] \[0x1\]", checked)
    assert "[Fail]" not in checked
    assert re.search(r"superblock features = .* extra_attr compression", checked)


def _mke2fs_version() -> tuple[int, ...]:
    said = run_machine_tool(["mke2fs", "-V"], binds=(), env={}).stderr.decode()
    found = re.search(r"mke2fs (\d+)\.(\d+)\.(\d+)", said)
    assert found, said
    return tuple(map(int, found.groups()))


# With Debian 13's tools in a sandbox: tests/vm/vm/test_toolchain.py.
def test_twice_the_same_bytes(tmp_path: Path, boot_files: Mapping[str, Path | bytes]) -> None:
    if _mke2fs_version() < (1, 47, 1):
        pytest.skip("this machine's mke2fs writes the files' ctimes")
    digests = []
    for number in (1, 2):
        nix_root = tmp_path / f"nix-root-{number}"
        nix_root.mkdir()
        if number == 2:
            # Other inodes, another order of creation in the directory.
            (nix_root / "store").mkdir()
            (nix_root / "store/bbbb-other").write_text("alone")
            remove_tree(nix_root / "store")
        make_store(nix_root)
        plan = make_plan(nix_root, boot_files)
        image = tmp_path / f"disk-{number}.img"
        write_image(plan, output=image, nix_root=nix_root, esp_files=boot_files)
        with image.open("rb") as file:
            digests.append(hashlib.sha256(file.read(part(plan, "root").start_bytes)).hexdigest())
            file.seek(plan.size_bytes - 34 * 512)
            digests.append(hashlib.sha256(file.read()).hexdigest())
        remove_tree(nix_root)
    assert digests[:2] == digests[2:]


def test_what_is_there_is_not_overwritten(
    tmp_path: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]
) -> None:
    image = tmp_path / "disk.img"
    image.write_text("mine")
    plan = make_plan(nix_root, boot_files)
    with pytest.raises(RefusedError, match="is there already"):
        write_image(plan, output=image, nix_root=nix_root, esp_files=boot_files)
    assert image.read_text() == "mine"
    write_image(plan, output=image, nix_root=nix_root, esp_files=boot_files, overwrite=True)
    assert image.stat().st_size == plan.size_bytes


def test_a_missing_program_is_named_and_leaves_nothing(
    tmp_path: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]
) -> None:
    def without_f2fs(
        argv: Sequence[str | Path], *, binds: Sequence[Bind], env: Mapping[str, str], stdin: bytes | None = None
    ) -> process.Completed:
        name = "no-such-mkfs" if argv[0] == "mkfs.f2fs" else argv[0]
        return run_machine_tool([name, *argv[1:]], binds=binds, env=env, stdin=stdin)

    plan = make_plan(nix_root, boot_files)
    with pytest.raises(process.ProgramError, match="no-such-mkfs: program not found"):
        write_image(
            plan,
            output=tmp_path / "disk.img",
            nix_root=nix_root,
            esp_files=boot_files,
            tools=Tools(run_tool=without_f2fs),
        )
    assert leftovers(tmp_path) == []


def test_what_a_killed_writer_left_is_removed(
    tmp_path: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]
) -> None:
    dead = tmp_path / ".disk.img.999999999.tmp"
    alive = tmp_path / f".disk.img.{os.getppid()}.tmp"
    for directory in (dead, alive):
        (directory / "esp").mkdir(parents=True)
    write_image(make_plan(nix_root, boot_files), output=tmp_path / "disk.img", nix_root=nix_root, esp_files=boot_files)
    assert leftovers(tmp_path) == [alive.name, "disk.img"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(
    tmp_path: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]
) -> None:
    plan = make_plan(nix_root, boot_files)
    os.chown(nix_root / "store/bbbb-other", NOBODY, 0)
    with pytest.raises(AniccaError, match="bbbb-other: does not belong to root"):
        write_image(plan, output=tmp_path / "disk.img", nix_root=nix_root, esp_files=boot_files)
    assert leftovers(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small filesystem")
    mounted = tmp_path / "small"
    mounted.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", f"size={request.param}", "small", mounted])
    yield mounted
    process.run(["umount", mounted])


@pytest.mark.parametrize("small_disk", ["2m"], indirect=True)
def test_a_disk_that_is_too_small_is_seen_before_the_work(
    small_disk: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes]
) -> None:
    with pytest.raises(AniccaError, match="2 MiB are free, the image needs"):
        write_image(
            make_plan(nix_root, boot_files), output=small_disk / "disk.img", nix_root=nix_root, esp_files=boot_files
        )
    assert leftovers(small_disk) == []


@pytest.mark.parametrize("small_disk", ["32m"], indirect=True)
@pytest.mark.parametrize("victim", ["sfdisk", "mkfs.vfat", "mcopy", "mke2fs", "mkfs.f2fs"])
def test_a_disk_that_fills_up_leaves_no_half_image(
    small_disk: Path, nix_root: Path, boot_files: Mapping[str, Path | bytes], victim: str
) -> None:
    def with_a_greedy_neighbour(
        argv: Sequence[str | Path], *, binds: Sequence[Bind], env: Mapping[str, str], stdin: bytes | None = None
    ) -> process.Completed:
        if argv[0] == victim:
            with contextlib.suppress(OSError), (small_disk / "neighbour").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        return run_machine_tool(argv, binds=binds, env=env, stdin=stdin)

    with pytest.raises(AniccaError) as caught:
        write_image(
            make_plan(nix_root, boot_files),
            output=small_disk / "disk.img",
            nix_root=nix_root,
            esp_files=boot_files,
            tools=Tools(run_tool=with_a_greedy_neighbour),
        )
    assert victim in str(caught.value) or "No space left" in str(caught.value)
    assert leftovers(small_disk) == []


def test_linked_objects_cost_nothing_and_keep_their_facts(tmp_path: Path, nix_root: Path) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    link_objects(sorted((nix_root / "store").iterdir()), staged)
    assert _facts(staged) == _facts(nix_root / "store")
    assert (staged / "aaaa-package-1/big").samefile(nix_root / "store/aaaa-package-1/big")
    assert (staged / "aaaa-package-1/bin").lstat().st_mtime == 1
    remove_tree(staged)


@pytest.mark.parametrize("small_disk", ["16m"], indirect=True)
def test_objects_of_another_filesystem_are_copied(small_disk: Path, nix_root: Path) -> None:
    link_objects(sorted((nix_root / "store").iterdir()), small_disk)
    assert _facts(small_disk) == _facts(nix_root / "store")
    remove_tree(small_disk / "aaaa-package-1")


def test_a_tree_is_measured_in_blocks_and_links_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    shutil.copytree(tmp_path, tmp_path / "d", copy_function=os.link)
    size = measure_tree(tmp_path)
    directory_bytes = (tmp_path / "d").stat().st_size
    assert size.files == 2
    assert size.size_bytes == 4096 + -(-directory_bytes // 4096) * 4096
