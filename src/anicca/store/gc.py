"""Collecting garbage: what no root reaches is removed, while others may go on adding; `collecting` has how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.events import Advanced, Finished, Started, ignore
from anicca.store import holders
from anicca.store.collecting import Collector, free_reserve, reached
from anicca.store.db import parse

if TYPE_CHECKING:
    from collections.abc import Collection

    from anicca.events import Report
    from anicca.store.local import LocalStore
    from anicca.store.path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection removed."""

    paths: tuple[StorePath, ...]
    freed_bytes: int


def live_paths(
    store: LocalStore, *, keep_derivations: bool = True, keep_outputs: bool = False, without: Collection[str] = ()
) -> set[StorePath]:
    """What the roots reach. With `keep_derivations`, also what live outputs were built from.

    `without` names roots (links) that are to be taken for gone.
    """
    db = store.reading()
    if db is None:
        return set()
    working, held = holders.read_roots(str(store.state_dir), str(store.store_dir))
    roots = working.union(path for source, path in held if source not in without)
    live = reached(db.ask, roots, keep_derivations=keep_derivations, keep_outputs=keep_outputs)
    return set(map(parse, live))


def dead_paths(
    store: LocalStore, *, keep_derivations: bool = True, keep_outputs: bool = False, without: Collection[str] = ()
) -> set[StorePath]:
    """The valid objects that no root reaches, or none but those of `without`."""
    return set(store.all_valid()) - live_paths(
        store, keep_derivations=keep_derivations, keep_outputs=keep_outputs, without=without
    )


def collect(
    store: LocalStore,
    *,
    max_freed_bytes: int | None = None,
    only: Collection[StorePath] | None = None,
    ignore_liveness: bool = False,
    keep_derivations: bool = True,
    keep_outputs: bool = False,
    report: Report = ignore,
) -> Collected:
    """Remove what no root reaches, until so many bytes are free; leftovers of interrupted work too.

    `only`: remove exactly these, AniccaError if one is in use (`ignore_liveness`: only if something refers to it).
    """

    def watch(done: int, total: int) -> None:
        report(Advanced(task="gc", done=done) if done else Started(task="gc", total=total, unit="objects"))

    free_reserve(str(store.state_dir))
    collector = Collector(
        session=store.session(),
        ask=store.writing().ask,
        store_dir=str(store.store_dir),
        state_dir=str(store.state_dir),
        limit=max_freed_bytes,
        watch=watch,
    )
    with collector:
        if only is None:
            collector.everything(keep_derivations=keep_derivations, keep_outputs=keep_outputs)
        else:
            collector.exactly(
                list(map(str, only)),
                ignore_liveness=ignore_liveness,
                keep_derivations=keep_derivations,
                keep_outputs=keep_outputs,
            )
    report(Finished(task="gc"))
    return Collected(paths=tuple(map(parse, collector.paths)), freed_bytes=collector.freed)
