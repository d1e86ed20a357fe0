"""Make a host's /etc: the tree's after its maintainer scripts, accounts from the lock, the declaration on top.

Environment: `out`, `tree`, `declaredPath` (JSON: files, units, users, groups), `idsPath`, `SOURCE_DATE_EPOCH`, `uuid`,
`NIX_BUILD_TOP`. `out` gets etc.erofs, the whole of /etc with its content.
"""

from __future__ import annotations

import json
import os
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
VERBS = {"enabled": "enable", "disabled": "disable", "masked": "mask"}


def main() -> None:
    """Lay /etc out, let systemctl make the enablement links, and pack it."""
    os.umask(0o022)
    out, top = Path(os.environ["out"]), Path(os.environ["NIX_BUILD_TOP"])
    ids = Ids.read(Path(os.environ["idsPath"]))
    declared: dict[str, Any] = json.loads(Path(os.environ["declaredPath"]).read_bytes())
    contents = top / "contents"
    contents.mkdir()
    layout = Layout(entries={}, contents=contents, epoch=int(os.environ["SOURCE_DATE_EPOCH"]))
    units = Layout(entries={}, contents=contents, epoch=layout.epoch)
    for entry in manifest.read(Path(os.environ["tree"]) / "manifest.jsonl"):
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
    layout.refuse_keys()
    root = top / "root"
    root.mkdir()
    manifest.copy_out(units.sorted() + layout.sorted(), str(root), ids)
    enable(root, declared["units"])
    settle(root, layout)
    out.mkdir()
    subprocess.run(
        [
            "mkfs.erofs",
            "--quiet",
            "-T",
            os.environ["SOURCE_DATE_EPOCH"],
            "--mkfs-time",
            "-U",
            os.environ["uuid"],
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


def settle(root: Path, layout: Layout) -> None:
    """Give what systemctl touched the time it had, or the build's own, so that two builds are equal."""
    for directory, names, files in os.walk(root / "etc", topdown=False):
        for path in [*(os.path.join(directory, name) for name in [*files, *names]), directory]:  # noqa: PTH118
            entry = layout.entries.get(path.removeprefix(str(root)))
            mtime = layout.epoch if entry is None else entry.mtime
            if os.lstat(path).st_mtime != mtime:
                os.utime(path, (mtime, mtime), follow_symlinks=False)


if __name__ == "__main__":
    main()
