"""A plain Debian root by mmdebstrap, kept between runs, and copies of it to break."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from anicca import process
from anicca.debian.archive import find_mirrors
from anicca.fs import remove_tree

PACKAGES = ("ca-certificates", "cron", "openssh-server", "python3-minimal", "ssl-cert", "sudo", "systemd")


@pytest.fixture(scope="session")
def debian_root() -> Path:
    """Debian 13 as its own scripts leave it. Not to be written to."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a Debian root with its owners")
    cache = Path(os.environ.get("ANICCA_TEST_CACHE") or Path.home() / ".cache/anicca-tests")
    identity = hashlib.sha256(repr(PACKAGES).encode()).hexdigest()[:16]
    root = cache / f"drift-root-{identity}"
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f".{root.name}.{os.getpid()}"
        remove_tree(partial)
        process.run(
            [
                *("mmdebstrap", "--variant=important", f"--include={','.join(PACKAGES)}"),
                *("trixie", partial, find_mirrors().bases["debian"]),
            ],
            timeout_seconds=900,
        )
        partial.rename(root)
    return root


@pytest.fixture
def root(debian_root: Path, tmp_path: Path) -> Path:
    """A copy, to be broken."""
    copy = tmp_path / "root"
    process.run(["cp", "-a", "--reflink=auto", debian_root, copy])
    return copy
