"""A root looked at: its drift, each with its class, and what the look rests on. The same code here and elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift.compare import ADDED, CHANGED_WHILE_READ, UNREADABLE, Around, Drift, Tally, compare
from anicca.drift.content import wanted_digest
from anicca.drift.entry import is_below
from anicca.drift.lines import from_line, get_path, put_path
from anicca.drift.rules import RULES, Judgement, judge
from anicca.drift.scan import Options, Scan
from anicca.drift.system import CURRENT, ELSEWHERE, read_expectation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anicca.drift.entry import Entry
    from anicca.drift.expect import Expectation
    from anicca.drift.inside import Root
    from anicca.drift.scan import Blob

NOT_SEEN = (UNREADABLE, CHANGED_WHILE_READ)
"""Kinds that say that nothing can be said."""


class Finding(NamedTuple):
    """A difference, what it means, and who wrote it where that can be known."""

    drift: Drift
    judgement: Judgement
    by: str = ""


class Findings(NamedTuple):
    """What a look found: the drift, and (with `expected` in their judgement) what is explained.

    `unseen` counts declared paths that could not be looked at; `sees_beneath` says whether paths beneath mounts could.
    """

    against: str
    found: tuple[Finding, ...]
    entries: int
    size_bytes: int
    declared: int
    unseen: int
    sees_beneath: bool
    notes: tuple[str, ...] = ()

    @property
    def drift(self) -> list[Finding]:
        """What nobody declared or explained, and that it is there was seen."""
        return [one for one in self.found if not one.judgement.expected and one.drift.kind not in NOT_SEEN]

    @property
    def unread(self) -> list[Finding]:
        """What could not be read, or changed while it was read."""
        return [one for one in self.found if one.drift.kind in NOT_SEEN]

    @property
    def explained(self) -> list[Finding]:
        """What Debian's own scripts, or the system while it runs, make on every host."""
        return [one for one in self.found if one.judgement.expected and one.drift.kind not in NOT_SEEN]


def look(
    root: bytes, expectation: Expectation, options: Options | None = None, *, ready: Callable[[], None] | None = None
) -> Findings:
    """Scan a root and compare; of content, only that is read of which a digest is expected. Raises `OSError`.

    `ready` is called when it has made all its processes: from then on there may be threads.
    """
    entries = list(expectation.entries)
    wanted = {one.path: wanted_digest(one.digests) for one in entries if one.digests}
    declared = {one.path for one in entries}
    # What is mounted where the system says is the system's own business, not the root's.
    options = (options or Options())._replace(want=lambda path: wanted.get(path, ""), leave=expectation.mounts)
    scan = Scan(root, options)
    if ready is not None:
        ready()
    tally, around = Tally(), seen_around(scan)
    found = compare(expectation._replace(entries=entries), scan, around, tally)
    return judged(expectation, found, tally, declared, sees_beneath=around.sees_beneath)


def seen_around(scan: Scan) -> Around:
    """What is known of a scan besides its entries."""
    return Around(tuple(scan.mounts), tuple(mount.path for mount in scan.visited), scan.sees_beneath)


def declares_in(declared: set[bytes]) -> Callable[[bytes], bool]:
    """Whether a path is declared. /lib and its like are links into /usr on every Debian since 12."""
    return lambda path: path in declared or b"/usr" + path in declared


def of_the_system(root: Root) -> Callable[[Entry], bool]:
    """Which entries the system decides, or are drift: not what is kept, mounted, or made by every host for itself.

    Raises `ValueError` where no system of anicca's runs, and what `system.read_expectation` raises.
    """
    if not root.exists(CURRENT):
        raise ValueError("runs no system of anicca's")
    expectation = read_expectation(root)
    declared = {one.path for one in expectation.entries}
    rules = (*expectation.own_rules, *RULES)
    elsewhere = (*expectation.below, *(path for path in ELSEWHERE if path in expectation.mounts))

    def belongs(entry: Entry) -> bool:
        if any(is_below(entry.path, top) and entry.path != top for top in elsewhere):
            return False
        drift = Drift(entry.path, ADDED, mode=entry.mode, target=entry.target)
        return entry.path in declared or not judge(drift, declares_in(declared), rules=rules).expected

    return belongs


