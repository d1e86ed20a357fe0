"""The errors that reach a person: what is wrong, where, and what to do about it.

Libraries raise these; only `anicca.cli` prints them and exits with their `exit_status`. Anything else that
escapes is a bug of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file, as a person would type it to an editor."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong: `message` says what, `places` where, `hint` what to do."""

    message: str
    places: tuple[Place, ...] = ()
    hint: str | None = None

    def __str__(self) -> str:
        where = ", ".join(map(str, self.places))
        return f"{where}: {self.message}" if where else self.message


class AniccaError(Exception):
    """Something failed that a person can act on. Exit status 1."""

    exit_status: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        places: Sequence[Place] = (),
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.faults: tuple[Fault, ...] = (Fault(message=message, hint=hint, places=tuple(places)),)
        self.detail = detail
        """More lines for the curious, such as the end of a build's log."""


class UsageError(AniccaError):
    """The command line cannot be carried out as it stands. Exit status 2."""

    exit_status = 2


class DeclarationError(AniccaError):
    """The declaration, or its lock, is not valid. Holds every fault found, not just the first. Exit status 3."""

    exit_status = 3

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class RefusedError(AniccaError):
    """Refused because it could lose data or stop a host from booting. Exit status 5."""

    exit_status = 5
