"""Programs of the toolchain, run in a sandbox that shows them only what they work on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anicca import process
from anicca.disks.tools import TOOL_TIMEOUT_SECONDS, Bind, Tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MERGED = ("bin", "lib", "lib64", "sbin")


def toolchain_tools(toolchain: Path) -> Tools:
    """The disk tools of a toolchain at this physical path, whatever this machine has installed."""

    def run_tool(
        argv: Sequence[str | Path],
        *,
        binds: Sequence[Bind],
        env: Mapping[str, str],
        stdin: bytes | None = None,
    ) -> process.Completed:
        settings = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8", **env}
        sandbox: list[str | Path] = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
        if os.geteuid() != 0:
            # What an ordinary user's store holds is root's on the host.
            sandbox += ["--unshare-user", "--uid", "0", "--gid", "0"]
        sandbox += ["--die-with-parent", "--clearenv", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
        sandbox += ["--ro-bind", toolchain / "usr", "/usr", "--ro-bind", toolchain / "etc", "/etc"]
        for name in MERGED:
            sandbox += ["--symlink", f"usr/{name}", f"/{name}"]
        for name, value in settings.items():
            sandbox += ["--setenv", name, value]
        for bind in binds:
            sandbox += ["--bind" if bind.writable else "--ro-bind", bind.path.absolute(), bind.path.absolute()]
        sandbox += ["--chdir", "/", "--"]
        absolute = [os.fspath(word) for word in argv]
        return process.run([*sandbox, *absolute], stdin=stdin, timeout_seconds=TOOL_TIMEOUT_SECONDS)

    return Tools(run_tool=run_tool, shows_root_as_owner=os.geteuid() != 0)