def only(belongs: Callable[[Entry], bool], blobs: Iterable[Blob]) -> Iterator[Blob]:
    """Of lines, those of entries that belong."""
    for states, lines in blobs:
        pairs = zip(states.split(b"\n"), lines.split(b"\n")[:-1])  # noqa: B905 (one more is empty)
        kept = [(state, line) for state, line in pairs if belongs(from_line(line)[0])]
        yield b"".join(state + b"\n" for state, _ in kept), b"".join(line + b"\n" for _, line in kept)


def judged(expectation: Expectation, found: Any, tally: Tally, declared: set[bytes], *, sees_beneath: bool) -> Findings:
    """The findings of a comparison. Explanations hold only for expectations that have them (dpkg's, a system's)."""
    declares = declares_in(declared)
    rules = (*expectation.own_rules, *RULES)
    findings = []
    for drift in found:
        judgement = judge(drift, declares, rules=rules)
        if judgement.expected and not expectation.rules:
            judgement = judge(drift, declares, rules=rules, explained=False)
        findings.append(Finding(drift, judgement))
    return Findings(
        against=expectation.name,
        found=tuple(findings),
        entries=tally.entries,
        size_bytes=tally.size_bytes,
        declared=tally.expected,
        unseen=tally.unseen,
        sees_beneath=sees_beneath,
        notes=expectation.notes,
    )


def to_record(findings: Findings) -> dict[str, Any]:
    """The findings as JSON has them."""
    return {
        "against": findings.against,
        "entries": findings.entries,
        "size_bytes": findings.size_bytes,
        "declared": findings.declared,
        "unseen": findings.unseen,
        "sees_beneath": findings.sees_beneath,
        "notes": list(findings.notes),
        "drift": [_record(one) for one in findings.drift],
        "unread": [_record(one) for one in findings.unread],
        "explained": [_record(one) for one in findings.explained],
    }


def from_record(record: dict[str, Any]) -> Findings:
    """What `to_record` made. Raises `KeyError` and `TypeError`."""
    return Findings(
        against=record["against"],
        found=tuple(_finding(one) for part in ("drift", "unread", "explained") for one in record[part]),
        entries=record["entries"],
        size_bytes=record["size_bytes"],
        declared=record["declared"],
        unseen=record["unseen"],
        sees_beneath=record["sees_beneath"],
        notes=tuple(record["notes"]),
    )


def _record(finding: Finding) -> dict[str, Any]:
    drift = finding.drift
    record: dict[str, Any] = {
        "kind": drift.kind,
        "class": finding.judgement.name,
        "why": finding.judgement.why,
        "expected": finding.judgement.expected,
    }
    put_path(record, "path", drift.path)
    for name in ("was", "now", "origin", "note", "digest"):
        value = getattr(drift, name)
        if value:
            # What the filesystem has as bytes, JSON has with replacements; `path` is exact.
            record[name] = os.fsencode(value).decode("utf-8", "replace")
    if drift.mode:
        record |= {name: getattr(drift, name) for name in ("mode", "uid", "gid", "size", "mtime_ns")}
    if drift.target:
        put_path(record, "target", drift.target)
    if drift.xattrs:
        record["xattrs"] = list(drift.xattrs)
    if drift.hidden:
        record["hidden"] = True
    if finding.by:
        record["by"] = finding.by
    return record


def _finding(record: dict[str, Any]) -> Finding:
    plain = ("was", "now", "origin", "note", "digest", "mode", "uid", "gid", "size", "mtime_ns", "hidden")
    drift = Drift(
        path=get_path(record, "path"),
        kind=record["kind"],
        target=get_path(record, "target") if "target" in record or "target64" in record else b"",
        xattrs=tuple(record.get("xattrs", ())),
        **{name: record[name] for name in plain if name in record},
    )
    return Finding(drift, Judgement(record["class"], record["why"], record["expected"]), record.get("by", ""))
