"""Kernel modules that Debian's kernel has not: the packages that they are built of and with, and the step."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anicca.debian.environment import plan_toolchain
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anicca.debian.environment import BuildEnvironment
    from anicca.debian.lock import Lock, Pin
    from anicca.store import Instantiated

BUILDERS = Path(__file__).parent / "builders"
TOOLS = ("gcc", "make", "python3")
"""What builds them, besides what their packages depend on."""

_KERNEL = re.compile(r"linux-image-(?P<version>\d.*?)(-unsigned)?")
_HEADERS = re.compile(r"linux-headers-(?P<version>\d.*(?<!-common))")


def headers_of(packages: Iterable[Pin]) -> Pin:
    """What must be pinned of the headers: those of the one kernel among these packages, in its version."""
    kernels = [(pin, match["version"]) for pin in packages if (match := _KERNEL.fullmatch(pin.name))]
    if len(kernels) != 1:
        names = ", ".join(pin.name for pin, _ in kernels) or "none"
        raise AniccaError(f"the root needs a module, which is built for one kernel, and the packages have {names}")
    kernel, version = kernels[0]
    return replace(kernel, name=f"linux-headers-{version}")


def check_headers(modules: Iterable[Pin], headers: Pin) -> None:
    """Raise `AniccaError` where apt has other headers than those of the kernel."""
    (found,) = (pin.version for pin in modules if pin.name == headers.name)
    if found != headers.version:
        raise AniccaError(
            f"the kernel that is pinned needs {headers.name} {headers.version}, and the archive has {found}",
            hint="let the kernel move too: anicca lock HOST.py --update",
        )


def plan_modules(lock: Lock, environment: BuildEnvironment) -> Instantiated | None:
    """The step that builds the lock's modules, None where it has none. It depends on their packages alone.

    A new lock with a later epoch is no reason to compile for minutes: nothing in a module is a time.
    """
    if not lock.modules:
        return None
    (kernel,) = (match["version"] for pin in lock.modules if (match := _HEADERS.fullmatch(pin.name)))
    toolchain = plan_toolchain(f"modules-toolchain-{lock.release}", lock.modules, environment.system)
    return replace(environment, toolchain=toolchain).step(
        f"zfs-{kernel}",
        BUILDERS / "zfs.py",
        env={"kernel": kernel},
        inputs={},
        as_root=False,
    )
