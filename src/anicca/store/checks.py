"""What an output must satisfy before it is registered: its fixed hash, and the references it may have."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

from anicca.errors import AniccaError
from anicca.store.hashes import Hash, hasher
from anicca.store.nar import hash_path
from anicca.store.path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from anicca.store.derivation import Instantiated
    from anicca.store.info import PathInfo
    from anicca.store.local import LocalStore


def check_fixed(path: Path, recursive: bool, wanted: Hash) -> None:
    """Raise AniccaError unless `path` has the hash that was given beforehand."""
    if recursive:
        found, _size = hash_path(path, wanted.algorithm)
    else:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) or mode & stat.S_IXUSR:
            raise AniccaError("its output's hash is fixed and flat, so it must be a plain file that is not executable")
        state = hasher(wanted.algorithm)
        with path.open("rb") as file:
            while chunk := file.read(1 << 18):
                state.update(chunk)
        found = Hash(wanted.algorithm, state.digest())
    if found != wanted:
        raise AniccaError(
            f"its output has another hash than was given: wanted {wanted.sri}, got {found.sri}",
            hint="what is fetched has changed, or the hash was mistyped",
        )


def check_references(store: LocalStore, item: Instantiated, infos: Sequence[PathInfo]) -> None:
    """What outputs may refer to (`allowedReferences` and the like) and how large they may be."""
    fresh = {info.path: info for info in infos}
    for info in infos:
        rules = _rules(item, info.path)
        for rule in ("allowedReferences", "allowedRequisites", "disallowedReferences", "disallowedRequisites"):
            if rule in rules:
                used = info.references if rule.endswith("References") else _requisites(store, info, fresh)
                _check(item, info.path, used, rule, rules[rule])
        _check_size(store, info, fresh, rules)


def _rules(item: Instantiated, path: StorePath) -> Mapping[str, Any]:
    """The rules for one output: from `outputChecks` of structured attributes, else from the environment."""
    text = item.drv.env.get("__json")
    name = next(n for n, p in item.outputs.items() if p == path)
    if text is not None:
        rules: Mapping[str, Any] = json.loads(text).get("outputChecks", {}).get(name, {})
        return rules
    return {key: value.split() for key, value in item.drv.env.items() if key.startswith(("allowed", "disallowed"))}


def _check(item: Instantiated, path: StorePath, used: Iterable[StorePath], rule: str, words: Iterable[str]) -> None:
    named = {item.outputs[w] if w in item.outputs else StorePath.within(w) for w in words}
    bad = set(used) - named if rule.startswith("allowed") else set(used) & named
    # An output's closure has itself; only an explicit rule may forbid that.
    if rule == "allowedRequisites":
        bad.discard(path)
    if bad:
        raise AniccaError(f"{path} refers to what its {rule} forbids: {', '.join(map(str, sorted(bad)))}")


def _requisites(store: LocalStore, info: PathInfo, fresh: Mapping[StorePath, PathInfo]) -> set[StorePath]:
    """The closure of an output that is not registered yet."""
    found: set[StorePath] = set()
    todo = [info.path]
    outside = set()
    while todo:
        path = todo.pop()
        if path in found:
            continue
        if path in fresh:
            found.add(path)
            todo += fresh[path].references
        else:
            outside.add(path)
    return found | store.closure(outside)


def _check_size(
    store: LocalStore, info: PathInfo, fresh: Mapping[StorePath, PathInfo], rules: Mapping[str, Any]
) -> None:
    if "maxSize" in rules and info.nar_size > rules["maxSize"]:
        raise AniccaError(f"{info.path} has {info.nar_size} bytes, more than its maxSize {rules['maxSize']}")
    if "maxClosureSize" in rules:
        closure = _requisites(store, info, fresh)
        known = {**store.infos(closure), **{p: i for p, i in fresh.items() if p in closure}}
        size = sum(i.nar_size for i in known.values())
        if size > rules["maxClosureSize"]:
            raise AniccaError(f"{info.path} has a closure of {size} bytes, more than {rules['maxClosureSize']}")
