"""Giving objects of a local store paths that follow from their content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.store.addressed import address, rewrite
from anicca.store.graph import topological
from anicca.store.hashes import Hash, hasher
from anicca.store.info import PathInfo
from anicca.store.path import content_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anicca.store.local import LocalStore
    from anicca.store.path import StorePath


def make_content_addressed(store: LocalStore, paths: Iterable[StorePath]) -> dict[StorePath, StorePath]:
    """Copies of `paths` and all they refer to, named by content; the new path of each."""
    closure = store.closure(paths)
    infos = store.infos(closure)
    moved: dict[StorePath, StorePath] = {}
    for path in topological({p: infos[p].references for p in sorted(closure)}):
        found = address(path, store.nar(path), infos[path].references, moved)
        moved[path] = found.path
        references = frozenset(found.path if r == path else moved[r] for r in infos[path].references)
        nar_hash = _hash(rewrite(store.nar(path), found.rewrites))
        info = PathInfo(
            path=found.path,
            nar_hash=nar_hash,
            nar_size=infos[path].nar_size,
            references=references,
            content_address=content_address("recursive", found.content),
        )
        store.add_nar(info, rewrite(store.nar(path), found.rewrites))
    return moved


def _hash(chunks: Iterator[bytes]) -> Hash:
    state = hasher()
    for chunk in chunks:
        state.update(chunk)
    return Hash("sha256", state.digest())
