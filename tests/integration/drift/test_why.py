"""Each origin a path of a Debian root can have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from anicca.drift.why import to_record, why

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("path", "origin", "says"),
    [
        ("/usr/bin/env", "package", "package coreutils"),
        ("/bin/env", "package", "package coreutils"),
        ("usr/bin/../bin/env", "package", "package coreutils"),
        ("/etc/sudo.conf", "package", "conffile of sudo"),
        ("/etc/alternatives/pager", "package", "alternative pager"),
        ("/etc/passwd", "generated", "accounts, made by base-passwd and adduser"),
        ("/nowhere", "absent", ""),
        ("/", "package", "several packages"),
    ],
)
def test_what_debian_brought(debian_root: Path, path: str, origin: str, says: str) -> None:
    found = why(os.fsencode(debian_root), path.encode())
    assert (found.origin, found.says, found.differences) == (origin, says, ())
    assert found.gone_at_boot is None


def test_what_somebody_did(root: Path) -> None:
    (root / "etc/cron.d/evil").write_text("x")
    os.chown(root / "etc/cron.d/evil", 1, 1)
    found = to_record(why(os.fsencode(root), b"/etc/cron.d/evil"))
    assert (found["origin"], found["class"], found["owner"]) == ("nobody", "suspicious", "daemon")
    (root / "usr/bin/env").write_text("x")
    changed = why(os.fsencode(root), b"/usr/bin/env")
    assert changed.origin == "package"
    assert [one.kind for one in changed.differences] == ["content"]
    (root / "usr/bin/env").unlink()
    assert [one.kind for one in why(os.fsencode(root), b"/usr/bin/env").differences] == ["removed"]


def test_links_lead_to_what_they_mean_in_the_root(root: Path) -> None:
    (root / "srv/etc").symlink_to("/etc")
    assert why(os.fsencode(root), b"/srv/etc/sudo.conf").says == "conffile of sudo"
