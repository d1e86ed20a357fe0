"""The layout where something is not as it should be: said, bounded, never writable and lost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
SUPERBLOCK = MIB + 1024
"""Of the ext4 on the first partition."""

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3600)]


def test_a_link_in_place_of_a_kept_path_is_not_followed(bench: Any, tmp_path: Path) -> None:
    disk = bench.copy(tmp_path)
    bench.boot(disk, deed="plant")
    word = bench.boot(disk)
    assert word.lines["unkept"].split() == ["/home/user/.keys"]
    assert "/home/user/.keys IS NOT KEPT" in word.console
    # Read-only and empty; the others are as declared again.
    assert word.lines["modes"].split()[:3] == ["750:5:6", "640:0:0", "755:0:0"]
    assert word.lines["kept"].startswith("2 2")
    assert word.guard["outcome"] == "blank"


@pytest.mark.nightly
def test_what_is_kept_is_whole_after_a_power_cut(bench: Any, tmp_path: Path) -> None:
    disk = bench.copy(tmp_path)
    first = bench.boot(disk, deed="cut", cut=True)
    with disk.open("rb") as file:
        file.seek(SUPERBLOCK + 0x60)
        # s_feature_incompat has EXT4_FEATURE_INCOMPAT_RECOVER: its journal is to be replayed.
        assert int.from_bytes(file.read(4), "little") & 4
    word = bench.boot(disk)
    assert [word.lines[line] for line in ("kept", "unkept", "modes")] == ["2 2 seed", "", first.lines["modes"]]
    assert word.lines["machine"] == first.lines["machine"]
    assert word.guard["outcome"] == "blank"


@pytest.mark.nightly
def test_a_full_volume_is_no_reason_to_stop(bench: Any, tmp_path: Path) -> None:
    disk = bench.copy(tmp_path)
    first = bench.boot(disk, deed="fill")
    word = bench.boot(disk)
    # What is there is whole, and goes on in the blocks that it has.
    assert [word.lines[line] for line in ("kept", "unkept", "modes")] == ["2 2 seed", "", first.lines["modes"]]
    assert word.lines["machine"] == first.lines["machine"]
    assert (word.guard["outcome"], word.guard["reasons"]) == ("blank", [])


def garble(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(SUPERBLOCK)
        file.write(random.Random("superblock").randbytes(1024))


def nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("damage", "parameters", "reason"),
    [
        pytest.param(nothing, "anicca.system=/nix/store/none", "looking for /nix/store/none", id="no system"),
        pytest.param(
            nothing,
            "anicca.nix=PARTUUID=44444444-4444-5444-8444-444444444444",
            "has not appeared in 60 seconds",
            id="no volume",
            marks=pytest.mark.nightly,
        ),
        pytest.param(nothing, "anicca.nix=LABEL=x", "is no PARTUUID=", id="no name", marks=pytest.mark.nightly),
        pytest.param(garble, "", "(the volume of /nix) gives 8: ", id="no superblock", marks=pytest.mark.nightly),
    ],
)
def test_without_a_host_it_says_why(
    damage: Callable[[Path], None], parameters: str, reason: str, bench: Any, tmp_path: Path
) -> None:
    disk = bench.copy(tmp_path)
    damage(disk)
    words, console, _ = bench.run(disk, parameters=parameters)
    assert words == ""
    assert "THIS HOST CANNOT BOOT" in console
    assert reason in console
