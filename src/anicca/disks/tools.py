"""How programs that make filesystems are run: this machine's own, or a toolchain's in a sandbox of the caller's."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from anicca import process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TOOL_TIMEOUT_SECONDS = 1800.0
"""No program here takes a tenth of it; one that hangs must not hang us."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory that a program must see, under its own name; read-only unless `writable`."""

    path: Path
    writable: bool = False


class RunTool(Protocol):
    """Runs a program to its end; raises `ProgramError` if it fails. `env` adds to what the runner gives it."""

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        binds: Sequence[Bind],
        env: Mapping[str, str],
        stdin: bytes | None = None,
    ) -> process.Completed:
        """Run it."""
        ...


def run_machine_tool(
    argv: Sequence[str | Path],
    *,
    binds: Sequence[Bind],  # noqa: ARG001 (nothing is hidden here)
    env: Mapping[str, str],
    stdin: bytes | None = None,
) -> process.Completed:
    """Run this machine's own program, wherever Debian keeps it; ordinary users' PATH lacks the sbin directories."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    program = shutil.which(argv[0], path=path) or argv[0]
    return process.run(
        [program, *argv[1:]],
        env={"PATH": path, "LC_ALL": "C.UTF-8", **env},
        stdin=stdin,
        timeout_seconds=TOOL_TIMEOUT_SECONDS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The programs sfdisk, mkfs.vfat, mcopy, mke2fs and mkfs.f2fs, and how to run them.

    `shows_root_as_owner` says that programs run this way see the caller's files as root's (a user namespace);
    otherwise every file that goes into the image must be root's already.
    """

    run_tool: RunTool = run_machine_tool
    shows_root_as_owner: bool = False
