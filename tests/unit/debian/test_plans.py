from __future__ import annotations

import dataclasses

from tests.unit.debian.pins import pin

from anicca.debian.environment import plan_environment, plan_package, store_name
from anicca.debian.lock import Lock
from anicca.debian.tree import plan_image, plan_tree

LOCK = Lock(
    release="trixie",
    architecture="amd64",
    resolution="",
    epoch=1_795_252_544,
    packages=tuple(map(pin, ("base-files", "curl", "less"))),
    toolchain=tuple(map(pin, ("mmdebstrap", "python3"))),
    users={"root": 0},
    groups={"root": 0},
)


def moved(lock: Lock, name: str, version: str) -> Lock:
    packages = tuple(pin(name, version) if old.name == name else old for old in lock.packages)
    return dataclasses.replace(lock, packages=packages)


def test_two_trees_that_differ_by_one_version_share_all_other_packages() -> None:
    before = plan_tree(LOCK, plan_environment(LOCK))
    after_lock = moved(LOCK, "curl", "1.0-2")
    after = plan_tree(after_lock, plan_environment(after_lock))
    old = {package.pin.name: package.contents.out for package in before.packages}
    new = {package.pin.name: package.contents.out for package in after.packages}
    assert [name for name in old if old[name] != new[name]] == ["curl"]
    assert before.tree.out != after.tree.out


def test_the_toolchain_is_no_package_of_the_tree_and_stays_when_packages_move() -> None:
    assert plan_environment(LOCK).toolchain.out == plan_environment(moved(LOCK, "less", "2")).toolchain.out


def test_where_a_package_is_fetched_from_is_in_no_output() -> None:
    system = "x86_64-linux"
    here = plan_package(pin("curl"), system)
    there = plan_package(dataclasses.replace(pin("curl"), filename="pool/other/curl.deb"), system)
    assert here.deb.out == there.deb.out
    assert here.contents.out == there.contents.out


def test_ids_are_in_the_image_and_not_in_the_tree() -> None:
    other = dataclasses.replace(LOCK, users={"root": 0, "crontab": 999})
    trees = [plan_tree(lock, plan_environment(lock)) for lock in (LOCK, other)]
    assert trees[0].tree.out == trees[1].tree.out
    images = [
        plan_image(lock, tree, plan_environment(lock)).out for lock, tree in zip((LOCK, other), trees, strict=True)
    ]
    assert images[0] != images[1]


def test_versions_become_names_that_a_store_may_have() -> None:
    assert store_name("perl-1:5.40.1~rc1-6+deb13u1") == "perl-1_5.40.1_rc1-6+deb13u1"
