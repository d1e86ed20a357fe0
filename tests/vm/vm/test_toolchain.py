from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from anicca.disks.image import measure_contents, write_image
from anicca.disks.plan import MIB, plan_disk
from anicca.fs import remove_tree
from anicca.system.tools import toolchain_tools

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]


def make_store(directory: Path) -> None:
    for number in range(300):
        package = directory / f"store/{number:04}-package/share"
        package.mkdir(parents=True)
        (package / "data").write_bytes(hashlib.shake_256(b"%d" % number).digest(number * 37))
        (package / "link").symlink_to("data")
    for path in directory.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)


def test_with_debian_13s_tools_the_same_contents_are_the_same_bytes(debian_tree: Path, tmp_path: Path) -> None:
    digests: list[str] = []
    # Another filesystem gives names in another order, other inodes and other times.
    for place in (tmp_path, Path("/dev/shm") / tmp_path.name):
        nix_root = place / "nix-root"
        nix_root.mkdir(parents=True)
        try:
            make_store(nix_root)
            files: dict[str, Path | bytes] = {
                "EFI/anicca/x-linux.efi": b"k" * MIB,
                "loader/loader.conf": b"timeout 0\n",
            }
            plan = plan_disk(
                host="twice",
                esp_bytes=64 * MIB,
                nix_bytes=128 * MIB,
                root_bytes=0,
                contents=measure_contents(nix_root=nix_root, esp_files=files),
            )
            output = tmp_path / f"{len(digests)}.img"
            write_image(plan, output=output, nix_root=nix_root, esp_files=files, tools=toolchain_tools(debian_tree))
            with output.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        finally:
            remove_tree(place if place != tmp_path else nix_root)
    assert digests[0] == digests[1]
