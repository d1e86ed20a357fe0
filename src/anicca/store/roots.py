"""Garbage collector roots: links below `gcroots` and `profiles`, processes, work under way (nix `gc.cc`)."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from anicca.store import base32
from anicca.store.holders import held
from anicca.store.path import StorePath

if TYPE_CHECKING:
    from pathlib import Path

    from anicca.store.local import LocalStore


def indirect_root_name(link: Path) -> str:
    """The name below `gcroots/auto` that stands for `link`."""
    return base32.encode(hashlib.sha1(os.fsencode(link), usedforsecurity=False).digest())


def find_roots(store: LocalStore) -> dict[StorePath, set[str]]:
    """Valid objects that are roots, each with what makes it one: a link, or `{proc/<pid>/…}`."""
    found: dict[StorePath, set[str]] = {}
    for source, text in held(str(store.state_dir), str(store.store_dir)):
        found.setdefault(StorePath.parse(text), set()).add(source)
    valid = store.valid(found)
    return {path: sources for path, sources in found.items() if path in valid}
