"""A Debian root with other people's tools in it, made once and then run in, for benches that measure beside them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from anicca import process
from anicca.debian.archive import find_mirrors
from anicca.fs import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", "TERM": "dumb"}
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def inside(root: Path, script: str, *, check: bool = True) -> process.Completed:
    """Run a script in a root, with processes of its own."""
    start = f'mount -t proc proc {root}/proc && mount --rbind /sys {root}/sys && exec chroot {root} sh -c "$1"'
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", start, "sh", script]
    return process.run(argv, env=ENVIRONMENT, check=check, timeout_seconds=900)


def make_once(root: Path, packages: Sequence[str], fill: Callable[[Path], None], *, variant: str) -> Path:
    """The root, if it is not there yet made of packages and then filled: whole or not at all."""
    if root.is_dir():
        return root
    partial = root.with_suffix(".new")
    remove_tree(partial)
    root.parent.mkdir(parents=True, exist_ok=True)
    include, mirror = f"--include={','.join(packages)}", find_mirrors().bases["debian"]
    process.run(["mmdebstrap", f"--variant={variant}", include, "trixie", partial, mirror], timeout_seconds=1800)
    for name in ("/etc/resolv.conf", CERTIFICATES):
        shutil.copyfile(name, f"{partial}{name}", follow_symlinks=True)
    fill(partial)
    partial.rename(root)
    return root


def install_wheel(root: Path, wheel: str, *, check: bool = True) -> process.Completed:
    """Install a Python package in a virtual environment of its own, /opt/WHEEL."""
    settings = [f"{name}={value}" for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "https_proxy")]
    settings += [f"PIP_CERT={CERTIFICATES}", f"REQUESTS_CA_BUNDLE={CERTIFICATES}", "PIP_USE_DEPRECATED=legacy-certs"]
    script = f"python3 -m venv /opt/{wheel} && {' '.join(settings)} /opt/{wheel}/bin/pip install -q {wheel}"
    return inside(root, script, check=check)
