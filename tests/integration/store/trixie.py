"""Debian 13's Nix beside the machine's own: unpacked into a folder of the test cache, run by its own loader."""

from __future__ import annotations

import fcntl
import os
import shutil
from functools import cache
from pathlib import Path

import pytest

from anicca import fs, process
from anicca.debian.archive import find_mirrors
from anicca.errors import AniccaError

BOTH = pytest.mark.parametrize("nix", ["installed", "trixie"], indirect=True)
"""For tests whose word must be good for both."""
TOOLS = ("nix", "nix-build", "nix-hash", "nix-instantiate", "nix-store")
WRAPPER = """\
#!/bin/sh
# Where it finds itself again: it would take its loader for itself.
export NIX_BIN_DIR={tools}
exec {lib}/ld-linux-x86-64.so.2 --argv0 {tool} --library-path {lib} {root}/usr/bin/nix "$@"
"""


@cache
def tools_of_trixie() -> Path | str:
    """The folder with its tools, or why it cannot be had. The packages come from the machine's own mirror."""
    place = Path(os.environ.get("ANICCA_TEST_CACHE") or Path.home() / ".cache/anicca-tests")
    place.mkdir(parents=True, exist_ok=True)
    folder = place / "nix-trixie"
    with (place / "nix-trixie.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            fresh = place / "nix-trixie.new"
            fs.remove_tree(fresh)
            fresh.mkdir()
            try:
                _unpack(fresh)
            except AniccaError as error:
                return f"{error}: {(error.detail or '').strip()[-200:]}"
            fresh.rename(folder)
        # The cache may have been moved since.
        _wrap(folder)
    return folder / "tools"


def _unpack(folder: Path) -> None:
    """Packages of Debian 13 without running anything of them; apt checks their signatures."""
    process.run(
        [
            "mmdebstrap",
            "--variant=extract",
            "--include=nix-bin",
            "--architectures=amd64",
            '--aptopt=Apt::Install-Recommends "false"',
            "trixie",
            folder / "root",
            find_mirrors().bases["debian"],
        ],
        timeout_seconds=600,
    )
    for name in ("doc", "man", "locale"):
        shutil.rmtree(folder / "root/usr/share" / name, ignore_errors=True)


def _wrap(folder: Path) -> None:
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    root = folder / "root"
    for tool in TOOLS:
        text = WRAPPER.format(tools=tools, lib=root / "usr/lib/x86_64-linux-gnu", root=root, tool=tool)
        fs.write_atomic(tools / tool, text.encode(), mode=0o755)
