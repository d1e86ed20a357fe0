"""Making a lost database anew. Only objects named by their content prove by themselves that they are whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.events import Advanced, Finished, Started, ignore
from anicca.store.addressed import address
from anicca.store.canonical import canonicalise
from anicca.store.derivation import parse
from anicca.store.graph import topological
from anicca.store.hashes import Hash
from anicca.store.info import PathInfo
from anicca.store.nar import dump
from anicca.store.path import StorePath, content_address, make_source_path, make_text_path

if TYPE_CHECKING:
    from anicca.events import Report
    from anicca.store.derivation import Derivation
    from anicca.store.local import LocalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What is valid again, and what lies in the store but proves nothing: to be built or fetched again."""

    valid: tuple[StorePath, ...]
    unproven: tuple[StorePath, ...]


def rebuild_database(store: LocalStore, *, report: Report = ignore) -> Rebuilt:
    """Register what is provably whole: texts, sources, and fixed outputs whose derivation is there.

    Refused if there is a database. Objects that others were built into keep lying there until collected.
    """
    if store.exists:
        raise AniccaError(f"{store.state_dir}: has a database; `anicca store verify` checks it")
    names = []
    for entry in sorted(store.store_dir.iterdir()) if store.store_dir.is_dir() else ():
        try:
            names.append(StorePath.parse(entry.name))
        except ValueError:
            continue
    report(Started(task="rebuild", total=len(names), unit="objects"))
    found: dict[StorePath, PathInfo] = {}
    fixed: dict[StorePath, tuple[bool, Hash]] = {}
    for done, path in enumerate(names, 1):
        info = _proven(store, path, names)
        if info is not None:
            found[path] = info
            if path.is_derivation:
                fixed |= _fixed(store.read_derivation(path))
        report(Advanced(task="rebuild", done=done))
    for path, (recursive, wanted) in fixed.items():
        if path in names and path not in found:
            info = _proven_fixed(store, path, wanted, recursive=recursive)
            if info is not None:
                found[path] = info
    found = _closed(found)
    store.writing(adopt=True)
    drvs = {p: store.read_derivation(p).output_paths for p in found if p.is_derivation}
    store.register([found[p] for p in topological({p: i.references for p, i in found.items()})], drvs)
    report(Finished(task="rebuild"))
    return Rebuilt(valid=tuple(sorted(found)), unproven=tuple(sorted(set(names) - found.keys())))


def _closed(found: dict[StorePath, PathInfo]) -> dict[StorePath, PathInfo]:
    """Without those that refer to something that is not there."""
    while True:
        broken = [p for p, info in found.items() if not info.references <= found.keys()]
        if not broken:
            return found
        found = {p: info for p, info in found.items() if p not in broken}


def _fixed(drv: Derivation) -> dict[StorePath, tuple[bool, Hash]]:
    return {StorePath.parse(o.path): o.fixed for o in drv.outputs.values() if o.fixed is not None}


def _proven(store: LocalStore, path: StorePath, names: list[StorePath]) -> PathInfo | None:
    """What can be said of an object whose path follows from its content; None if it does not."""
    lying = store.physical(path)
    try:
        seen = canonicalise(lying, names)
    except (AniccaError, OSError):
        return None
    info = PathInfo(path=path, nar_hash=seen.nar_hash, nar_size=seen.nar_size, references=seen.references)
    if lying.is_file() and not lying.is_symlink():
        content = lying.read_bytes()
        references = _text_references(path, content, seen.references)
        if make_text_path(path.name, content, references) == path:
            text = content_address("text", Hash("sha256", sha256(content).digest()))
            return replace(info, references=references, content_address=text)
    # A source may mention other objects without counting as referring to them.
    if make_source_path(path.name, seen.nar_hash) == path:
        address_text = content_address("recursive", seen.nar_hash)
        return replace(info, references=frozenset(), content_address=address_text)
    if seen.references:
        rewritten = address(path, dump(lying), seen.references, {})
        if rewritten.path == path:
            return replace(info, content_address=content_address("recursive", rewritten.content))
    return None


def _text_references(path: StorePath, content: bytes, mentioned: frozenset[StorePath]) -> frozenset[StorePath]:
    """What a text refers to: all it mentions, but a derivation's outputs, which it only names."""
    if not path.is_derivation:
        return mentioned
    try:
        return parse(content, path.name.removesuffix(".drv")).references
    except AniccaError:
        return mentioned


def _proven_fixed(store: LocalStore, path: StorePath, wanted: Hash, *, recursive: bool) -> PathInfo | None:
    from anicca.store.checks import check_fixed  # noqa: PLC0415 (where used)

    try:
        check_fixed(store.physical(path), recursive, wanted)
        seen = canonicalise(store.physical(path))
    except (AniccaError, OSError):
        return None
    return PathInfo(
        path=path,
        nar_hash=seen.nar_hash,
        nar_size=seen.nar_size,
        content_address=content_address("recursive" if recursive else "flat", wanted),
    )
