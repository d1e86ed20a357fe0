"""How sayings combine: the weightiest wins, equal values agree, different values of one weight are a fault.

The outcome depends on the set of sayings alone, never on their order.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from anicca.declare.rank import Rank, Ranked, weigh
from anicca.errors import Fault, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Saying(Generic[T]):
    """One value said for one option."""

    value: T
    rank: Rank
    place: Place


@dataclass(slots=True)
class Ledger:
    """What came of merging: where each option's value was said, and what went wrong."""

    origins: dict[str, tuple[Place, ...]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def show_value(value: object) -> str:
    """A value as a person would write it, short enough for one line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


class Option(Generic[T]):
    """All that was said for the options of one kind, such as each user's shell: `users[{}].shell`."""

    def __init__(self, template: str, describe: Callable[[T], str] = show_value) -> None:
        self.template = template
        self.describe = describe
        self.said: defaultdict[tuple[str, ...], list[Saying[T]]] = defaultdict(list)

    def name(self, key: tuple[str, ...]) -> str:
        """The option's path, as origins and faults call it."""
        return self.template.format(*key)

    def say(self, *key: str, value: T | Ranked[T] | None, rank: Rank, place: Place) -> None:
        """Note one value; None says nothing."""
        if value is not None:
            bare, own = weigh(value, rank)
            self.said[key].append(Saying(bare, own, place))

    def settle(self, ledger: Ledger) -> dict[tuple[str, ...], T]:
        """Each key's value, by sorted key. A conflict becomes a fault; one of the values stands in for the rest."""
        return {key: self._settle(key, self.said[key], ledger) for key in sorted(self.said)}

    def _settle(self, key: tuple[str, ...], said: list[Saying[T]], ledger: Ledger) -> T:
        top = max(saying.rank for saying in said)
        # Sorted by place, so that the order of the parts shows nowhere.
        strongest = sorted((s for s in said if s.rank is top), key=lambda s: (s.place, repr(s.value)))
        distinct: list[Saying[T]] = []
        for saying in strongest:
            if all(saying.value != other.value for other in distinct):
                distinct.append(saying)
        name = self.name(key)
        ledger.origins[name] = tuple(dict.fromkeys(saying.place for saying in strongest))
        if len(distinct) > 1:
            ledger.faults.append(conflict(name, distinct, self.describe))
        return distinct[0].value


def conflict(option: str, distinct: list[Saying[T]], describe: Callable[[T], str]) -> Fault:
    """The fault of two or more values of one weight; its places are in the order of the values."""
    kind = {Rank.DEFAULT: "defaults", Rank.FORCE: "forced values"}.get(distinct[0].rank, "values")
    *others, last = (describe(saying.value) for saying in distinct)
    return Fault(
        message=f"{option} has {len(distinct)} {kind}: {', '.join(others)} and {last}",
        places=tuple(saying.place for saying in distinct),
        hint="only one can win: take force(…) from the others"
        if distinct[0].rank is Rank.FORCE
        else "say it once, let one yield with default(…), or let one win with force(…)",
    )


def single(values: Mapping[tuple[str, ...], T], fallback: T) -> T:
    """The value of an option that has no key."""
    return values.get((), fallback)


def present(values: Mapping[tuple[str, ...], bool]) -> tuple[str, ...]:
    """The last parts of the keys that are present, in order."""
    return tuple(key[-1] for key, there in values.items() if there)
