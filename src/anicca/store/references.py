"""Finding which store objects some bytes refer to: the 32 characters of a hash part, anywhere, as Nix does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.store.base32 import ALPHABET
from anicca.store.spelling import HASH_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anicca.store.path import StorePath

_FEW = 6
"""Up to so many hash parts, searching for each is faster than searching for anything that looks like one."""
_MARKED = bytes(120 if byte in ALPHABET.encode() else 10 for byte in range(256))
_RUN = b"x" * HASH_LENGTH


class ReferenceScanner:
    """Feed it chunks of any size; `found` has those of the candidates seen so far, across chunk borders too."""

    def __init__(self, candidates: Iterable[StorePath]) -> None:
        self._left: dict[bytes, list[StorePath]] = {}
        for path in candidates:
            self._left.setdefault(path.hash_part.encode(), []).append(path)
        self._tail = b""
        self.found: set[StorePath] = set()

    def update(self, chunk: bytes) -> None:
        """Look at the next bytes."""
        if not self._left:
            return
        joint = self._tail + chunk[: HASH_LENGTH - 1]
        if len(joint) >= HASH_LENGTH:
            self._search(joint)
        self._search(chunk)
        self._tail = (
            (self._tail + chunk)[-(HASH_LENGTH - 1) :] if len(chunk) < HASH_LENGTH else chunk[1 - HASH_LENGTH :]
        )

    def _search(self, text: bytes) -> None:
        if len(self._left) <= _FEW:
            for part in [p for p in self._left if p in text]:
                self._hit(part)
            return
        marked = text.translate(_MARKED)
        at = marked.find(_RUN)
        while at >= 0:
            end = marked.find(b"\n", at)
            end = len(text) if end < 0 else end
            if end - at > len(self._left) * HASH_LENGTH:
                run = text[at:end]
                for part in [p for p in self._left if p in run]:
                    self._hit(part)
            else:
                for start in range(at, end - HASH_LENGTH + 1):
                    part = text[start : start + HASH_LENGTH]
                    if part in self._left:
                        self._hit(part)
            at = marked.find(_RUN, end)

    def _hit(self, part: bytes) -> None:
        self.found.update(self._left.pop(part))


def scan(content: bytes, candidates: Iterable[StorePath]) -> set[StorePath]:
    """Those of `candidates` that `content` refers to."""
    scanner = ReferenceScanner(candidates)
    scanner.update(content)
    return scanner.found
