from __future__ import annotations

import dataclasses
from functools import cache

import pytest
from tests.unit.debian.pins import pin

from anicca.debian.lock import Lock
from anicca.declare.root import F2fs
from anicca.declare.spec import DirectorySpec, DiskSpec, FileSpec, Kernel, LinkSpec, PersistSpec, Spec, UserSpec
from anicca.system.plan import SystemPlan, parameters, plan_system

PARTS = ("image", "etc", "seed", "initrd", "system")

SPEC = Spec(
    name="web",
    kernel=Kernel(package="linux-image-amd64"),
    packages=("linux-image-amd64",),
    timezone="UTC",
    locale="C.UTF-8",
    root=F2fs(),
    disk=DiskSpec(esp_bytes=512 << 20, nix_bytes=8 << 30, root_bytes=2 << 30),
)
LOCK = Lock(
    release="trixie",
    architecture="amd64",
    resolution="",
    epoch=1_795_252_544,
    packages=(pin("base-files"), pin("linux-image-amd64")),
    toolchain=(pin("mmdebstrap"),),
)


@cache
def base() -> SystemPlan:
    return plan_system(SPEC, LOCK)


def changed(spec: Spec, lock: Lock = LOCK) -> list[str]:
    """The parts whose store paths are not those of the bare host."""
    plan = plan_system(spec, lock)
    parts = [name for name in PARTS if getattr(plan, name).out != getattr(base(), name).out]
    return ["tree", *parts] if plan.tree.tree.out != base().tree.tree.out else parts


def file(path: str) -> FileSpec:
    return FileSpec(path=path, content=b"x", owner="root", group="root", mode=0o644)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({}, []),
        ({"files": (file("/etc/motd"),)}, ["etc", "system"]),
        ({"files": (LinkSpec(path="/etc/a", target="b"),)}, ["etc", "system"]),
        ({"files": (file("/srv/page"),)}, ["seed", "system"]),
        (
            {"files": (DirectorySpec(path="/srv/www", owner="root", group="root", mode=0o755),)},
            ["seed", "system"],
        ),
        (
            {"persist": (PersistSpec(path="/var/lib/x", kind="d", owner=None, group=None, mode=None),)},
            ["seed", "system"],
        ),
        ({"name": "mail"}, ["system"]),
    ],
)
def test_a_change_rebuilds_what_it_is_in_and_nothing_else(change: dict[str, object], parts: list[str]) -> None:
    assert changed(dataclasses.replace(SPEC, **change)) == parts  # type: ignore[arg-type]


def test_a_user_is_in_etc_and_not_in_the_tree() -> None:
    user = UserSpec(name="ann", comment="", home="/home/ann", shell="/bin/bash", groups=(), ssh_keys=())
    assert changed(dataclasses.replace(SPEC, users=(user,))) == ["etc", "system"]


def test_where_something_was_said_is_in_no_hash() -> None:
    assert changed(dataclasses.replace(SPEC, origins={"name": ()})) == []


def test_ids_do_not_touch_the_tree() -> None:
    lock = dataclasses.replace(LOCK, users={"ann": 1000})
    assert changed(SPEC, lock) == ["image", "etc", "seed", "initrd", "system"]


def test_the_initrd_has_nothing_of_the_host() -> None:
    text = " ".join(plan_system(dataclasses.replace(SPEC, name="unmistakable"), LOCK).initrd.drv.env.values())
    assert "unmistakable" not in text


def test_a_module_is_in_the_initrd_alone_and_is_not_built_again_for_a_later_lock() -> None:
    modules = (pin("linux-headers-6.12.118+deb13-amd64"), pin("linux-headers-6.12.118+deb13-common"), pin("zfs-dkms"))
    lock = dataclasses.replace(LOCK, modules=modules)
    assert changed(SPEC, lock) == ["initrd", "system"]

    def built(lock: Lock) -> list[str]:
        inputs = [step for step in plan_system(SPEC, lock).initrd.inputs if step.drv.name.startswith("zfs-")]
        assert [step.drv.name for step in inputs] == ["zfs-6.12.118+deb13-amd64"]
        return [str(step.out) for step in inputs]

    later = dataclasses.replace(lock, epoch=lock.epoch + 1, packages=(*lock.packages, pin("less")))
    assert built(later) == built(lock)
    assert built(dataclasses.replace(lock, modules=(*modules, pin("gcc")))) != built(lock)


def test_the_kernel_is_told_the_promises() -> None:
    words = parameters(SPEC)
    assert "rw" in words
    assert "systemd.firstboot=off" in words
    assert "systemd.condition_needs_update=no" in words
    assert any(word.startswith("anicca.root=PARTUUID=") for word in words)
    assert any(word.startswith("anicca.rootopts=") and "checkpoint=disable" in word for word in words)
