"""Make a tree's metadata image: EROFS whose files hold no data but say where in the store it is.

Environment: `out`, `tree` (the output of `assemble`), `idsPath` (JSON of the lock's ids), `SOURCE_DATE_EPOCH`,
`uuid`, `NIX_BUILD_TOP`. The overlay that reads it is described in docs/internals/tree.md.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import manifest
from manifest import Entry, Ids

STORE = "/nix/store"
METACOPY = "trusted.overlay.metacopy"
REDIRECT = "trusted.overlay.redirect"
CHUNK_BYTES = 65536
"""Large chunks: each hole costs an entry, and every file is one hole."""


def main() -> None:
    """Lay the tree out as sparse files with the two xattrs, and pack it."""
    out, top = Path(os.environ["out"]), Path(os.environ["NIX_BUILD_TOP"])
    os.umask(0o022)
    ids = Ids.read(Path(os.environ["idsPath"]))
    root = str(top / "root")
    os.mkdir(root)  # noqa: PTH102
    # On a disk, each file's attributes take a block of their own.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root], check=True)
    directories: list[tuple[Entry, str]] = []
    links: dict[int, str] = {}
    for entry in manifest.read(Path(os.environ["tree"]) / "manifest.jsonl"):
        path = root + entry.path
        if entry.kind == "directory":
            os.makedirs(path, exist_ok=True)  # noqa: PTH103
            directories.append((entry, path))
            continue
        if entry.kind == "symlink":
            os.symlink(entry.target, path)  # noqa: PTH211
        elif entry.link is not None and entry.link in links:
            os.link(links[entry.link], path)
            continue
        else:
            with open(path, "xb") as file:  # noqa: PTH123
                file.truncate(entry.size)
            if entry.link is not None:
                links[entry.link] = path
        manifest.place(entry, path, ids)
        if entry.source is not None:
            os.setxattr(path, METACOPY, b"")
            os.setxattr(path, REDIRECT, os.fsencode(entry.source.removeprefix(STORE)))
    for entry, path in reversed(directories):
        manifest.place(entry, path, ids)
    out.mkdir()
    subprocess.run(
        [
            "mkfs.erofs",
            "--quiet",
            f"--chunksize={CHUNK_BYTES}",
            "-T",
            os.environ["SOURCE_DATE_EPOCH"],
            "--mkfs-time",
            "-U",
            os.environ["uuid"],
            str(out / "tree.erofs"),
            root,
        ],
        check=True,
    )


if __name__ == "__main__":
    main()
