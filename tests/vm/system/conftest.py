"""A machine that runs the base host, with all that it lacks of other hosts imported from a second disk."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.vm.system.hosts import CACHE, Declared, Mover, build, make_image, pack

from anicca.vm.machine import Machine, MachineConfig
from anicca.vm.probe import choose_accelerator
from anicca.vm.qemu import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from anicca.store import StorePath


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Mover]]:
    """Boots the base host, able to become each of the hosts given by name."""
    if os.geteuid() != 0:
        pytest.skip("trees are built as root")

    @contextmanager
    def started(
        hosts: Mapping[str, Declared],
        *,
        base: Declared | None = None,
        more: Sequence[Callable[[Declared], StorePath]] = (),
    ) -> Iterator[Mover]:
        first = base or Declared()
        systems = {name: build(declared) for name, declared in {"base": first, **hosts}.items()}
        work: Path = tmp_path_factory.mktemp("mover")
        make_image(first, work / "disk.raw")
        pack([*systems.values(), *(find(first) for find in more)], systems["base"], work / "more.raw")
        config = MachineConfig(
            name="anicca-mover",
            disks=(Disk(path=work / "disk.raw"), Disk(path=work / "more.raw")),
            accelerator=choose_accelerator(CACHE),
        )
        with Machine(config, run_dir=work) as machine:
            mover = Mover(machine=machine, systems=systems)
            machine.start()
            mover.wait()
            mover.ask("anicca store import < /dev/vdb")
            yield mover

    return started
