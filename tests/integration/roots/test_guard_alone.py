"""The guard's script as a whole, on this machine, in mounts of its own: where no device is needed, or none comes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from anicca import process
from anicca.roots.guard.files import MODULE_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount"),
]


def guard(directory: Path, parameters: str) -> tuple[dict[str, Any], str]:
    """The guard's facts and what it said to the kernel's log, on a machine without any disk."""
    for name in ("bin", "root", "run", "disk", "sys", "modules", "modules/f2fs"):
        (directory / name).mkdir()
    # Debian 12's busybox has no getfattr.
    for name, status in (("udevadm", 1), ("getfattr", 0)):
        (directory / "bin" / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (directory / "bin" / name).chmod(0o755)
    (directory / "cmdline").write_text(parameters + "\n")
    (directory / "kmsg").touch()
    process.run(
        ["unshare", "--mount", "busybox", "sh", MODULE_DIRECTORY / "guard.sh"],
        env={
            "PATH": f"{directory}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ANICCA_CMDLINE": f"{directory}/cmdline",
            "ANICCA_KMSG": f"{directory}/kmsg",
            "ANICCA_RUN": f"{directory}/run",
            "ANICCA_SYSROOT": f"{directory}/root",
            "ANICCA_BY": f"{directory}/disk",
            "ANICCA_SYSFS": f"{directory}/sys",
            "ANICCA_MODULES": f"{directory}/modules",
        },
        timeout_seconds=120,
    )
    return json.loads((directory / "run/guard.json").read_bytes()), (directory / "kmsg").read_text()


def test_a_root_in_memory_is_blank(tmp_path: Path) -> None:
    facts, said = guard(tmp_path, "anicca.backend=tmpfs anicca.rootopts=size=8m,mode=0755")
    assert facts["outcome"] == "blank"
    assert facts["root"] == facts["backend"] == "tmpfs"
    assert facts["device"] == ""
    assert facts["reasons"] == []
    assert "size=8192k" in facts["options"]
    assert "<5>anicca: the root is blank" in said
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("", "names no root"),
        ("anicca.root=LABEL=root", "names no root"),
        *(
            (
                f"anicca.backend={backend} anicca.root=PARTUUID=ab-12",
                "/disk/by-partuuid/ab-12 has not appeared in 45 seconds",
            )
            for backend in ("f2fs", "btrfs", "nilfs2", "afresh:ext4", "afresh:xfs", "overlay:ext4", "overlay:btrfs")
        ),
        ('anicca.root=PARTUUID=a"b\\c$(id)', 'by-partuuid/a"b\\c$(id) has not appeared'),
        ("anicca.backend=../../etc/x", "no such backend here: ../../etc/x"),
    ],
)
def test_without_its_device_the_root_is_in_memory(parameters: str, reason: str, tmp_path: Path) -> None:
    facts, said = guard(tmp_path, parameters)
    assert facts["outcome"] == "fell-back"
    assert facts["root"] == "tmpfs"
    assert "<3>anicca: THE ROOT IS IN MEMORY" in said
    assert any(reason in text for text in facts["reasons"]), facts
    assert facts["seconds"] < 60
