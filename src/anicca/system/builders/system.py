"""Tie a host together: one directory that names all its parts, and the kernel's command line.

Environment: `out`, `tree`, `image`, `etc`, `seed`, `initrd`, `parameters` (of the kernel), `specPath` (the canonical
spec), `packagesPath` (a JSON list of {name, version, contents}). docs/internals/boot.md tells who reads what.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import manifest


def main() -> None:
    """Write the system object."""
    os.umask(0o022)
    out = Path(os.environ["out"])
    tree, image, etc = Path(os.environ["tree"]), Path(os.environ["image"]), Path(os.environ["etc"])
    seed, initrd = Path(os.environ["seed"]), Path(os.environ["initrd"])
    version = (initrd / "version").read_text().strip()
    kernel = next(
        (entry.source for entry in manifest.read(tree / "manifest.jsonl") if entry.path == f"/boot/vmlinuz-{version}"),
        None,
    )
    if kernel is None:
        sys.exit(f"the tree has no /boot/vmlinuz-{version}")
    (out / "layout").mkdir(parents=True)
    links = {
        "tree.erofs": image / "tree.erofs",
        "etc.erofs": etc / "etc.erofs",
        "seed.erofs": seed / "seed.erofs",
        "layout/persist": seed / "persist",
        "kernel": Path(kernel),
        "initrd": initrd / "initrd",
        "manifest.jsonl": tree / "manifest.jsonl",
    }
    for name, target in links.items():
        (out / name).symlink_to(target)
    (out / "cmdline").write_text(f"{os.environ['parameters']} anicca.system={out}\n")
    (out / "kernel-version").write_text(version + "\n")
    (out / "spec.json").write_bytes(Path(os.environ["specPath"]).read_bytes())
    packages = json.loads(Path(os.environ["packagesPath"]).read_bytes())
    (out / "packages.json").write_text(json.dumps(packages, indent=1) + "\n")


if __name__ == "__main__":
    main()
