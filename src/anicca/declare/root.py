"""What the root can be: each backend with exactly the options that cannot break its promise.

A root on f2fs without `checkpoint=disable` cannot be written down here. What the initrd does with these is
`anicca.roots`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from anicca.declare.location import here
from anicca.errors import Place  # noqa: TC001 (a field's type)

F2fsCompression = Literal["zstd", "lz4", "lzo", "lzo-rle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class F2fs:
    """A root on f2fs that never makes a checkpoint, so that nothing written to it outlives the boot."""

    backend: ClassVar[str] = "f2fs"

    compress_algorithm: F2fsCompression | None = "zstd"
    """What files marked for compression (`chattr +c`) are compressed with."""
    lazytime: bool = True
    declared_at: Place = field(default_factory=here, compare=False, repr=False)

    @property
    def mount_options(self) -> str:
        """The options of every mount of this root, as in fstab."""
        options = ["checkpoint=disable"]
        if self.compress_algorithm is not None:
            options.append(f"compress_algorithm={self.compress_algorithm}")
        if self.lazytime:
            options.append("lazytime")
        return ",".join(options)

    @property
    def mkfs_arguments(self) -> tuple[str, ...]:
        """What `mkfs.f2fs` is told besides the device and the label."""
        return ("-O", "extra_attr" if self.compress_algorithm is None else "extra_attr,compression")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    """A root in memory: the simplest that forgets; what is written to it costs memory."""

    backend: ClassVar[str] = "tmpfs"

    size: str = "50%"
    """The most it may hold: a part of the memory in percent, or a size such as `2G`."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False)

    @property
    def mount_options(self) -> str:
        """The options of its mount, as in fstab."""
        return f"size={self.size},mode=0755"

    @property
    def mkfs_arguments(self) -> tuple[str, ...]:
        """Nothing: there is no filesystem to make."""
        return ()


Root = F2fs | Tmpfs
