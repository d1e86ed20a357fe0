"""How something gets its place in the persistent area: by one rename, its parents made before.

A directory made as a parent holds only what persists below it. Should it come to persist itself, it must still get
what else is to be in it; so a parent is marked, by a directory of its path in `PARENTS`. The initrd does as is done
here (`layout.sh`).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from anicca import fs

if TYPE_CHECKING:
    from pathlib import Path

PARENTS = ".anicca/parents"


def make_parents(root: Path, kept: Path, path: str) -> None:
    """Make the directories above a path in the area `kept`, owned as on the root, and mark them."""
    at = ""
    for part in path.strip("/").split("/")[:-1]:
        at += f"/{part}"
        made = kept / at[1:]
        if made.is_dir():
            continue
        seen = (root / at[1:]).lstat()
        _mark(kept, at).mkdir(parents=True, exist_ok=True)
        made.mkdir(mode=0o700)
        os.chown(made, seen.st_uid, seen.st_gid)
        made.chmod(stat.S_IMODE(seen.st_mode))
        fs.sync_directory(made.parent)


def is_parent(kept: Path, path: str) -> bool:
    """Whether what is at a path of the area was made for what is below it alone."""
    return _mark(kept, path).is_dir()


def put(kept: Path, path: str, made: Path) -> None:
    """Give what was made on the same filesystem its place; to a parent, what it has not, and it is no parent then."""
    target = kept / path.lstrip("/")
    if not os.path.lexists(target):
        made.rename(target)
    elif made.is_dir() and not made.is_symlink():
        for entry in sorted(made.iterdir()):
            inner = f"{path}/{entry.name}"
            if is_parent(kept, inner) or not os.path.lexists(target / entry.name):
                put(kept, inner, entry)
        fs.sync_directory(target)
    fs.sync_directory(target.parent)
    fs.remove_tree(_mark(kept, path))


def _mark(kept: Path, path: str) -> Path:
    return kept / PARENTS / path.lstrip("/")
