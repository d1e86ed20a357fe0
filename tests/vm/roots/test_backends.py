"""The other roots, booted as a host does: blank whatever happened. More of damage: tests/integration/roots.

The disk holds an f2fs root at first, so the first boot of each is also one with another filesystem in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anicca import process

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(3600)]

BACKENDS = (
    ("btrfs", "btrfs", "made-afresh"),
    ("nilfs2", "overlay", "made-afresh"),
    ("overlay:ext4", "overlay", "made-afresh"),
    ("tmpfs", "tmpfs", "blank"),
    ("afresh:ext4", "ext4", "blank"),
    ("afresh:f2fs", "f2fs", "blank"),
)
MIB = 1 << 20


def parameters_of(backend: str) -> str:
    return f"anicca.backend={backend} anicca.rootopts= anicca.mkfs="


@pytest.mark.parametrize(("backend", "root", "first"), BACKENDS)
def test_a_host_boots_blank(backend: str, root: str, first: str, bench: Any, tmp_path: Path) -> None:
    disk = bench.copy(tmp_path)
    parameters = parameters_of(backend)
    one = bench.boot(disk, deed="junk", parameters=parameters)
    two = bench.boot(disk, deed="cut", parameters=parameters, cut=True)
    three = bench.boot(disk, parameters=parameters)
    assert [word.guard["outcome"] for word in (one, two, three)] == [first, "blank", "blank"]
    assert {word.guard["root"] for word in (one, two, three)} == {root}
    assert three.guard["reasons"] == []
    assert one.lines["digest"] == two.lines["digest"] == three.lines["digest"]
    assert one.lines["machine"] == three.lines["machine"]
    assert three.lines["kept"] == "3 3 seed"


@pytest.mark.parametrize("case", BACKENDS, ids=lambda case: case[0])
def test_a_host_is_up_after_damage(case: tuple[str, str, str], bench: Any, volume_type: Any, tmp_path: Path) -> None:
    """Full, with no inodes left; then the volume's beginning zeroed; then the volume not there."""
    backend, root, first = case
    disk = bench.copy(tmp_path)
    parameters = parameters_of(backend)
    one = bench.boot(disk, deed="full", parameters=parameters, seconds=900)
    full = bench.boot(disk, deed="reboot", parameters=parameters)
    assert full.guard["outcome"] in ("blank", "made-afresh"), full.guard
    assert full.guard["root"] == root
    volume_type(disk=disk).write(0, bytes(2 * MIB))
    damaged = bench.boot(disk, deed="reset", parameters=parameters)
    assert (damaged.guard["outcome"], damaged.guard["root"]) == (first, root), damaged.guard
    assert bench.boot(disk, parameters=parameters).guard["outcome"] == "blank"
    process.run(["sfdisk", "--quiet", "--part-uuid", disk, "2", "33333333-3333-5333-8333-333333333333"])
    missing = bench.boot(disk, parameters=parameters)
    if backend != "tmpfs":
        assert (missing.guard["outcome"], missing.guard["root"]) == ("fell-back", "tmpfs")
        assert "has not appeared" in missing.guard["reasons"][0]
    assert missing.guard["waited_seconds"] + missing.guard["seconds"] < 60
    assert one.lines["digest"] == full.lines["digest"] == damaged.lines["digest"]
    # ext4 has its lost+found, which memory has not.
    assert root == "ext4" or missing.lines["digest"] == one.lines["digest"]
    assert one.lines["machine"] == missing.lines["machine"]
    assert missing.lines["kept"] == "5 5 seed"
