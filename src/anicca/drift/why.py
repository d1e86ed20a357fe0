"""Where one path comes from: a declaration, a package, the seed, a persisted directory; or nobody: then by whom."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from anicca.drift import records, system
from anicca.drift.compare import Drift, compare
from anicca.drift.content import wanted_digest
from anicca.drift.entry import HIDDEN, Entry, is_below, kind_of
from anicca.drift.expect import Expectation
from anicca.drift.facts import expectation_for
from anicca.drift.findings import declares_in
from anicca.drift.inside import Root
from anicca.drift.origins import read_origins, said_of
from anicca.drift.rules import RULES, Judgement, judge
from anicca.drift.scan import look_at
from anicca.drift.writers import read_writers, users_alone

if TYPE_CHECKING:
    from typing import Any

    from anicca.drift.expect import Expected

DECLARED, PACKAGE, SEED, PERSISTED, GENERATED, NOBODY, ABSENT = (
    *("declared", "package", "seed", "persisted", "generated", "nobody", "absent"),
)


class Why(NamedTuple):
    """The answer about one path, `place` in the root with links in its directories resolved.

    `origin` is one of the words above, `says` who says so. `differences` are how it is not as it was said.
    `gone_at_boot` is True where an anicca host forgets it, None where nothing is known of its root.
    """

    path: bytes
    place: bytes
    kind: str
    origin: str
    says: str
    differences: tuple[Drift, ...]
    judgement: Judgement | None
    owner: str
    entry: Entry | None
    gone_at_boot: bool | None
    places: tuple[str, ...] = ()
    """Where the declaration says so, as `host.py:9`."""
    by: str = ""
    """Who wrote it, where nobody declared it and that can be known."""


def why(top: bytes, path: bytes) -> Why:
    """Where a path of a root comes from. Raises `OSError` or `ValueError`."""
    root = Root(top)
    directory, name = os.path.split(os.path.normpath(b"/" + path.lstrip(b"/")))
    place = (root.real(directory).rstrip(b"/") + b"/" + name) if name else b"/"
    expectation = expectation_for(top)
    expected = {one.path: one for one in expectation.entries}
    wanted = expected.get(place)
    entry = look_at(top, place, wanted_digest(wanted.digests) if wanted else "")
    on_anicca = root.exists(system.CURRENT)
    kept = next((one for one in expectation.below if is_below(place, one)), None) if on_anicca else None
    if on_anicca and place.startswith((b"/usr/", b"/etc/")):
        origin, says = _of_tree(root, place)
    elif kept is not None:
        origin, says = PERSISTED, f"below {os.fsdecode(kept)}, which is kept from boot to boot"
    elif wanted is not None:
        origin, says = _of_expected(wanted)
    else:
        origin, says = NOBODY, ""
    judgement = None
    differences: tuple[Drift, ...] = ()
    if origin not in (PERSISTED, DECLARED) or wanted is not None:
        only = Expectation("", [wanted] if wanted else [])
        differences = tuple(compare(only, [entry] if entry else []))
        if differences and kept is None:
            rules = (*expectation.own_rules, *RULES)
            declares = declares_in(set(expected))
            judgement = judge(differences[0], declares, rules=rules, explained=expectation.rules)
            if origin == NOBODY and judgement.expected:
                origin, says = GENERATED, judgement.why
    if entry is None and origin == NOBODY:
        origin = ABSENT
    gone = None if not on_anicca else origin in (NOBODY, GENERATED)
    places: list[str] = []
    by = ""
    if on_anicca and origin not in (NOBODY, GENERATED, ABSENT):
        spec = json.loads(root.read(root.real(system.CURRENT) + b"/spec.json"))
        package = says.split(" ")[1] if origin == PACKAGE and says.startswith("package ") else ""
        places = said_of(place, package, spec, read_origins(root))
    if entry is not None and origin in (NOBODY, GENERATED, PERSISTED):
        writers = read_writers(root) if root.top == b"" else users_alone(root)
        by = writers.of(place, entry.uid)
    return Why(
        path=path,
        place=place,
        kind=kind_of(entry.mode) if entry else "",
        origin=origin,
        says=says,
        differences=() if origin in (NOBODY, GENERATED, ABSENT) else differences,
        judgement=judgement,
        owner=_owner(root, entry),
        entry=entry,
        gone_at_boot=gone,
        places=tuple(places),
        by=by,
    )


def _of_expected(wanted: Expected) -> tuple[str, str]:
    for word in (SEED, PERSISTED, DECLARED):
        if wanted.origin == word:
            return word, {SEED: "the system's seed lays it out at every boot"}.get(word, wanted.origin)
    return PACKAGE, wanted.origin


def _of_tree(root: Root, place: bytes) -> tuple[str, str]:
    """Who brings a path of /usr or /etc: the spec, a package's object, or its maintainer scripts."""
    current = root.real(system.CURRENT)
    spec = json.loads(root.read(current + b"/spec.json"))
    if place.decode("utf-8", "surrogateescape") in spec["files"]:
        return DECLARED, f"the declaration of {spec['name']}"
    unit = place.rpartition(b"/")[2].decode("utf-8", "replace")
    if place.startswith(b"/etc/systemd/system/") and (spec["units"].get(unit) or {}).get("state"):
        return DECLARED, f"the unit {unit} in the declaration of {spec['name']}"
    contents = {record["contents"]: record for record in json.loads(root.read(current + b"/packages.json"))}
    for line in root.read(current + b"/manifest.jsonl").splitlines():
        record = json.loads(line)
        if record["path"].encode("utf-8", "surrogateescape") == place:
            store_path = "/".join((record.get("source") or "").split("/")[:4])
            if store_path in contents:
                package = contents[store_path]
                return PACKAGE, f"package {package['name']} {package['version']}"
            return PACKAGE, "the tree: a package, or its maintainer scripts"
    return NOBODY, ""


def _owner(root: Root, entry: Entry | None) -> str:
    if entry is None:
        return ""
    names = {number: name for name, number in records.parse_names(root.read_if_there(b"/etc/passwd")).items()}
    return names.get(entry.uid, str(entry.uid))


def to_record(found: Why) -> dict[str, Any]:
    """The answer as JSON has it."""
    entry = found.entry
    return {
        "path": os.fsdecode(found.path).encode("utf-8", "replace").decode(),
        "place": os.fsdecode(found.place).encode("utf-8", "replace").decode(),
        "kind": found.kind,
        "origin": found.origin,
        "says": found.says,
        "differences": [{"kind": one.kind, "was": one.was, "now": one.now} for one in found.differences],
        "class": found.judgement.name if found.judgement else None,
        "why": found.judgement.why if found.judgement else None,
        "owner": found.owner,
        "mode": f"{stat.S_IMODE(entry.mode):04o}" if entry else None,
        "size": entry.size if entry else None,
        "mtime_ns": entry.mtime_ns if entry else None,
        "gone_at_boot": found.gone_at_boot,
        "places": list(found.places),
        "by": found.by or None,
        "hidden": bool(entry and HIDDEN in entry.flags),
    }
