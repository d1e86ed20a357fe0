"""How much a saying weighs when two of them are about one option."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Rank(IntEnum):
    """The higher wins; two different values of one rank are an error."""

    BASE = 0
    """What every host has unless something else is said."""
    DEFAULT = 1
    PLAIN = 2
    FORCE = 3


@dataclass(frozen=True, slots=True)
class Ranked(Generic[T_co]):
    """A value said with another weight than the plain one; made by `default` and `force`."""

    value: T_co
    rank: Rank


def default(value: T) -> Ranked[T]:
    """A value that yields to one said plainly."""
    return Ranked(value, Rank.DEFAULT)


def force(value: T) -> Ranked[T]:
    """A value that wins over those said plainly."""
    return Ranked(value, Rank.FORCE)


def weigh(value: T | Ranked[T], rank: Rank) -> tuple[T, Rank]:
    """The bare value and its rank, `rank` if it says none itself."""
    if isinstance(value, Ranked):
        return value.value, value.rank
    return value, rank
