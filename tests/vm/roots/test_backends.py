"""The other roots, booted as a host does: blank after a clean stop and after a cut. Damage: tests/integration/roots.

The disk holds an f2fs root at first, so the first boot of each is also one with another filesystem in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(
    ("backend", "root", "first"),
    [
        ("btrfs", "btrfs", "made-afresh"),
        ("afresh:ext4", "ext4", "blank"),
        ("overlay:ext4", "overlay", "made-afresh"),
        ("afresh:f2fs", "f2fs", "blank"),
        ("tmpfs", "tmpfs", "blank"),
    ],
)
def test_a_host_boots_blank(backend: str, root: str, first: str, bench: Any, tmp_path: Path) -> None:
    disk = bench.copy(tmp_path)
    parameters = f"anicca.backend={backend} anicca.rootopts= anicca.mkfs="
    one = bench.boot(disk, deed="junk", parameters=parameters)
    two = bench.boot(disk, deed="cut", parameters=parameters, cut=True)
    three = bench.boot(disk, parameters=parameters)
    assert [word.guard["outcome"] for word in (one, two, three)] == [first, "blank", "blank"]
    assert {word.guard["root"] for word in (one, two, three)} == {root}
    assert three.guard["reasons"] == []
    assert one.lines["digest"] == two.lines["digest"] == three.lines["digest"]
    assert one.lines["machine"] == three.lines["machine"]
    assert three.lines["kept"] == "3 3 seed"
