"""What became of the last switch: written down, as whoever asked for it may have lost the terminal meanwhile."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import fs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anicca.system.reading import System

TRIAL = "trial.json"
"""In the directory of this boot's facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A switch that was begun. Times are seconds since 1970, UTC."""

    old: str
    new: str
    process: int
    began: float
    stops: tuple[str, ...] = ()
    """Units that ran before and that it stops, if only for a moment."""
    failed: tuple[str, ...] = ()
    """Units that had failed before."""
    ended: float | None = None
    problem: str | None = None
    """Why the host is not the new system, once that is known."""

    @property
    def is_cut_off(self) -> bool:
        """Whether it was killed in the middle, so that the host may be between two systems."""
        return self.ended is None and not Path("/proc", str(self.process)).exists()


def read_trial(run: Path) -> Trial | None:
    """The last switch of this boot; None if there was none."""
    try:
        record = json.loads((run / TRIAL).read_bytes())
        return Trial(**{**record, "stops": tuple(record["stops"]), "failed": tuple(record["failed"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_unended(run: Path) -> Trial | None:
    """The last switch, if it has not ended: to whoever holds the host's lock, one that was killed."""
    trial = read_trial(run)
    return trial if trial is not None and trial.ended is None else None


def note(run: Path, trial: Trial) -> None:
    """Write a trial down, in place of the one before."""
    fs.write_atomic(run / TRIAL, json.dumps(asdict(trial)).encode())


@contextmanager
def noted(
    run: Path, old: System, new: System, *, stops: Iterable[str] = (), failed: Iterable[str] = ()
) -> Iterator[None]:
    """Write down that a switch begins, and how it ended."""
    begun = Trial(
        old=str(old.path),
        new=str(new.path),
        process=os.getpid(),
        began=time.time(),
        stops=tuple(stops),
        failed=tuple(failed),
    )
    note(run, begun)
    try:
        yield
    except BaseException as error:
        words = (str(error) or type(error).__name__, getattr(error, "detail", None))
        note(run, replace(begun, ended=time.time(), problem="\n".join(filter(None, words))))
        raise
    note(run, replace(begun, ended=time.time()))
