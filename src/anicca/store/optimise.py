"""Making equal files of a store one file; `linking` has how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.events import Advanced, Finished, Started, ignore
from anicca.store.linking import Links

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anicca.events import Report
    from anicca.store.local import LocalStore
    from anicca.store.path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """How much linking saved."""

    files: int
    size_bytes: int


def optimise(store: LocalStore, paths: Iterable[StorePath] | None = None, *, report: Report = ignore) -> Saved:
    """Link equal files of `paths` (None: of all valid objects). Objects stay what they are to all who look."""
    db = store.writing()
    wanted = sorted(db.all_valid() if paths is None else db.valid(paths))
    links = Links(str(store.store_dir))
    report(Started(task="optimise", total=len(wanted), unit="objects"))
    links.objects(
        list(map(str, wanted)), store.session(), db.ask, lambda done: report(Advanced(task="optimise", done=done))
    )
    report(Finished(task="optimise"))
    return Saved(files=links.files, size_bytes=links.size_bytes)
