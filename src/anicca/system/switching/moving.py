"""What is at paths that come to persist or do so no more: whether it is the host's own, who has it open."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anicca.errors import RefusedError
from anicca.system.live import Moved
from anicca.system.switching.systemd import read_processes
from anicca.system.units import below, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from anicca.system.erofs import ImageEntry
    from anicca.system.reading import System


def read_moved(
    old: System,
    new: System,
    *,
    adopts: bool = True,
    root: Path = Path("/"),
    kept: Path = Path("/nix/persist"),
    proc: Path = Path("/proc"),
) -> Moved:
    """Look at the paths that one of two systems keeps and the other does not.

    Raises `RefusedError` if something is to be adopted that is open in what a switch does not stop: what it writes
    would be lost.
    """
    coming, going = new.persist.keys() - old.persist.keys(), old.persist.keys() - new.persist.keys()
    adopted = {path for path in coming if _is_own(path, old.seed, root, kept)} if adopts else set()
    users = read_users_of(sorted(adopted | going), proc)
    stopped = {path: frozenset(unit for unit in units if is_stopped(unit)) for path, units in users.items()}
    for path in sorted(adopted):
        for unit in sorted(users.get(path, set()) - stopped.get(path, frozenset())):
            raise RefusedError(
                f"{unit} has something in {path} open, which comes to persist: what it writes there would be lost",
                hint="end what has it open and try again, or make the system the next boot's: anicca boot",
            )
    return Moved(adopted=frozenset(adopted), users={path: units for path, units in stopped.items() if units})


def is_stopped(unit: str) -> bool:
    """Whether a switch may stop a unit for a while."""
    return unit.endswith(".service") and waiting(unit) is None


def _is_own(path: str, seed: Mapping[str, ImageEntry], root: Path, kept: Path) -> bool:
    """Whether a path of the root has more or other content than a seed gave it, and is not what is kept there."""
    here, there = root / path.lstrip("/"), kept / path.lstrip("/")
    if here.is_symlink() or not here.exists() or (there.exists() and here.samefile(there)):
        return False
    found = _below(here) if here.is_dir() else iter((here,))
    return not all(_is_seeded(at, f"/{at.relative_to(root)}", seed) for at in found)


def _below(top: Path) -> Iterator[Path]:
    """All that is below a directory on its filesystem."""
    device = top.lstat().st_dev
    for directory, directories, files in os.walk(top):
        at = Path(directory)
        yield from (at / name for name in (*directories, *files))
        directories[:] = [name for name in directories if (at / name).lstat().st_dev == device]


def _is_seeded(at: Path, path: str, seed: Mapping[str, ImageEntry]) -> bool:
    entry = seed.get(path)
    if at.is_symlink():
        return entry is not None and entry.kind == "symlink" and os.fsencode(at.readlink()) == entry.content
    if at.is_dir():
        return entry is not None and entry.kind == "directory"
    if entry is None or entry.kind != "file" or at.lstat().st_size != len(entry.content):
        return False
    return at.read_bytes() == entry.content


def read_users_of(paths: Sequence[str], proc: Path = Path("/proc")) -> Mapping[str, set[str]]:
    """For each of some paths the units whose processes have something at or below it open, this process's aside."""
    found: dict[str, set[str]] = defaultdict(set)
    if not paths:
        return found
    for unit, opened in read_processes(proc, _opened):
        for path in paths:
            if any(below(one, (path,)) for one in opened):
                found[path].add(unit)
    return found


def _opened(process: Path) -> set[str]:
    """What a process has open; nothing of this one."""
    if process.name == str(os.getpid()):
        return set()
    found = set()
    for one in (process / "fd").iterdir():
        # Closed since it was listed.
        with suppress(FileNotFoundError):
            found.add(str(one.readlink()))
    return found
