"""What a host may say about paths that nobody declares: what they are to `anicca drift`, and what is remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from anicca.declare.location import here
from anicca.errors import Place  # noqa: TC001 (a field's type)

RuleKind = Literal[
    "expected",
    "suspicious",
    "secret",
    "software",
    "configuration",
    "user data",
    "state",
    "log",
    "cache",
    "temporary",
    "lock",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the paths of a shell pattern are: `*`, `?` and `[…]` stop at a slash, `**` is any number of directories.

    What is "expected" is no drift. What is "secret" is never remembered, whatever else it is. The rest are the classes
    by which drift is shown. What a host says comes before what anicca knows.
    """

    path: str
    kind: RuleKind
    why: str = ""
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """What is kept, for a while and for root alone, of what a boot forgets: the list of it, and small files.

    Never what rules call secret, nor anything in memory (/run, /tmp). `Remember(days=0)` remembers nothing.
    """

    size: str = "64M"
    """The most that all boots together may take; the oldest goes first."""
    file: str = "1M"
    """The largest file that is kept."""
    days: int = 14
    declared_at: Place = field(default_factory=here, compare=False, repr=False)
