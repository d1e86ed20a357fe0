"""What the guard said: at this boot, and at those that were out of the ordinary, until somebody has acknowledged them.

docs/internals/guard.md has the format of `guard.json`. The layout keeps a copy of each that is not of an ordinary boot.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anicca.errors import AniccaError
from anicca.fs import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTS = Path("/run/anicca/guard.json")
"""This boot's."""
HISTORY = Path("/nix/persist/.anicca/guard")
"""Those of boots that were out of the ordinary, `BOOT-ID.json`; below `acknowledged` those that have been seen."""

SOFT_REBOOT = "a soft reboot:"
"""How the reason begins that stands in the facts of a root which a soft reboot has made."""
OUTCOMES = {
    "blank": "the root was blank",
    "made": "the root was made for the first time",
    "made-afresh": "THE ROOT WAS MADE AFRESH",
    "fell-back": "THE ROOT IS IN MEMORY, the declared one could not be had",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFacts:
    """One boot's facts. Times are seconds."""

    root: str
    backend: str
    device: str
    outcome: str
    reasons: tuple[str, ...]
    options: str
    seconds: float
    mount_seconds: float
    waited_seconds: float

    @property
    def is_ordinary(self) -> bool:
        """Whether nobody needs to look: the root was blank or new, and nothing was against it."""
        reasons = [reason for reason in self.reasons if not reason.startswith(SOFT_REBOOT)]
        return self.outcome in ("blank", "made") and not reasons

    @property
    def outcome_text(self) -> str:
        """What became of the root, in words."""
        return OUTCOMES.get(self.outcome, self.outcome)

    def __str__(self) -> str:
        said = f"{self.outcome_text} ({self.root})"
        return f"{said}: {'; '.join(self.reasons)}" if self.reasons else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A boot that was out of the ordinary, and when its facts were written down, in seconds since 1970."""

    boot: str
    at: float
    facts: GuardFacts


def parse_facts(text: str | bytes) -> GuardFacts:
    """The facts in a `guard.json`; root, outcome and reasons are in each. Raises `ValueError` for anything else."""
    return from_record(json.loads(text))


def from_record(said: Any) -> GuardFacts:
    """The same of what was parsed already. Raises `ValueError`."""
    try:
        return GuardFacts(
            root=str(said["root"]),
            backend=str(said.get("backend", "")),
            device=str(said.get("device", "")),
            outcome=str(said["outcome"]),
            reasons=tuple(map(str, said["reasons"])),
            options=str(said.get("options", "")),
            seconds=float(said.get("seconds", 0)),
            mount_seconds=float(said.get("mount_seconds", 0)),
            waited_seconds=float(said.get("waited_seconds", 0)),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the guard's facts: {error!r}") from error


def read_facts(path: Path = FACTS) -> GuardFacts | None:
    """What the guard said at this boot; None where there was none. Raises `AniccaError` for what cannot be read."""
    try:
        return parse_facts(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AniccaError(f"{path}: cannot be read: {error}") from error


def unacknowledged(history: Path = HISTORY) -> tuple[Incident, ...]:
    """The boots that were out of the ordinary and that nobody has acknowledged, the oldest first."""
    try:
        return tuple(sorted(_incidents(history), key=lambda incident: incident.at))
    except FileNotFoundError:
        return ()
    except OSError as error:
        hint = "only root can look there" if isinstance(error, PermissionError) else None
        raise AniccaError(f"{history}: cannot be read: {error.strerror}", hint=hint) from error


def acknowledge(history: Path = HISTORY) -> tuple[Incident, ...]:
    """Take note of all of them: they are kept, and not shown again. Returns those that were new."""
    incidents = unacknowledged(history)
    if incidents:
        seen = history / "acknowledged"
        seen.mkdir(exist_ok=True)
        for incident in incidents:
            (history / f"{incident.boot}.json").rename(seen / f"{incident.boot}.json")
        sync_directory(seen)
        sync_directory(history)
    return incidents


def _incidents(history: Path) -> Iterator[Incident]:
    for path in history.iterdir():
        if path.suffix != ".json":
            continue
        try:
            facts = parse_facts(path.read_bytes())
        except ValueError:
            # Cut off by a crash: that there was something is all that is known.
            facts = parse_facts(
                '{"root": "unknown", "outcome": "unknown", "reasons": ["its facts were not written down whole"]}'
            )
        yield Incident(boot=path.stem, at=path.stat().st_mtime, facts=facts)
