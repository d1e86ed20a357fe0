"""What a disk cannot give back: the file and the directory are named, and that is never "no drift"."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.drift.baseline import open_baseline
from anicca.drift.examine import compare_to_baseline, save_baseline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

BLOCK_BYTES = 4096


@contextmanager
def mounted(image: Path, top: Path) -> Iterator[None]:
    """An image while it is mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    top.mkdir(exist_ok=True)
    process.run(["mount", "-o", "loop", image, top])
    try:
        yield
    finally:
        process.run(["umount", top])


def damage(image: Path, at: int) -> None:
    """Write over one block."""
    with image.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * BLOCK_BYTES)


def check(top: Path, baselines: Path, path: str) -> None:
    """That path is told of as unreadable, nothing else is, and no command says that there is no drift."""
    found = compare_to_baseline(top, open_baseline(baselines / "before"))
    assert {(one.drift.path.decode(), one.drift.kind) for one in found.found} == {(path, "unreadable")}
    # A baseline of what cannot be read does not say that it is as it was.
    save_baseline(top, baselines / "after")
    for name in ("before", "after"):
        words = ("--json", "baseline", "compare", baselines / name, "--root", top)
        done = process.run([sys.executable, "-m", "anicca", *words], check=False)
        assert done.status == 1, done.stderr
        assert {one["path"] for one in json.loads(done.stdout)["unread"]} == {path}


def test_a_file_whose_content_its_disk_does_not_give_back_is_told(tmp_path: Path) -> None:
    source, image, top = tmp_path / "source", tmp_path / "image", tmp_path / "disk"
    source.mkdir()
    (source / "rotten").write_text("".join(f"{number}\n" for number in range(200_000)))
    (source / "sound").write_text("sound\n")
    process.run(["mkfs.erofs", "--quiet", "-zlz4", image, source])
    with mounted(image, top):
        save_baseline(top, tmp_path / "before")
    damage(image, image.stat().st_size // 2)
    with mounted(image, top):
        check(top, tmp_path, "/rotten")


def test_a_directory_that_its_disk_does_not_give_back_is_told_and_nothing_below_it_is_called_removed(
    tmp_path: Path,
) -> None:
    image, top = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    process.run(["mkfs.ext4", "-q", "-b", str(BLOCK_BYTES), image])
    with mounted(image, top):
        (top / "sound").write_text("sound\n")
        (top / "rotten").mkdir()
        (top / "rotten/file").write_text("below\n")
        save_baseline(top, tmp_path / "before")
    block = process.run(["debugfs", "-R", "blocks /rotten", image]).text.split()[0]
    damage(image, int(block) * BLOCK_BYTES)
    with mounted(image, top):
        check(top, tmp_path, "/rotten")
