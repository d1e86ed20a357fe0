"""The example host, built once and kept outside the checkout: what is in the store by its hash is not built again."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca import fs
from anicca.debian.apt import Wish, open_apt
from anicca.debian.archive import find_mirrors
from anicca.debian.environment import BuildEnvironment, plan_environment
from anicca.debian.fetch import Fetcher, PinsGoneError, default_cache
from anicca.debian.lock import Lock, Pin, allocate, lock_path
from anicca.debian.resolve import resolve
from anicca.debian.tree import TreePlan, plan_image, plan_tree
from anicca.declare.load import evaluate
from anicca.store import LocalStore
from anicca.system.build import realise
from anicca.system.locking import make_lock, require_lock
from anicca.system.plan import SystemPlan, plan_system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.declare.spec import Spec
    from anicca.store import Instantiated

EXAMPLE = Path(__file__).parents[3] / "examples/sundryvm/host.py"
CACHE = Path(os.environ.get("ANICCA_TEST_CACHE") or Path.home() / ".cache/anicca-tests")
KEPT_SYSTEMS = 12
"""Each change of a builder leaves a system behind; past this many the store is begun anew."""
TOOLS = ("bwrap", "apt-get", "dpkg-deb")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltHost:
    """The example host in a store."""

    file: Path
    spec: Spec
    lock: Lock
    plan: SystemPlan
    store: LocalStore
    fetcher: Fetcher


def make_fetcher(spec: Spec, lock: Lock) -> Fetcher:
    return Fetcher(cache=default_cache(), find_mirrors=lambda: find_mirrors(snapshot=spec.snapshot), epoch=lock.epoch)


def needed() -> None:
    """Skip where a tree cannot be built, and say why."""
    if os.geteuid() != 0:
        pytest.skip("trees are built as root")
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


@pytest.fixture(scope="session")
def test_cache() -> Iterator[Path]:
    """Our folder outside the checkout; one test run at a time builds in it."""
    needed()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store = CACHE / "store"
        if len(list((store / "nix/store").glob("*-system-*"))) > 2 * KEPT_SYSTEMS:
            fs.remove_tree(store)
        yield CACHE


@pytest.fixture(scope="session")
def built_host(test_cache: Path) -> Iterator[BuiltHost]:
    """The example host as it is locked; with a lock of our own where the mirror has dropped its pins."""
    with LocalStore.open(test_cache / "store") as store:
        try:
            yield build(EXAMPLE, store)
        except PinsGoneError as error:
            yield build(moved(test_cache / "host", store, [row.pin.name for row in error.missing]), store)


def build(file: Path, store: LocalStore) -> BuiltHost:
    spec = evaluate(file)
    lock = require_lock(spec, file)
    plan = plan_system(spec, lock)
    fetcher = make_fetcher(spec, lock)
    realise(store, [plan.system, plan.toolchain], plan.environment, fetcher)
    return BuiltHost(file=file, spec=spec, lock=lock, plan=plan, store=store, fetcher=fetcher)


def moved(directory: Path, store: LocalStore, names: list[str]) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(EXAMPLE.parent, directory)
    file = directory / EXAMPLE.name
    spec = evaluate(file)
    lock = require_lock(spec, file)
    make_lock(
        spec,
        file,
        store=store,
        fetcher=make_fetcher(spec, lock),
        apt_directory=directory.parent / "apt",
        mirrors=find_mirrors(),
        update=names,
    )
    assert lock_path(file).exists()
    return file


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A tree of a few packages, in a store, with its image."""

    lock: Lock
    tree: TreePlan
    image: Instantiated
    environment: BuildEnvironment
    facts: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Assembles trees of other packages than the example's, with the example's toolchain."""

    cache: Path
    toolchain: tuple[Pin, ...]
    epoch: int

    def lock(self, *packages: str) -> Lock:
        """The packages as the archive has them now, with all that they need; no ids yet."""
        wish = Wish(release="trixie", architecture="amd64", components=("main",), packages=packages, places={})
        with open_apt(self.cache / "apt", wish, find_mirrors()) as apt:
            pins = resolve(apt, wish)
        return Lock(
            release="trixie",
            architecture="amd64",
            resolution="",
            epoch=self.epoch,
            packages=pins,
            toolchain=self.toolchain,
        )

    def assemble(self, lock: Lock, store: LocalStore) -> Assembled:
        """Build the lock's tree, give it ids that go on from the lock's, and make its image."""
        fetcher = Fetcher(cache=default_cache(), find_mirrors=find_mirrors, epoch=lock.epoch)
        environment = plan_environment(lock)
        tree = plan_tree(lock, environment)
        realise(store, [tree.tree], environment, fetcher)
        facts = json.loads((store.physical(tree.tree.out) / "facts.json").read_bytes())
        lock = replace(
            lock, users=allocate(lock.users, facts["users"], ()), groups=allocate(lock.groups, facts["groups"], ())
        )
        image = plan_image(lock, tree, environment)
        realise(store, [image], environment, fetcher)
        return Assembled(lock=lock, tree=tree, image=image, environment=environment, facts=facts)


@pytest.fixture(scope="session")
def workshop(built_host: BuiltHost, test_cache: Path) -> Workshop:
    return Workshop(cache=test_cache, toolchain=built_host.lock.toolchain, epoch=built_host.lock.epoch)
