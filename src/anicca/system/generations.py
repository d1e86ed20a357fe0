"""The generations of a host, what each is to it at the moment, and which of them may go. Touches nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anicca.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from anicca.declare.spec import Spec
    from anicca.errors import Place
    from anicca.store.path import StorePath

Role = Literal["running", "booted", "next", "good"]
"""What userspace is of; what the kernel was started with; what the next boot takes; what was last seen healthy."""

WHY = {
    "running": "it is running",
    "booted": "it was booted",
    "next": "the next boot takes it",
    "good": "it is the last one that was seen healthy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A numbered system. `created` is seconds since 1970, UTC."""

    number: int
    system: StorePath
    created: float


Origins = Mapping[str, Sequence[str]]
"""Option of a declaration, such as `files[/etc/motd]`, to the lines that said it: `host.py:9`, below its folder."""


def manifest(
    generation: Generation, made_from: Mapping[str, str], *, version: str, origins: Origins | None = None
) -> bytes:
    """What a generation was made from, as it is kept beside its link: JSON."""
    record = {
        "number": generation.number,
        "system": str(generation.system),
        "created": int(generation.created),
        "anicca": version,
        **made_from,
        **({"origins": {option: list(places) for option, places in origins.items()}} if origins else {}),
    }
    return json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"


def origins_of(spec: Spec, top: Path) -> Origins:
    """Where a spec's values were said: told from the folder of its `host.py`, wherever that lies."""

    def told(place: Place) -> str:
        file = Path(place.file)
        return f"{file.relative_to(top) if file.is_relative_to(top) else file}:{place.line}"

    return {option: tuple(map(told, places)) for option, places in spec.origins.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A host's generations, oldest first, and what is known of their roles.

    A host may run a system that is no generation's (any more): roles are told by system where they come from the
    running host, and by number where they come from the profile and the boot entries.
    """

    generations: tuple[Generation, ...]
    next: int | None = None
    good: int | None = None
    running: StorePath | None = None
    booted: StorePath | None = None
    last_number: int = 0
    """The highest number that was ever given."""

    def get(self, number: int) -> Generation | None:
        """The generation of that number."""
        return next((one for one in self.generations if one.number == number), None)

    def roles(self, generation: Generation) -> tuple[Role, ...]:
        """What the generation is to the host now."""
        found: list[Role] = []
        if generation.system == self.running:
            found.append("running")
        if generation.system == self.booted:
            found.append("booted")
        if generation.number == self.next:
            found.append("next")
        if generation.number == self.good:
            found.append("good")
        return tuple(found)

    @property
    def next_number(self) -> int:
        """The number of the generation to come: one that was never given."""
        return max((self.last_number, *(one.number for one in self.generations))) + 1

    def before(self) -> Generation | None:
        """Where a rollback leads: the newest one older than what the next boot takes."""
        older = [one for one in self.generations if self.next is None or one.number < self.next]
        return older[-1] if older else None


def plan_deletion(
    seen: Seen,
    *,
    numbers: Collection[int] = (),
    keep: int | None = None,
    older_than_seconds: float | None = None,
    now: float = 0,
) -> tuple[Generation, ...]:
    """The generations that go: those of `numbers`, all but the newest `keep`, those made so many seconds before `now`.

    With both a count and an age, one goes only if both say so. One that is running, booted, next or last good never
    goes: asked for by number that is refused (`RefusedError`), otherwise it stays silently, beside those kept.
    """
    protected = {one.number: roles for one in seen.generations if (roles := seen.roles(one))}
    for number in sorted(numbers):
        if seen.get(number) is None:
            raise RefusedError(f"there is no generation {number}", hint="anicca generations lists them")
        if number in protected:
            raise RefusedError(f"generation {number} stays: {WHY[protected[number][0]]}")
    doomed = {one.number for one in seen.generations if one.number in numbers}
    if keep is not None or older_than_seconds is not None:
        by_rule = [one for one in seen.generations if one.number not in protected]
        if keep is not None:
            by_rule = _without_newest(by_rule, seen.generations, keep)
        if older_than_seconds is not None:
            by_rule = [one for one in by_rule if one.created < now - older_than_seconds]
        doomed.update(one.number for one in by_rule)
    return tuple(one for one in seen.generations if one.number in doomed)


def _without_newest(some: Sequence[Generation], known: Sequence[Generation], keep: int) -> list[Generation]:
    newest = {one.number for one in known[max(0, len(known) - keep) :]}
    return [one for one in some if one.number not in newest]
