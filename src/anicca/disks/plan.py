"""The layout of a host's disk, chosen from the sizes declared and the sizes of what goes onto it. Touches nothing."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

from anicca.errors import DeclarationError, Fault, Place

Role = Literal["esp", "nix", "root"]
Filesystem = Literal["vfat", "ext4", "f2fs", "none"]
"""`none`: made by the guard at the first boot."""

KIB = 1024
MIB = 1024 * KIB
SECTOR_BYTES = 512
ALIGNMENT_BYTES = MIB
"""Every partition starts and ends on a multiple of this."""

MINIMUM_ESP_BYTES = 40 * MIB
"""mkfs.vfat makes no valid FAT32 below 33 MiB (65,525 clusters of 512 bytes)."""
MINIMUM_ROOT_BYTES = 128 * MIB
"""mkfs.f2fs needs overprovisioned segments; below this little is left to use."""
NIX_BYTES_PER_INODE = 8192
"""A store has many small files; mke2fs's own 16 KiB would run out of inodes before it runs out of blocks."""
GENERATIONS_ON_ESP = 2
"""The one that runs and the one being installed."""

ESP_TYPE = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX_TYPE = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
"""Partition types of the Discoverable Partitions Specification: EFI system, generic Linux data. The root is of the
generic type on purpose: systemd's generator must not mount it without our options."""

NOT_BY_ITSELF = ', attrs="GUID:63"'
"""The same specification's mark for what is not to be mounted without being asked for: desktops and rescue systems that
heed it leave the root alone, which a mount without our options would make remember."""

_IDENTITIES = uuid.UUID("5f6ff7fa-b131-43a9-96da-f035219d6349")
"""The namespace of all identities derived here; changing it would orphan every installed host."""

PARTITION_LABELS: dict[Role, str] = {"esp": "esp", "nix": "anicca-nix", "root": "anicca-root"}


