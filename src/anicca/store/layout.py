"""What a store has beside its objects and its database: directories as Nix lays them out, and room in reserve."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from anicca import fs
from anicca.store.spelling import is_basename

if TYPE_CHECKING:
    from pathlib import Path

RESERVED_BYTES = 8 << 20


def make_directories(store_dir: Path, state_dir: Path) -> None:
    """Make what is missing of a store. Raises OSError."""
    for directory in (
        store_dir / ".links",
        state_dir / "db",
        state_dir / "temproots",
        state_dir / "profiles" / "per-user",
        state_dir / "gcroots" / "auto",
        state_dir / "gcroots" / "per-user",
        state_dir / "gc-socket",
    ):
        fs.make_public_directory(directory)
    profiles = state_dir / "gcroots" / "profiles"
    if not profiles.is_symlink():
        profiles.symlink_to(state_dir / "profiles")


def reserve(file: Path) -> None:
    """Room that a collector gives up first: on a full disk it could not even say in the database what is gone."""
    with suppress(OSError), file.open("ab") as opened:
        if opened.tell() < RESERVED_BYTES:
            os.posix_fallocate(opened.fileno(), 0, RESERVED_BYTES)


def has_objects(store_dir: Path) -> bool:
    """Whether something in the directory is named like an object."""
    return store_dir.is_dir() and any(is_basename(entry.name) for entry in store_dir.iterdir())
