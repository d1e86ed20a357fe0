"""Debian's order of versions (deb-version(7)), which dpkg alone decides by; here for telling up from down."""

from __future__ import annotations

import re

_PARTS = re.compile(r"([^0-9]*)([0-9]*)")


def version_key(version: str) -> tuple[object, ...]:
    """A key that sorts versions as `dpkg --compare-versions` does."""
    epoch, colon, rest = version.partition(":")
    upstream, _, revision = (rest if colon else version).rpartition("-")
    if not upstream:
        upstream, revision = revision, ""
    return (int(epoch) if colon and epoch.isdigit() else 0, _key(upstream), _key(revision or "0"))


def _key(text: str) -> tuple[object, ...]:
    """Letters and numbers in turn; a tilde sorts before the end, letters before everything else."""
    return tuple(
        ((*(_weight(letter) for letter in letters), 0), int(digits or 0)) for letters, digits in _PARTS.findall(text)
    )


def _weight(letter: str) -> int:
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 256
