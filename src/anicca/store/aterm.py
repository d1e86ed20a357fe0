"""The subset of ATerm that `.drv` files are written in (nix `derivation-aterm.md`): `Derive([...],[...],...)`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterable


_SPECIAL = re.compile(r'[\\"\n\r\t]')
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = {"n": "\n", "r": "\r", "t": "\t"}


class AtermError(AniccaError):
    """Text that is no derivation; `offset` is the character where it goes wrong."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"not a valid derivation: {reason} at offset {offset}")
        self.offset = offset


def quote(text: str) -> str:
    """`text` as an ATerm string."""
    return f'"{text.translate(_ESCAPES)}"' if _SPECIAL.search(text) else f'"{text}"'


def strings(items: Iterable[str]) -> str:
    """A list of strings."""
    return "[" + ",".join(map(quote, items)) + "]"


class Reader:
    """A cursor over the text. Every method raises AtermError where the text is not what was asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def expect(self, token: str) -> None:
        """Pass over `token`."""
        if not self._text.startswith(token, self.at):
            raise AtermError(self.at, f"{token!r} expected")
        self.at += len(token)

    def string(self) -> str:
        """A quoted string."""
        match = _STRING.match(self._text, self.at)
        if match is None:
            raise AtermError(self.at, "a string expected")
        self.at = match.end()
        raw = match[1]
        return _ESCAPED.sub(lambda m: _PLAIN.get(m[1], m[1]), raw) if "\\" in raw else raw

    def more(self, *, first: bool) -> bool:
        """Whether a list, whose `[` was read, has another element; passes over the comma or the `]`."""
        if self._text.startswith("]", self.at):
            self.at += 1
            return False
        if not first:
            self.expect(",")
        return True

    def strings(self) -> list[str]:
        """A list of strings."""
        self.expect("[")
        found: list[str] = []
        while self.more(first=not found):
            found.append(self.string())
        return found

    def end(self) -> None:
        """Nothing may follow."""
        if self.at != len(self._text):
            raise AtermError(self.at, "characters after the end")
