"""One plan for all that changes which generations a host has and which one boots: record, boot files, link, forget.

`boot`, `rollback`, `switch` and `gc` plan this and nothing else; docs/internals/switch.md shows why its order is safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca.errors import AniccaError, RefusedError
from anicca.system.boot import Esp, plan_blessing, plan_boot
from anicca.system.boot import Step as BootStep
from anicca.system.generations import Generation, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anicca.store.path import StorePath
    from anicca.system.boot import Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Give a system the next number: its manifest, then its link, which keeps it from the collector."""

    generation: Generation

    def __str__(self) -> str:
        return f"make generation {self.generation.number} of {self.generation.system}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Point the profile to a generation: one rename."""

    number: int

    def __str__(self) -> str:
        return f"make generation {self.number} the current one"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteGood:
    """Remember a generation as the last one that was healthy after a boot."""

    number: int

    def __str__(self) -> str:
        return f"remember generation {self.number} as good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Remove a generation's link and manifest. Its objects go with the next collection."""

    generation: Generation

    def __str__(self) -> str:
        return f"forget generation {self.generation.number} ({self.generation.system})"


Change = Record | BootStep | Point | NoteGood | Forget


def plan_next(
    seen: Seen,
    esp: Esp,
    system: StorePath,
    want: Callable[[Generation], Wanted],
    *,
    current: int | None,
    now: float,
    counted: bool = True,
) -> tuple[Change, ...]:
    """Make `system` what the next boot takes: as a new generation, or the newest one if that is it already.

    `want` tells the boot entry of a generation; `current` is what the profile points to. Nothing to do: no steps.
    """
    newest = seen.generations[-1] if seen.generations else None
    if newest is not None and newest.system == system:
        return _onto(seen, esp, newest, want, current=current, counted=counted)
    made = Generation(number=seen.next_number, system=system, created=now)
    with_it = Seen(
        generations=(*seen.generations, made),
        next=seen.next,
        good=seen.good,
        running=seen.running,
        booted=seen.booted,
        last_number=made.number,
    )
    return (Record(generation=made), *_onto(with_it, esp, made, want, current=current, counted=counted))


def plan_return(
    seen: Seen, esp: Esp, number: int | None, want: Callable[[Generation], Wanted], *, current: int | None
) -> tuple[Change, ...]:
    """Make a generation that is there already what the next boot takes; None: the one before that."""
    target = seen.before() if number is None else seen.get(number)
    if target is None:
        what = "there is no generation before the next boot's" if number is None else f"there is no generation {number}"
        raise AniccaError(what, hint="anicca generations lists them")
    # Whoever goes back has seen it boot before, unless it used up its tries: then they are counted again.
    return _onto(seen, esp, target, want, current=current, counted=any(n.failed for n in esp.names_of(target.number)))


def plan_blessed(seen: Seen, esp: Esp) -> tuple[Change, ...]:
    """The booted generation has proven healthy: its boots are not counted any more, and it is the last good one."""
    numbers = [one.number for one in seen.generations if one.system == seen.booted]
    # Several generations can have one system: the one whose boots are counted is the one that was booted.
    counted = [number for number in numbers if any(name.left is not None for name in esp.names_of(number))]
    if not numbers:
        return ()
    number = (counted or numbers)[-1]
    steps = plan_blessing(esp, number)
    return steps if seen.good == number else (NoteGood(number=number), *steps)


def plan_forgetting(
    seen: Seen, esp: Esp, doomed: Sequence[Generation], want: Callable[[Generation], Wanted]
) -> tuple[Change, ...]:
    """Drop generations: first what boots them, then their links."""
    numbers = {one.number for one in doomed}
    kept = [one for one in seen.generations if one.number not in numbers]
    if not kept:
        raise RefusedError("a host without any generation cannot boot")
    steps = plan_boot([want(one) for one in kept], esp, default=None, good=seen.good)
    return (*steps, *(Forget(generation=one) for one in doomed))


def _onto(
    seen: Seen,
    esp: Esp,
    target: Generation,
    want: Callable[[Generation], Wanted],
    *,
    current: int | None,
    counted: bool,
) -> tuple[Change, ...]:
    wanted = [want(one) for one in seen.generations]
    good = seen.good if seen.good != target.number else _other_good(seen, target)
    steps = plan_boot(wanted, esp, default=target.number, good=good, counted=counted and seen.good != target.number)
    point = () if current == target.number else (Point(number=target.number),)
    return (*steps, *point)


def _other_good(seen: Seen, target: Generation) -> int | None:
    """What comes after a good one that boots: the newest other, as none other is known to be good."""
    others = [one.number for one in seen.generations if one.number != target.number]
    return others[-1] if others else None
