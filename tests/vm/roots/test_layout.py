"""The layout where something is not as it should be: said, bounded, never writable and lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]


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


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        pytest.param("anicca.system=/nix/store/none", "looking for /nix/store/none", id="no system"),
        pytest.param(
            "anicca.nix=PARTUUID=44444444-4444-5444-8444-444444444444",
            "has not appeared in 60 seconds",
            id="no volume",
            marks=pytest.mark.nightly,
        ),
        pytest.param("anicca.nix=LABEL=x", "is no PARTUUID=", id="no name", marks=pytest.mark.nightly),
    ],
)
def test_without_a_host_it_says_why(parameters: str, reason: str, bench: Any, tmp_path: Path) -> None:
    words, console, seconds = bench.run(bench.copy(tmp_path), parameters=parameters)
    assert words == ""
    assert "THIS HOST CANNOT BOOT" in console
    assert reason in console
    assert seconds < 240