def partition_uuid(host: str, role: str) -> uuid.UUID:
    """The PARTUUID of a host's partition (`esp`, `nix`, `root`), the same on every machine and day (uuid5).

    Other roles name other identities: `disk` the partition table, `nix-filesystem` the filesystem on `nix`.
    """
    return uuid.uuid5(_IDENTITIES, f"{host}/{role}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionPlan:
    """One partition and the filesystem on it."""

    role: Role
    label: str
    type_uuid: uuid.UUID
    uuid: uuid.UUID
    start_bytes: int
    size_bytes: int
    filesystem: Filesystem
    filesystem_id: str
    """A UUID for the filesystem too; FAT takes its first 32 bits, f2fs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPlan:
    """A whole disk: a GPT and its partitions, in order of their start."""

    host: str
    uuid: uuid.UUID
    size_bytes: int
    partitions: tuple[PartitionPlan, ...]
    root_mkfs_options: tuple[str, ...]

    def partition(self, role: Role) -> PartitionPlan | None:
        """The partition of that role; None where the plan has none (a root in memory)."""
        return next((p for p in self.partitions if p.role == role), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What goes onto the disk, as measured: the tree for `nix` (in whole blocks), one generation's files on the ESP."""

    nix_bytes: int
    nix_files: int
    boot_manager_bytes: int
    generation_bytes: int


# Steps: what applying a plan does, in order; each says itself in a sentence.


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeTable:
    """An empty disk with the plan's partition table."""

    plan: DiskPlan

    def __str__(self) -> str:
        parts = ", ".join(f"{p.label} ({_mib(p.size_bytes)}, {p.filesystem})" for p in self.plan.partitions)
        return f"make a disk of {_mib(self.plan.size_bytes)} with the partitions {parts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeEsp:
    """A FAT filesystem with the boot files."""

    partition: PartitionPlan

    def __str__(self) -> str:
        return f"make a FAT filesystem on {self.partition.label} and copy the boot files onto it"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeNix:
    """An ext4 filesystem with the store and its state."""

    partition: PartitionPlan

    def __str__(self) -> str:
        return f"make an ext4 filesystem on {self.partition.label} with the store and its state"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeRoot:
    """A blank f2fs filesystem for the root."""

    partition: PartitionPlan
    options: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"make a blank {self.partition.filesystem} filesystem on {self.partition.label}: {' '.join(self.options)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRoot:
    """A line that tells the guard that there is nothing yet."""

    partition: PartitionPlan

    def __str__(self) -> str:
        return f"leave {self.partition.label} to be made at the first boot"


Step = MakeTable | MakeEsp | MakeNix | MakeRoot | MarkRoot


def plan_disk(
    *,
    host: str,
    esp_bytes: int,
    nix_bytes: int,
    root_bytes: int | None,
    root_filesystem: Literal["f2fs", "none"] = "f2fs",
    root_mkfs_options: tuple[str, ...] = ("-O", "extra_attr,compression"),
    contents: Contents,
    declared_at: tuple[Place, ...] = (),
) -> DiskPlan:
    """Lay the partitions out one after the other, each rounded up to whole MiB.

    There is no `root` where `root_bytes` is 0 or None. Raises `DeclarationError` with every size that is too small, and
    the least that would do.
    """
    faults = [
        Fault(
            message=f"the {name} partition of {host} is too small: {_mib(size)}; {_mib(least)} are needed {why}",
            places=declared_at,
            hint=f"declare the size of {name} as {_mib(least)} or more",
        )
        for name, size, least, why in _least_sizes(esp_bytes, nix_bytes, root_bytes, contents)
        if size < least
    ]
    if faults:
        raise DeclarationError(*faults)
    sizes: list[tuple[Role, int, Filesystem]] = [
        ("esp", esp_bytes, "vfat"),
        ("nix", nix_bytes, "ext4"),
    ]
    if root_bytes:
        sizes.append(("root", root_bytes, root_filesystem))
    start = ALIGNMENT_BYTES
    partitions = []
    for role, size, filesystem in sizes:
        size_bytes = _round_up(size)
        partitions.append(
            PartitionPlan(
                role=role,
                label=PARTITION_LABELS[role],
                type_uuid=ESP_TYPE if role == "esp" else LINUX_TYPE,
                uuid=partition_uuid(host, role),
                start_bytes=start,
                size_bytes=size_bytes,
                filesystem=filesystem,
                filesystem_id=str(partition_uuid(host, f"{role}-filesystem")),
            )
        )
        start += size_bytes
    return DiskPlan(
        host=host,
        uuid=partition_uuid(host, "disk"),
        # The last MiB holds the second copy of the table.
        size_bytes=start + ALIGNMENT_BYTES,
        partitions=tuple(partitions),
        root_mkfs_options=root_mkfs_options,
    )


def plan_steps(plan: DiskPlan) -> tuple[Step, ...]:
    """What writing an image of this plan does, in order."""
    steps: list[Step] = [MakeTable(plan=plan)]
    for partition in plan.partitions:
        match partition.role:
            case "esp":
                steps.append(MakeEsp(partition=partition))
            case "nix":
                steps.append(MakeNix(partition=partition))
            case "root" if partition.filesystem == "none":
                steps.append(MarkRoot(partition=partition))
            case "root":
                steps.append(MakeRoot(partition=partition, options=plan.root_mkfs_options))
    return tuple(steps)


def table_script(plan: DiskPlan) -> str:
    """The plan's partition table in sfdisk's input language (sfdisk(8), "Script-header lines" and "Named-fields")."""
    lines = [
        "label: gpt",
        f"label-id: {plan.uuid}",
        "unit: sectors",
        f"first-lba: {ALIGNMENT_BYTES // SECTOR_BYTES}",
        "",
    ]
    lines += [
        f"start={p.start_bytes // SECTOR_BYTES}, size={p.size_bytes // SECTOR_BYTES}, "
        f'type={p.type_uuid}, uuid={p.uuid}, name="{p.label}"{NOT_BY_ITSELF if p.role == "root" else ""}'
        for p in plan.partitions
    ]
    return "\n".join(lines) + "\n"


def nix_bytes_needed(contents: Contents) -> int:
    """The least size of an ext4 filesystem that takes the store and leaves room for one more like it to be built.

    A twentieth and 64 MiB are for the inode tables, the journal and the reserve. A quarter is headroom: state, logs,
    the packages that the next generation changes.
    """
    payload = max(contents.nix_bytes, contents.nix_files * NIX_BYTES_PER_INODE)
    return payload * 5 // 4 + payload // 20 + 64 * MIB


def _least_sizes(
    esp_bytes: int, nix_bytes: int, root_bytes: int | None, contents: Contents
) -> list[tuple[Role, int, int, str]]:
    """Each partition's declared size, the least that does, and why."""
    esp_least = contents.boot_manager_bytes + GENERATIONS_ON_ESP * contents.generation_bytes + 2 * MIB
    least: list[tuple[Role, int, int, str]] = [
        (
            "esp",
            esp_bytes,
            _round_up(max(MINIMUM_ESP_BYTES, esp_least)),
            f"for the boot files of {GENERATIONS_ON_ESP} generations",
        ),
        (
            "nix",
            nix_bytes,
            _round_up(nix_bytes_needed(contents)),
            f"for a store of {_mib(contents.nix_bytes)} in {contents.nix_files} files, and headroom",
        ),
    ]
    if root_bytes:
        least.append(("root", root_bytes, MINIMUM_ROOT_BYTES, "for a root"))
    return least


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _mib(size: int) -> str:
    return f"{-(-size // MIB)} MiB"
