from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.system.switching.small import SmallHost, SystemText, Workshop, empty_esp

from anicca import fs
from anicca.store import LocalStore
from anicca.system.switching.host import HostPlaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def new_host(tmp_path: Path) -> Iterator[Callable[[], SmallHost]]:
    """Makes hosts without generations."""
    stores: list[LocalStore] = []
    roots: list[Path] = []

    def make() -> SmallHost:
        root = tmp_path / f"host-{len(stores)}"
        root.mkdir()
        store = LocalStore.open(root, durable=False)
        store.writing()
        stores.append(store)
        roots.append(root)
        empty_esp(root / "boot")
        (root / "work").mkdir()
        places = HostPlaces(store=store, boot=root / "boot", run=root / "run", command_line=root / "cmdline")
        return SmallHost(places=places, workshop=Workshop(store, root / "work"))

    yield make
    for store in stores:
        store.close()
    for root in roots:
        fs.remove_tree(root)


@pytest.fixture
def host(new_host: Callable[[], SmallHost]) -> SmallHost:
    """A host with one generation, which is booted."""
    made = new_host()
    made.add(SystemText())
    made.run(1)
    return made
