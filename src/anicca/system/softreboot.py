"""What a soft reboot does: a fresh root and a new userspace on the kernel that runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.errors import RefusedError
from anicca.system.diff import compare_boot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.store.path import StorePath
    from anicca.system.reading import System


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftReboot:
    """The plan: which system is laid out on a fresh root, and what stays as it was booted."""

    system: StorePath
    persists: tuple[str, ...]
    reboot: tuple[str, ...]
    """What only a full reboot brings."""

    def sentences(self) -> Iterator[str]:
        """The plan, a line a step."""
        yield f"lay out {self.system} on a fresh root"
        yield from (f"persist {path}" for path in self.persists)
        yield "end all programs and start anew on that root; the kernel stays"
        yield "remove what was on the old root"
        yield from (f"waits for a reboot: {one}" for one in self.reboot)


def plan_soft_reboot(booted: System, new: System) -> SoftReboot:
    """The plan for a host whose kernel came with `booted`. Raises `RefusedError` where that would have no modules."""
    if booted.kernel_version != new.kernel_version:
        raise RefusedError(
            f"Linux {booted.kernel_version} runs and has no modules in a system with {new.kernel_version}",
            hint="reboot instead",
        )
    return SoftReboot(
        system=new.path,
        persists=tuple(new.persist),
        reboot=tuple(f"{change.path}: {change.what}" for change in compare_boot(booted, new)),
    )
