"""The machine of guest.py, made once for all tests here, and once booted."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.vm.roots.guest import Bench, Volume, Word, make_machine
from tests.vm.roots.paused import pause

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    if os.geteuid() != 0:
        pytest.skip("only root can make a Debian tree with its owners")
    return make_machine(tmp_path_factory.mktemp("guard"))


@pytest.fixture(scope="session")
def booted(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Word]:
    """The same machine after its first boot, in which junk was strewn over the root, and what it said then."""
    disk = bench.copy(tmp_path_factory.mktemp("booted"))
    word = bench.boot(disk, deed="junk")
    return replace(bench, disk=disk), word


@pytest.fixture(scope="session")
def paused(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Path]:
    """The machine, and its state to go on from, whose host writes until its power is cut."""
    work = tmp_path_factory.mktemp("paused")
    bench.copy(work)
    return pause(replace(bench, disk=work / "disk.img"), work, deed="cut")


@pytest.fixture
def volume_type() -> type[Volume]:
    return Volume
