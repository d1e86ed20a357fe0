"""Garbage collector roots: links below `gcroots` and `profiles`, processes, work under way (nix `gc.cc`)."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from anicca.store import base32, locks
from anicca.store.holders import held
from anicca.store.path import StorePath
from anicca.store.spelling import path_around

if TYPE_CHECKING:
    from pathlib import Path

    from anicca.store.local import LocalStore


def indirect_root_name(link: Path) -> str:
    """The name below `gcroots/auto` that stands for `link`."""
    return base32.encode(hashlib.sha1(os.fsencode(link), usedforsecurity=False).digest())


def find_roots(store: LocalStore, *, tidy: bool = False) -> dict[StorePath, set[str]]:
    """Valid objects that are roots, each with what makes it one: a link, or `{proc/<pid>/…}`.

    `tidy` removes entries of `gcroots/auto` whose link is gone.
    """
    found: dict[StorePath, set[str]] = {}
    for source, text in held(str(store.state_dir), str(store.store_dir), tidy=tidy):
        found.setdefault(StorePath.parse(text), set()).add(source)
    valid = store.valid(found)
    return {path: sources for path, sources in found.items() if path in valid}


def temporary_roots(state_dir: Path) -> set[StorePath]:
    """What processes are working on. Files whose owner is gone are removed."""
    found: set[StorePath] = set()
    directory = state_dir / "temproots"
    if not directory.exists():
        return found
    for name in sorted(os.listdir(directory)):  # noqa: PTH208 (names)
        if name.startswith("."):
            continue
        file = directory / name
        try:
            fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if locks.lock(fd, exclusive=True, wait=False):
                file.unlink(missing_ok=True)
                os.write(fd, b"d")
                continue
            content = file.read_bytes()
        finally:
            os.close(fd)
        # The last one may be half written: its owner has not been promised anything yet.
        for raw in content.split(b"\0")[:-1]:
            text = path_around(raw.decode("utf-8", "replace"))
            if text is not None:
                found.add(StorePath.parse(text))
    return found
