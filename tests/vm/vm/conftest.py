"""A Debian 13 tree made by mmdebstrap from the machine's own mirror, kept between runs; it needs none of our builds."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from anicca import process
from anicca.debian.archive import find_mirrors
from anicca.fs import remove_tree

PACKAGES = (
    "dosfstools",
    "dracut",
    "e2fsprogs",
    "f2fs-tools",
    "fdisk",
    "kmod",
    "linux-image-amd64",
    "mtools",
    "openssh-server",
    "systemd-boot-efi",
    "systemd-sysv",
    "udev",
    "zstd",
)
HOOKS = (
    r'''printf '[Match]\nType=ether\n[Network]\nDHCP=yes\n' > "$1/etc/systemd/network/ether.network"''',
    'chroot "$1" systemctl enable systemd-networkd ssh',
    'echo anicca-test > "$1/etc/hostname"',
)


@pytest.fixture(scope="session")
def debian_tree() -> Path:
    """A tree that boots by itself, with a kernel, an initrd by dracut, ssh and the tools that make filesystems."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a Debian tree with its owners")
    cache = Path(os.environ.get("ANICCA_TEST_CACHE") or Path.home() / ".cache/anicca-tests")
    identity = hashlib.sha256(repr((PACKAGES, HOOKS)).encode()).hexdigest()[:16]
    tree = cache / f"debian-tree-{identity}"
    if not tree.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f".{tree.name}.{os.getpid()}"
        remove_tree(partial)
        process.run(
            [
                *("mmdebstrap", "--variant=essential", f"--include={','.join(PACKAGES)}"),
                *("--aptopt=APT::Install-Recommends 0", *(f"--customize-hook={hook}" for hook in HOOKS)),
                *("trixie", partial, find_mirrors().bases["debian"]),
            ],
            timeout_seconds=900,
        )
        partial.rename(tree)
    return tree
