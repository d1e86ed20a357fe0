"""Profiles and their generations: `<profile>` → `<profile>-<number>-link` → an object (nix `profiles.cc`).

Every generation's link keeps its object. Switching is one rename.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca import fs
from anicca.errors import AniccaError
from anicca.store.locks import path_locks
from anicca.store.path import StorePath
from anicca.store.roots import indirect_root_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anicca.store.local import LocalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation of a profile. `created` is seconds since 1970, UTC."""

    number: int
    link: Path
    path: StorePath
    created: float
    current: bool


def generations(profile: Path) -> list[Generation]:
    """A profile's generations, oldest first."""
    pattern = re.compile(re.escape(profile.name) + r"-([0-9]+)-link")
    current = _current_link(profile)
    found = []
    for link in profile.parent.iterdir() if profile.parent.is_dir() else ():
        match = pattern.fullmatch(link.name)
        if match is None or not link.is_symlink():
            continue
        try:
            path = StorePath.within(os.readlink(link))  # noqa: PTH115 (the text)
        except ValueError:
            continue
        found.append(
            Generation(
                number=int(match[1]),
                link=link,
                path=path,
                created=link.lstat().st_mtime,
                current=link.name == current,
            )
        )
    return sorted(found, key=lambda g: g.number)


def current(profile: Path) -> Generation | None:
    """The generation that the profile points to."""
    return next((g for g in generations(profile) if g.current), None)


def _current_link(profile: Path) -> str | None:
    try:
        return os.path.basename(os.readlink(profile))  # noqa: PTH115, PTH119 (texts)
    except OSError:
        return None


@contextmanager
def locked(profile: Path) -> Iterator[None]:
    """Hold the profile's lock."""
    profile.parent.mkdir(parents=True, exist_ok=True)
    with path_locks([profile]):
        yield


def set_generation(store: LocalStore, profile: Path, path: StorePath, *, switch: bool = True) -> Generation:
    """Make `path` the newest generation, and with `switch` the current one.

    No new generation is made when the newest is `path` already. `path` must be valid.
    """
    profile = profile.absolute()
    store.protect((path,))
    store.info(path)
    with locked(profile):
        known = generations(profile)
        if known and known[-1].path == path:
            newest = known[-1]
        else:
            number = known[-1].number + 1 if known else 1
            link = profile.with_name(f"{profile.name}-{number}-link")
            if not link.is_relative_to(store.state_dir / "profiles"):
                auto = store.state_dir / "gcroots" / "auto" / indirect_root_name(link)
                fs.symlink_atomic(auto, str(link))
            fs.symlink_atomic(link, str(path))
            newest = Generation(number=number, link=link, path=path, created=time.time(), current=False)
        if switch:
            fs.symlink_atomic(profile, newest.link.name)
    return newest


def switch(profile: Path, number: int) -> Generation:
    """Make generation `number` the current one."""
    profile = profile.absolute()
    with locked(profile):
        return _switch(profile, number)


def _switch(profile: Path, number: int) -> Generation:
    for generation in generations(profile):
        if generation.number == number:
            fs.symlink_atomic(profile, generation.link.name)
            return generation
    raise AniccaError(f"{profile}: has no generation {number}")


def roll_back(profile: Path) -> Generation:
    """Make the newest generation before the current one the current one."""
    profile = profile.absolute()
    with locked(profile):
        known = generations(profile)
        now = next((g.number for g in known if g.current), None)
        before = [g.number for g in known if now is not None and g.number < now]
        if not before:
            raise AniccaError(f"{profile}: has no generation before the current one")
        return _switch(profile, before[-1])


def delete_generations(
    profile: Path,
    *,
    numbers: tuple[int, ...] = (),
    older_than_seconds: float | None = None,
    keep: int | None = None,
    old: bool = False,
    dry_run: bool = False,
) -> list[Generation]:
    """Delete generations, never the current one; which. The objects go with the next collection.

    By number; by age: those that were not current any more so long ago (the one that was then stays); all but the
    newest `keep` up to the current one, and none after it; or all `old` ones.
    """
    profile = profile.absolute()
    with locked(profile):
        known = generations(profile)
        for number in numbers:
            found = next((g for g in known if g.number == number), None)
            if found is None:
                raise AniccaError(f"{profile}: has no generation {number}")
            if found.current:
                raise AniccaError(f"{profile}: generation {number} is the current one, so it was not deleted")
        doomed = {g.number for g in known if g.number in numbers}
        if old:
            doomed |= {g.number for g in known}
        if older_than_seconds is not None:
            then = time.time() - older_than_seconds
            before = [g for g in known if g.created < then]
            # The newest of these was current at that time.
            doomed |= {g.number for g in before[:-1]}
        if keep is not None:
            now = next((g.number for g in known if g.current), 0)
            past = [g.number for g in known if g.number <= now]
            doomed |= set(past[: max(0, len(past) - keep)])
        deleted = [g for g in known if g.number in doomed and not g.current]
        if not dry_run:
            for generation in deleted:
                generation.link.unlink()
            if deleted:
                fs.sync_directory(profile.parent)
        return deleted
