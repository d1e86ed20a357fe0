"""Objects addressed by their content: whether one is what its path says, and giving a tree such a path.

With a reference to itself the path is over the NAR with its own hash part zeroed, plus `|<offset>` for each place
where it was, as Nix up to 2.16 and from 2.35 on does (2.17 to 2.34 forgot the places).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from anicca.store.hashes import Hash
from anicca.store.path import StorePath, make_fixed_path, make_path, make_source_path
from anicca.store.spelling import HASH_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anicca.store.info import PathInfo


def is_content_addressed(info: PathInfo) -> bool:
    """Whether the path follows from the content address and the references, so that no signature is needed."""
    text = info.content_address
    if text is None:
        return False
    kind, _colon, rest = text.partition(":")
    try:
        if kind == "text":
            content = Hash.parse(rest)
            others = sorted(info.references)
            prefix = ":".join(["text", *map(str, others)])
            return make_path(prefix, content.hex, info.path.name) == info.path
        if kind != "fixed":
            return False
        recursive = rest.startswith("r:")
        content = Hash.parse(rest.removeprefix("r:"))
        own = info.path in info.references
        expected = make_fixed_path(
            info.path.name,
            "recursive" if recursive else "flat",
            content,
            info.references - {info.path},
            self_reference=own,
        )
    except ValueError:
        return False
    return expected == info.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A tree's content-addressed path, and how to get there from its old NAR."""

    path: StorePath
    content: Hash
    rewrites: tuple[tuple[bytes, bytes], ...]


class _Modulo:
    """A SHA-256 with every occurrence of one hash part zeroed and its offset noted."""

    def __init__(self, part: bytes) -> None:
        self._part = part
        self._state = sha256()
        self._kept = b""
        self._offset = 0
        self._places: list[int] = []

    def update(self, chunk: bytes) -> None:
        text = self._kept + chunk
        at = text.find(self._part)
        while at >= 0:
            self._places.append(self._offset + at)
            text = text[:at] + bytes(HASH_LENGTH) + text[at + HASH_LENGTH :]
            at = text.find(self._part, at + HASH_LENGTH)
        keep = min(len(text), HASH_LENGTH - 1)
        self._state.update(text[: len(text) - keep])
        self._offset += len(text) - keep
        self._kept = text[len(text) - keep :]

    def digest(self) -> bytes:
        self._state.update(self._kept)
        for place in self._places:
            self._state.update(f"|{place}".encode())
        return self._state.digest()


def rewrite(chunks: Iterable[bytes], rewrites: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """A NAR with hash parts replaced by others of the same length, across chunk borders too."""
    pairs = tuple(rewrites)
    kept = b""
    for chunk in chunks:
        text = kept + chunk
        for old, new in pairs:
            text = text.replace(old, new)
        keep = min(len(text), HASH_LENGTH - 1)
        yield text[: len(text) - keep]
        kept = text[len(text) - keep :]
    yield kept


def address(
    path: StorePath, chunks: Iterable[bytes], references: Iterable[StorePath], moved: dict[StorePath, StorePath]
) -> Rewritten:
    """The content-addressed path of an object, given its NAR and where what it refers to has moved."""
    others = set(references)
    own = path in others
    others.discard(path)
    rewrites = tuple(
        (r.hash_part.encode(), moved[r].hash_part.encode()) for r in sorted(others) if moved.get(r, r) != r
    )
    state = _Modulo(path.hash_part.encode())
    for chunk in rewrite(chunks, rewrites):
        state.update(chunk)
    content = Hash("sha256", state.digest())
    target = make_source_path(path.name, content, {moved.get(r, r) for r in others}, self_reference=own)
    if own:
        rewrites = (*rewrites, (path.hash_part.encode(), target.hash_part.encode()))
    return Rewritten(path=target, content=content, rewrites=rewrites)
