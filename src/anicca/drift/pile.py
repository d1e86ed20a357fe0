"""What a look found, however much it is: from many findings on they lie in a file without a name, not in memory."""

from __future__ import annotations

import marshal
import os
import stat
import tempfile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from anicca.drift.compare import CHANGED_WHILE_READ, UNREADABLE, Drift
from anicca.drift.rules import Judgement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HELD = 10_000
"""So many are held in memory."""
DIRECTORY = "/var/tmp"  # noqa: S108 (a file without a name; /tmp is memory on many hosts)
DRIFT, UNREAD, EXPLAINED = "drift", "unread", "explained"
PARTS = (DRIFT, UNREAD, EXPLAINED)
NOT_SEEN = (UNREADABLE, CHANGED_WHILE_READ)
"""Kinds that say that nothing can be said."""


class Finding(NamedTuple):
    """A difference, what it means, and who wrote it where that can be known."""

    drift: Drift
    judgement: Judgement
    by: str = ""

    @property
    def part(self) -> str:
        """Whether it is drift, says that nothing can be said, or is explained."""
        if self.drift.kind in NOT_SEEN:
            return UNREAD
        return EXPLAINED if self.judgement.expected else DRIFT


class Count:
    """How many findings, of how many paths, with how many bytes in files."""

    def __init__(self) -> None:
        self.findings = self.paths = self.size_bytes = 0
        self._last: bytes | None = None

    def add(self, drift: Drift) -> None:
        """Count one; those of one path come one after another."""
        self.findings += 1
        if drift.path != self._last:
            self._last = drift.path
            self.paths += 1
            if stat.S_ISREG(drift.mode):
                self.size_bytes += drift.size


class Pile:
    """Findings in the order in which they were put there. It can be gone through again and again."""

    def __init__(self, found: Iterable[Finding] = ()) -> None:
        self._held: list[Finding] = []
        self._file: IO[bytes] | None = None
        self._places: list[int] = []
        self.counts = {part: Count() for part in PARTS}
        self.classes: dict[str, dict[str, Count]] = {part: {} for part in PARTS}
        """For each part, its classes."""
        for one in found:
            self.add(one)

    def add(self, one: Finding) -> None:
        """Put one there."""
        part = one.part
        self.counts[part].add(one.drift)
        self.classes[part].setdefault(one.judgement.name, Count()).add(one.drift)
        self._held.append(one)
        if len(self._held) >= HELD:
            self._put_away()

    def _put_away(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=DIRECTORY if os.access(DIRECTORY, os.W_OK) else None)  # noqa: SIM115
        self._places.append(self._file.seek(0, os.SEEK_END))
        marshal.dump([(tuple(drift), tuple(judgement), by) for drift, judgement, by in self._held], self._file)
        self._held.clear()

    def __len__(self) -> int:
        return sum(count.findings for count in self.counts.values())

    def __iter__(self) -> Iterator[Finding]:
        for place in self._places:
            assert self._file is not None
            self._file.seek(place)
            found: list[Any] = marshal.load(self._file)  # noqa: S302 (we wrote it)
            for drift, judgement, by in found:
                yield Finding(Drift(*drift), Judgement(*judgement), by)
        yield from self._held


class Part:
    """Those findings of a pile that are drift, or unread, or explained; of one class, if that is given."""

    def __init__(self, pile: Pile, part: str, name: str | None = None) -> None:
        self._pile = pile
        self._part = part
        self._name = name

    @property
    def count(self) -> Count:
        """How much it is."""
        if self._name is None:
            return self._pile.counts[self._part]
        return self._pile.classes[self._part].get(self._name) or Count()

    @property
    def classes(self) -> dict[str, Count]:
        """How much there is of each class."""
        return self._pile.classes[self._part]

    def of(self, name: str) -> Part:
        """Those of one class."""
        return Part(self._pile, self._part, name)

    def __len__(self) -> int:
        return self.count.findings

    def __iter__(self) -> Iterator[Finding]:
        for one in self._pile:
            if one.part == self._part and self._name in (None, one.judgement.name):
                yield one
