from __future__ import annotations

import uuid
from typing import Literal

import pytest

from anicca.disks.plan import (
    ESP_TYPE,
    LINUX_TYPE,
    MIB,
    Contents,
    DiskPlan,
    nix_bytes_needed,
    partition_uuid,
    plan_disk,
    plan_steps,
    table_script,
)
from anicca.errors import DeclarationError, Place

CONTENTS = Contents(nix_bytes=600 * MIB, nix_files=13_000, boot_manager_bytes=MIB, generation_bytes=50 * MIB)


def plan(
    *,
    esp_bytes: int = 256 * MIB,
    nix_bytes: int = 2048 * MIB,
    root_bytes: int = 1024 * MIB,
    root_filesystem: Literal["f2fs", "none"] = "f2fs",
    contents: Contents = CONTENTS,
    declared_at: tuple[Place, ...] = (),
) -> DiskPlan:
    return plan_disk(
        host="sundryvm",
        esp_bytes=esp_bytes,
        nix_bytes=nix_bytes,
        root_bytes=root_bytes,
        root_filesystem=root_filesystem,
        contents=contents,
        declared_at=declared_at,
    )


def test_identities_never_change() -> None:
    # Installed hosts have these on their kernel command lines.
    assert partition_uuid("sundryvm", "esp") == uuid.UUID("aa2dbd02-4e5a-52a7-b49b-40e247661e07")
    assert partition_uuid("sundryvm", "nix") == uuid.UUID("dd06f8b1-8674-5a8d-8883-26aa5e1ce9d3")
    assert partition_uuid("sundryvm", "root") == uuid.UUID("30419aff-eb86-5bc9-8d1c-f2e8e1cc818b")


def test_identities_differ_by_host_and_role() -> None:
    roles = ("esp", "nix", "root", "disk", "nix-filesystem")
    assert len({partition_uuid(host, role) for host in ("a", "b") for role in roles}) == 10


def test_partitions_follow_each_other_aligned() -> None:
    made = plan(esp_bytes=256 * MIB + 1)
    start = MIB
    for partition in made.partitions:
        assert partition.start_bytes == start
        assert partition.size_bytes % MIB == 0
        start += partition.size_bytes
    assert made.size_bytes == start + MIB
    assert [p.size_bytes // MIB for p in made.partitions] == [257, 2048, 1024]


def test_partitions_are_what_they_are_called() -> None:
    rows = [(p.role, p.label, p.type_uuid, p.filesystem) for p in plan().partitions]
    assert rows == [
        ("esp", "esp", ESP_TYPE, "vfat"),
        ("nix", "anicca-nix", LINUX_TYPE, "ext4"),
        ("root", "anicca-root", LINUX_TYPE, "f2fs"),
    ]


def test_a_root_in_memory_has_no_partition() -> None:
    made = plan(root_bytes=0)
    assert made.partition("root") is None
    assert [str(step).split(" ")[1] for step in plan_steps(made)] == ["a", "a", "an"]
    assert len(plan_steps(made)) == 3


def test_steps_say_themselves() -> None:
    assert [str(step) for step in plan_steps(plan())] == [
        (
            "make a disk of 3330 MiB with the partitions"
            " esp (256 MiB, vfat), anicca-nix (2048 MiB, ext4), anicca-root (1024 MiB, f2fs)"
        ),
        "make a FAT filesystem on esp and copy the boot files onto it",
        "make an ext4 filesystem on anicca-nix with the store and its state",
        "make a blank f2fs filesystem on anicca-root: -O extra_attr,compression",
    ]


def test_too_small_is_said_for_every_partition_at_once() -> None:
    place = Place("host.py", 7)
    with pytest.raises(DeclarationError) as caught:
        plan(esp_bytes=100 * MIB, nix_bytes=600 * MIB, root_bytes=100 * MIB, declared_at=(place,))
    messages = [str(fault) for fault in caught.value.faults]
    assert messages == [
        (
            "host.py:7: the esp partition of sundryvm is too small: 100 MiB; 103 MiB are needed"
            " for the boot files of 2 generations"
        ),
        (
            "host.py:7: the nix partition of sundryvm is too small: 600 MiB; 844 MiB are needed"
            " for a store of 600 MiB in 13000 files, and headroom"
        ),
        "host.py:7: the root partition of sundryvm is too small: 100 MiB; 128 MiB are needed for a root",
    ]


def test_the_least_that_is_asked_for_is_enough() -> None:
    made = plan(esp_bytes=103 * MIB, nix_bytes=844 * MIB, root_bytes=128 * MIB)
    assert len(made.partitions) == 3


def test_many_small_files_need_room_for_inodes() -> None:
    few = Contents(nix_bytes=4096, nix_files=1, boot_manager_bytes=0, generation_bytes=0)
    many = Contents(nix_bytes=4096, nix_files=100_000, boot_manager_bytes=0, generation_bytes=0)
    assert nix_bytes_needed(many) - nix_bytes_needed(few) > 100_000 * 8192


def test_table_script() -> None:
    made = plan()
    assert table_script(made) == (
        "label: gpt\n"
        f"label-id: {partition_uuid('sundryvm', 'disk')}\n"
        "unit: sectors\n"
        "first-lba: 2048\n"
        "\n"
        f'start=2048, size=524288, type={ESP_TYPE}, uuid={partition_uuid("sundryvm", "esp")}, name="esp"\n'
        f"start=526336, size=4194304, type={LINUX_TYPE}, uuid={partition_uuid('sundryvm', 'nix')},"
        ' name="anicca-nix"\n'
        f"start=4720640, size=2097152, type={LINUX_TYPE}, uuid={partition_uuid('sundryvm', 'root')},"
        ' name="anicca-root", attrs="GUID:63"\n'
    )


def test_a_root_that_the_guard_makes_is_only_marked() -> None:
    made = plan(root_filesystem="none")
    assert str(plan_steps(made)[-1]) == "leave anicca-root to be made at the first boot"
