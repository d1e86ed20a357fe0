"""What the root can be: each backend with exactly the options that cannot break its promise.

A root on f2fs without `checkpoint=disable` cannot be written down here. What the initrd does with these is
`anicca.roots`'s; each has the properties of `Backend`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from anicca.declare.location import here
from anicca.errors import Place  # noqa: TC001 (a field's type)

F2fsCompression = Literal["zstd", "lz4", "lzo", "lzo-rle"]
F2fsForgetting = Literal["revert", "erase"]
BtrfsCompression = Literal["zstd", "lzo", "zlib"]
AfreshFilesystem = Literal["ext4", "xfs", "f2fs", "btrfs"]
OverlayFilesystem = Literal["ext4", "xfs", "btrfs"]
ZfsCompression = Literal["lz4", "zstd"]

MIB = 1 << 20

MAKERS = {
    "ext4": ("e2fsprogs", 64 * MIB),
    "xfs": ("xfsprogs", 320 * MIB),
    "f2fs": ("f2fs-tools", 128 * MIB),
    "btrfs": ("btrfs-progs", 256 * MIB),
    "nilfs2": ("nilfs-tools", 128 * MIB),
    "zfs": ("zfsutils-linux", 512 * MIB),
}
"""By filesystem: the Debian package that makes one, and the least that it makes one of (mkfs.xfs: 300 MB)."""

UNAVAILABLE = {
    "bcachefs": "Debian 13's kernel has it, but no package of Debian 13 has its tools",
}
"""Filesystems that people ask for, and why no root is on them."""


class Backend:
    """What the rest of anicca asks of a root; as it stands, one without a volume. Each says in what it differs."""

    __slots__ = ()

    backend: ClassVar[str]

    @property
    def volume(self) -> str:
        """The filesystem of its volume; empty where it has none."""
        return ""

    @property
    def guard_backend(self) -> str:
        """What `anicca.backend=` on the kernel command line says."""
        return self.backend

    @property
    def mount_options(self) -> str:
        """The options of every mount of the root or its volume, as in fstab."""
        return "noatime"

    @property
    def mkfs_arguments(self) -> tuple[str, ...]:
        """What mkfs is told besides the device and the label."""
        return ()

    @property
    def guard_parameters(self) -> tuple[str, ...]:
        """What else the guard is told on the kernel command line."""
        return ()

    @property
    def packages(self) -> tuple[str, ...]:
        """The Debian packages that the initrd takes its programs from."""
        return (MAKERS[self.volume][0],) if self.volume in MAKERS else ()

    @property
    def module_packages(self) -> tuple[str, ...]:
        """The Debian packages with the source of a kernel module that Debian's kernel has not, and its programs.

        They are in no tree: a build step makes of them what the initrd needs.
        """
        return ()

    @property
    def components(self) -> tuple[str, ...]:
        """The components of the archive that its packages are in, besides `main`."""
        return ()

    @property
    def least_bytes(self) -> int:
        """The smallest volume that does; 0 where the root has none."""
        return MAKERS[self.volume][1] if self.volume in MAKERS else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class F2fs(Backend):
    """A root on f2fs that never makes a checkpoint, so that nothing written to it outlives the boot."""

    backend: ClassVar[str] = "f2fs"

    compress_algorithm: F2fsCompression | None = "zstd"
    """What files marked for compression (`chattr +c`) are compressed with."""
    compress: bool = False
    """Compress every file: fewer writes, not more room; costs time where files are changed in place."""
    lazytime: bool = True
    forget: F2fsForgetting = "revert"
    """`erase`: overwrite or discard the whole volume at every boot. Else what is forgotten lies in free blocks."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False)

    @property
    def volume(self) -> str:
        """The root itself."""
        return "f2fs"

    @property
    def mount_options(self) -> str:
        """The promise, and what was declared."""
        options = ["checkpoint=disable"]
        if self.compress_algorithm is not None:
            options.append(f"compress_algorithm={self.compress_algorithm}")
            if self.compress:
                options.append("compress_extension=*")
        if self.lazytime:
            options.append("lazytime")
        return ",".join(options)

    @property
    def mkfs_arguments(self) -> tuple[str, ...]:
        """What compression needs of the filesystem."""
        return ("-O", "extra_attr" if self.compress_algorithm is None else "extra_attr,compression")

    @property
    def guard_parameters(self) -> tuple[str, ...]:
        """Whether to erase."""
        return ("anicca.forget=erase",) if self.forget == "erase" else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Btrfs(Backend):
    """A root on btrfs: each boot has a new snapshot of a blank subvolume; the one before goes, or is kept a while."""

    backend: ClassVar[str] = "btrfs"

    compress: BtrfsCompression | None = "zstd"
    keep: int = 0
    """How many roots of earlier boots are kept, below `old` on the volume's top level (`mount -o subvolid=5`)."""
    keep_days: int | None = None
    """And for how long; None: until newer ones take their place."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False)

    @property
    def volume(self) -> str:
        """The root itself."""
        return "btrfs"

    @property
    def mount_options(self) -> str:
        """The guard adds which subvolume."""
        return "noatime" if self.compress is None else f"noatime,compress={self.compress}"

    @property
    def guard_parameters(self) -> tuple[str, ...]:
        """How many old roots are kept, and for how many days."""
        if self.keep == 0:
            return ()
        return (f"anicca.keep={self.keep}" + ("" if self.keep_days is None else f",{self.keep_days}"),)


@dataclass(frozen=True, slots=True)
class Afresh(Backend):
    """A root on any of these filesystems, made anew at every boot: the simplest on a disk, and the slowest to boot."""

    backend: ClassVar[str] = "afresh"

    filesystem: AfreshFilesystem
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)

    @property
    def volume(self) -> str:
        """The root itself."""
        return self.filesystem

    @property
    def guard_backend(self) -> str:
        """Which filesystem comes after a colon."""
        return f"{self.backend}:{self.filesystem}"

    @property
    def mkfs_arguments(self) -> tuple[str, ...]:
        """A journal is of no use to what is thrown away."""
        return ("-O", "^has_journal") if self.filesystem == "ext4" else ()


@dataclass(frozen=True, slots=True)
class Overlay(Backend):
    """A root that is a new upper layer of an overlay at every boot, on a volume that is not made anew.

    What earlier boots wrote is deleted when the host is up.
    """

    backend: ClassVar[str] = "overlay"

    filesystem: OverlayFilesystem = "ext4"
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)

    @property
    def volume(self) -> str:
        """Where the layers lie."""
        return self.filesystem

    @property
    def guard_backend(self) -> str:
        """Which filesystem comes after a colon."""
        return f"{self.backend}:{self.filesystem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs(Backend):
    """A root in memory: the simplest that forgets; what is written to it costs memory."""

    backend: ClassVar[str] = "tmpfs"

    size: str = "50%"
    """The most it may hold: a part of the memory in percent, or a size such as `2G`."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False)

    @property
    def mount_options(self) -> str:
        """How much it may hold."""
        return f"size={self.size},mode=0755"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nilfs2(Backend):
    """A root in memory above a blank snapshot of nilfs2, which can neither be written to nor gone back to."""

    backend: ClassVar[str] = "nilfs2"

    size: str = "50%"
    """The most that may be written: a part of the memory in percent, or a size such as `2G`."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False)

    @property
    def volume(self) -> str:
        """Where the snapshot lies."""
        return "nilfs2"

    @property
    def mount_options(self) -> str:
        """How much may be written."""
        return f"size={self.size},mode=0755"


@dataclass(frozen=True, slots=True, kw_only=True)
class Zfs(Backend):
    """A root on a ZFS pool of its own, rolled back to a blank snapshot at every boot."""

    backend: ClassVar[str] = "zfs"

    compression: ZfsCompression | None = "lz4"
    """What files are compressed with, from when the pool is made."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False)

    @property
    def volume(self) -> str:
        """The root itself."""
        return "zfs"

    @property
    def mkfs_arguments(self) -> tuple[str, ...]:
        """What `zpool create` is told."""
        return ("-O", f"compression={self.compression or 'off'}")

    @property
    def packages(self) -> tuple[str, ...]:
        """None: the tree has nothing of ZFS."""
        return ()

    @property
    def module_packages(self) -> tuple[str, ...]:
        """Both are of one source, and so of one version."""
        return ("zfs-dkms", MAKERS[self.volume][0])

    @property
    def components(self) -> tuple[str, ...]:
        """Where Debian has what is free and needs, to be built, what is not part of Debian."""
        return ("contrib",)


Root = F2fs | Btrfs | Afresh | Overlay | Nilfs2 | Tmpfs | Zfs
ROOTS: tuple[type[Root], ...] = (F2fs, Btrfs, Afresh, Overlay, Nilfs2, Tmpfs, Zfs)
