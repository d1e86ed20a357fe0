"""Make the seed: what a blank root is filled with at every boot, and the list of what is bound over it.

Environment: `out`, `tree`, `declaredPath` (JSON: files, persist), `idsPath`, `SOURCE_DATE_EPOCH`, `uuid`,
`NIX_BUILD_TOP`. `out` gets seed.erofs and `persist`, a line a path: `<d|f> <mode> <uid> <gid> <path>`, parents first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import manifest
from declared import Layout
from manifest import Entry, Ids

ELSEWHERE = ("/usr", "/etc", "/boot", "/dev", "/proc", "/run", "/sys", "/tmp", "/nix")  # noqa: S108
"""Mounted over the root, so nothing of them is laid out but the mount point."""
MODES = {"/tmp": 0o1777, "/proc": 0o555, "/sys": 0o555, "/boot": 0o755}  # noqa: S108


def main() -> None:
    """Collect what belongs on the root, and pack it."""
    os.umask(0o022)
    out, top = Path(os.environ["out"]), Path(os.environ["NIX_BUILD_TOP"])
    ids = Ids.read(Path(os.environ["idsPath"]))
    declared: dict[str, Any] = json.loads(Path(os.environ["declaredPath"]).read_bytes())
    contents = top / "contents"
    contents.mkdir()
    layout = Layout(entries={}, contents=contents, epoch=int(os.environ["SOURCE_DATE_EPOCH"]))
    for entry in manifest.read(Path(os.environ["tree"]) / "manifest.jsonl"):
        if not manifest.is_below(entry.path, *ELSEWHERE):
            layout.entries[entry.path] = entry
    layout.entries["/"] = Entry(path="/", kind="directory", mode=0o755, user="root", group="root", mtime=layout.epoch)
    for path in ELSEWHERE:
        layout.directory(path, mode=MODES.get(path, 0o755))
    layout.add(declared["files"])
    layout.refuse_keys()
    persist = [kept(record, layout) for record in declared["persist"]]
    out.mkdir()
    persist.sort(key=lambda entry: (entry.path.count("/"), entry.path))
    (out / "persist").write_text(
        "".join(
            f"{'d' if entry.kind == 'directory' else 'f'} {entry.mode:04o} "
            f"{ids.users[entry.user]} {ids.groups[entry.group]} {entry.path}\n"
            for entry in persist
        )
    )
    root = top / "root"
    manifest.copy_out(layout.sorted(), str(root), ids)
    subprocess.run(
        [
            "mkfs.erofs",
            "--quiet",
            "-T",
            os.environ["SOURCE_DATE_EPOCH"],
            "--mkfs-time",
            "-U",
            os.environ["uuid"],
            str(out / "seed.erofs"),
            str(root),
        ],
        check=True,
    )


def kept(record: dict[str, Any], layout: Layout) -> Entry:
    """The mount point of a persisted path, in the layout; what is not said is as in the tree, else root's."""
    path, kind = record["path"], {"d": "directory", "f": "file"}[record["kind"]]
    fault = layout.conflict(path, kind)
    there = layout.entries.get(path)
    if fault is None and there is not None and there.kind != kind:
        fault = f"{path}: is a {there.kind} in the tree, declared to persist as a {kind}"
    if fault is not None:
        sys.exit(f"what is declared to persist does not fit the tree:\n  {fault}")
    user = record["owner"] or (there.user if there else "root")
    group = record["group"] or (there.group if there else "root")
    mode = record["mode"] or (f"{there.mode:o}" if there else "0755" if kind == "directory" else "0644")
    if kind == "directory":
        layout.directory(path, user, group, int(mode, 8))
    elif there is None:
        layout.file(path, b"", user, group, int(mode, 8))
    return layout.entries[path]


if __name__ == "__main__":
    main()
