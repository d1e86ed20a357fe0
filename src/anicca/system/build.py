"""Carry build steps out: what is missing is found first, fetched several at a time, then built."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca import events
from anicca.debian.environment import without_bytecode
from anicca.debian.unpack import FETCH, UNPACK, builders, pin_of
from anicca.errors import AniccaError
from anicca.store.build import build, plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anicca.debian.environment import BuildEnvironment
    from anicca.debian.fetch import Fetcher
    from anicca.debian.lock import Pin
    from anicca.events import Report
    from anicca.store import Instantiated, LocalStore, StorePath

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
JOBS_PER_CPU = 4
"""Hundreds of packages are unpacked, each of which waits for the disk; few steps compute at the same time."""
ROOT_FEATURE = "uid-range"
"""What a derivation requires that is built as real root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What must be done before the goals are in the store: packages to fetch, steps to build, in order."""

    fetch: tuple[Pin, ...]
    unpack: tuple[Instantiated, ...]
    steps: tuple[Instantiated, ...]

    @property
    def fetch_bytes(self) -> int:
        """How much there is to download, at most: the cache may have some."""
        return sum(pin.size_bytes for pin in self.fetch)


def find_work(store: LocalStore, goals: Sequence[Instantiated]) -> Work:
    """What is missing in the store for the goals. Touches nothing."""
    ordered = _in_order(plan(store, goals))
    return Work(
        fetch=tuple(pin_of(step.drv.env) for step in ordered if step.drv.builder == FETCH),
        unpack=tuple(step for step in ordered if step.drv.builder == UNPACK),
        steps=tuple(step for step in ordered if step.drv.builder not in {FETCH, UNPACK}),
    )


def _in_order(found: Mapping[StorePath, Instantiated]) -> list[Instantiated]:
    """The steps, each after what it needs."""
    ordered: dict[StorePath, Instantiated] = {}

    def visit(step: Instantiated) -> None:
        if step.path in ordered or step.path not in found:
            return
        for needed in step.inputs:
            visit(needed)
        ordered[step.path] = step

    for step in found.values():
        visit(step)
    return list(ordered.values())


def _require_root(work: Work) -> None:
    """Say before the first download what an ordinary user will not be able to do."""
    names = [step.drv.name for step in work.steps if ROOT_FEATURE in step.drv.env.get("requiredSystemFeatures", "")]
    if names and os.geteuid() != 0:
        raise AniccaError(
            f"you are not root, and {len(names)} steps must be built as root: {', '.join(names)}",
            hint="they mount, and give files to the users and groups of the tree, inside a sandbox; use sudo, or copy "
            "what a machine has built that may. --dry-run and `anicca show` need no rights",
        )


def realise(
    store: LocalStore,
    goals: Sequence[Instantiated],
    environment: BuildEnvironment,
    fetcher: Fetcher,
    *,
    keep_failed: bool = False,
    report: Report = events.ignore,
) -> None:
    """Bring the goals' outputs into the store, doing only what is missing.

    Raises `AniccaError` for steps that need root where we are not, and `PinsGoneError` for packages that cannot be
    fetched, both before anything is built; then `AniccaError` for steps that fail. Whatever was built stays; the next
    call goes on from there.
    """
    work = find_work(store, goals)
    if not work.fetch and not work.unpack and not work.steps:
        return
    _require_root(work)
    fetcher.fetch_all(work.fetch, report)
    try:
        for path, source in environment.sources.items():
            if not store.is_valid(path):
                added = store.add_path(path.name, source, without_bytecode)
                assert added == path, f"{source} changed while it was read"
        build(
            store,
            goals,
            builders=builders(fetcher),
            report=report,
            jobs=JOBS_PER_CPU * (os.cpu_count() or 1),
            keep_failed=keep_failed,
        )
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise AniccaError(
            f"the store cannot be written: {error.filename or store.store_dir}: {error.strerror}",
            hint="what was built so far is kept; make room and build again",
        ) from error
