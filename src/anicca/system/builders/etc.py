"""Make a host's /etc: the tree's after its maintainer scripts, accounts from the lock, the declaration on top.

Environment: `out`, `tree`, `declaredPath` (JSON: files, units, users, groups), `idsPath`, `SOURCE_DATE_EPOCH`, `uuid`,
`NIX_BUILD_TOP`. `out` gets etc.erofs, the whole of /etc with its content.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import accounts
import manifest
from declared import Layout
from manifest import Ids

UNITS = "/etc/systemd/system"
UNIT_TREES = ("/usr/lib/systemd/system", "/usr/lib/systemd/user")
PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
VERBS = {"enabled": "enable", "disabled": "disable", "masked": "mask"}


def main() -> None:
    """Lay /etc out, let systemctl make the enablement links, and pack it."""
    out, top = Path(os.environ["out"]), Path(os.environ["NIX_BUILD_TOP"])  # noqa: SIM112
    ids = Ids.read(Path(os.environ["idsPath"]))  # noqa: SIM112
    declared: dict[str, Any] = json.loads(Path(os.environ["declaredPath"]).read_bytes())  # noqa: SIM112
    contents = top / "contents"
    contents.mkdir()
    layout = Layout(entries={}, contents=contents, epoch=int(os.environ["SOURCE_DATE_EPOCH"]))
    units = Layout(entries={}, contents=contents, epoch=layout.epoch)
    for entry in manifest.read(Path(os.environ["tree"]) / "manifest.jsonl"):  # noqa: SIM112
        if manifest.is_below(entry.path, "/etc"):
            layout.entries[entry.path] = entry
        elif manifest.is_below(entry.path, *UNIT_TREES):
            units.parents(entry.path)
            units.entries[entry.path] = entry
    accounts.rewrite(layout, ids, declared["users"], declared["groups"])
    layout.link("/etc/machine-id", "/run/anicca/machine-id")
    layout.link("/etc/mtab", "../proc/self/mounts")
    layout.link("/etc/adjtime", "/run/adjtime")
    layout.add(declared["files"])
    layout.add(unit_files(declared["units"]))
    refuse_keys(layout)
    root = top / "root"
    root.mkdir()
    manifest.copy_out(units.sorted() + layout.sorted(), str(root), ids)
    enable(root, declared["units"])
    settle(root / "etc", layout.epoch)
    out.mkdir()
    subprocess.run(
        [
            "mkfs.erofs",
            "--quiet",
            "-T",
            os.environ["SOURCE_DATE_EPOCH"],
            "--mkfs-time",
            "-U",
            os.environ["uuid"],  # noqa: SIM112
            str(out / "etc.erofs"),
            str(root / "etc"),
        ],
        check=True,
    )


def unit_files(units: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The declared units that bring their own text."""
    return [
        {"path": f"{UNITS}/{unit['name']}", "kind": "file", "user": "root", "group": "root", "mode": "0644", **unit}
        for unit in units
        if unit["content"] is not None
    ]


def refuse_keys(layout: Layout) -> None:
    """Refuse declared content that looks like a private key: the store is readable by everyone."""
    for entry in layout.sorted():
        if entry.source is not None and entry.source.startswith(str(layout.contents)):
            if PRIVATE_KEY.search(Path(entry.source).read_bytes()):
                sys.exit(f"{entry.path}: looks like a private key, which must never be in the store")


def enable(root: Path, units: list[dict[str, Any]]) -> None:
    """Make and remove enablement links as declared, by systemctl on the files alone."""
    for state, verb in VERBS.items():
        names = [unit["name"] for unit in units if unit["state"] == state]
        if state == "masked":
            # A unit whose own text is in /etc cannot be masked there: the text gives way.
            for name in names:
                (root / f"etc/systemd/system/{name}").unlink(missing_ok=True)
        if names:
            done = subprocess.run(
                ["systemctl", f"--root={root}", verb, *names],
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                # The links of SysV runlevels mean nothing to systemd, and the tool that makes them is not here.
                env={**os.environ, "SYSTEMCTL_SKIP_SYSV": "1"},
            )
            if done.returncode != 0:
                sys.exit(f"systemctl {verb}: {done.stdout.strip()}")


def settle(etc: Path, epoch: int) -> None:
    """Give what systemctl touched the build's own time, so that two builds are equal."""
    for directory, names, files in os.walk(etc, topdown=False):
        for name in [*files, *names, "."]:
            path = os.path.join(directory, name)  # noqa: PTH118
            if os.lstat(path).st_mtime > epoch:
                os.utime(path, (epoch, epoch), follow_symlinks=False)


if __name__ == "__main__":
    main()
