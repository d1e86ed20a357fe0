"""What took the place of pins that a mirror has no more, and since when: for the error that says they are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.debian.apt import open_apt
from anicca.debian.resolve import current_pins
from anicca.errors import AniccaError
from anicca.system.locking import wish_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from anicca.debian.fetch import Fetcher
    from anicca.debian.lock import Pin
    from anicca.declare.spec import Spec


def find_successors(spec: Spec, apt_directory: Path) -> Callable[[Sequence[Pin], Fetcher], Mapping[str, str]]:
    """A `Fetcher`'s `superseded`: asks the current index for versions, and the mirror when it got each.

    The answers are words by package name; there are none where the index cannot be had.
    """

    def describe(pins: Sequence[Pin], fetcher: Fetcher) -> Mapping[str, str]:
        try:
            with open_apt(apt_directory, wish_of(spec), fetcher.find_mirrors()) as apt:
                current = current_pins(apt, [pin.name for pin in pins], spec.architecture)
        except AniccaError:
            return {}
        found = {}
        for pin in pins:
            now = current.get(pin.name)
            if now is None:
                found[pin.name] = "no longer in the archive"
            elif now.version != pin.version:
                since = fetcher.uploaded(now)
                found[pin.name] = f"superseded by {now.version}" + (f" since {since:%Y-%m-%d}" if since else "")
        return found

    return describe
