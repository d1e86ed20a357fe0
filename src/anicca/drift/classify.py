"""Divergent, convergent or congruent: measured from observations over time, not claimed. Pure.

The terms are of "Why Order Matters" (Traugott and Brown, 2002); docs/guide/drift.md tells how they are measured. With
three or more observations, a difference from the first that a later one no longer has was pulled back.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

DIVERGENT, CONVERGENT, CONGRUENT, UNDECIDED = "divergent", "convergent", "congruent", "undecided"
RETURNED_SHARE = 0.5
"""Of the differences that were seen and had the time to go away, how many must have gone for "convergent"."""


class Observed(NamedTuple):
    """One observation, against the first: what differs, each as a path, a kind and what it is now."""

    name: str
    entries: int
    differences: frozenset[tuple[bytes, str, str]]


class Verdict(NamedTuple):
    """The class, the sentence that says why, and the numbers it rests on.

    `counts` are the differences from the first observation at each later one; `returned` those that were seen and are
    gone at the last, of `seen` in all that had a later observation; `lasting` those that are there at the last;
    `half_life` how many observations pass until half of the differences are gone (None: they do not go).
    """

    name: str
    why: str
    observations: int
    entries: int
    counts: tuple[int, ...]
    seen: int
    returned: int
    lasting: int
    half_life: float | None


def classify(observations: Sequence[Observed], *, disturbed: bool = False) -> Verdict:
    """The class of a host from its observations, the first of which is what was intended (and has no differences).

    `disturbed`: something was changed on purpose in between. Without it, a host that never differs has only shown that
    nothing happened to it, and is called congruent no less: its content was.
    """
    first, later = observations[0], observations[1:]
    counts = tuple(len(one.differences) for one in later)
    seen: set[tuple[bytes, str, str]] = set()
    for one in later[:-1]:
        seen |= one.differences
    last = later[-1].differences
    returned = len(seen - last)
    survival = [len(before.differences & after.differences) for before, after in itertools.pairwise(later)]
    had = [len(before.differences) for before in later[:-1]]
    kept = sum(survival) / sum(had) if sum(had) else None
    half_life = None if kept is None or kept >= 1 else 0.0 if kept == 0 else math.log(0.5) / math.log(kept)
    name, why = _judge(counts, len(seen), returned, disturbed=disturbed)
    return Verdict(
        name=name,
        why=why,
        observations=len(observations),
        entries=first.entries,
        counts=counts,
        seen=len(seen),
        returned=returned,
        lasting=len(last),
        half_life=half_life,
    )


def _judge(counts: tuple[int, ...], seen: int, returned: int, *, disturbed: bool) -> tuple[str, str]:
    if not any(counts):
        more = "" if disturbed else "; nothing was changed on purpose in between, so this rests on little"
        return CONGRUENT, f"each of the {len(counts)} later observations is as the first{more}"
    if counts[-1] == 0:
        return CONGRUENT, f"{differences(seen)} seen, none of them there at the last observation"
    if not seen:
        if len(counts) == 1:
            return UNDECIDED, f"{differences(counts[0])}, and no later observation says what stays: take a third"
        return DIVERGENT, f"{differences(counts[-1])} after a time without any"
    if returned >= RETURNED_SHARE * seen:
        return CONVERGENT, f"{returned} of {seen} differences were pulled back, {counts[-1]} are there at the last"
    return DIVERGENT, f"{seen - returned} of {seen} differences stayed, {counts[-1]} are there at the last observation"


def differences(number: int) -> str:
    """A number of them, as a person says it."""
    return f"{number} difference{'' if number == 1 else 's'}"


def to_record(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON has it."""
    return {"class": verdict.name, **{key: value for key, value in verdict._asdict().items() if key != "name"}}


def render(verdict: Verdict, names: Sequence[str]) -> list[str]:
    """The verdict as lines: the class, why, and each observation's number."""
    lines = [f"{verdict.name}: {verdict.why}", ""]
    lines += [f"  {names[0]}  {verdict.entries} paths, taken as what was intended"]
    lines += [f"  {name}  {differences(count)}" for name, count in zip(names[1:], verdict.counts, strict=True)]
    if verdict.half_life is not None:
        lines.append(f"half of the differences are gone after {verdict.half_life:.1f} observations")
    return lines
