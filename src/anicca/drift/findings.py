"""A root looked at: its drift, each with its class, and what the look rests on. The same code here and elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift.compare import ADDED, Around, Drift, Tally, compare
from anicca.drift.content import wanted_digest
from anicca.drift.entry import is_below
from anicca.drift.lines import from_line, get_path, put_path
from anicca.drift.pile import DRIFT, EXPLAINED, PARTS, UNREAD, Finding, Part, Pile
from anicca.drift.rules import RULES, Judgement, judge
from anicca.drift.scan import Options, Scan
from anicca.drift.system import CURRENT, ELSEWHERE, read_expectation

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from anicca.drift.entry import Entry
    from anicca.drift.expect import Expectation
    from anicca.drift.inside import Root
    from anicca.drift.scan import Blob


class Findings(NamedTuple):
    """What a look found: the drift, and (with `expected` in their judgement) what is explained.

    `unseen` counts declared paths that could not be looked at; `sees_beneath` says whether paths beneath mounts could.
    """

    against: str
    found: Pile
    entries: int
    size_bytes: int
    declared: int
    unseen: int
    sees_beneath: bool
    notes: tuple[str, ...] = ()

    @property
    def drift(self) -> Part:
        """What nobody declared or explained, and that it is there was seen."""
        return Part(self.found, DRIFT)

    @property
    def unread(self) -> Part:
        """What could not be read, or changed while it was read."""
        return Part(self.found, UNREAD)

    @property
    def explained(self) -> Part:
        """What Debian's own scripts, or the system while it runs, make on every host."""
        return Part(self.found, EXPLAINED)


class Look:
    """One look at a root; its findings come once, what they rest on when they are through. Raises `OSError`.

    Of content, only that is read of which a digest is expected. Processes are made with it: from then on there may be
    threads.
    """

    def __init__(self, root: bytes, expectation: Expectation, options: Options | None = None) -> None:
        self._entries = {one.path: one for one in expectation.entries}
        self._expectation = expectation._replace(entries=self._entries.values())
        # What is mounted where the system says is the system's own business, not the root's.
        self._scan = Scan(root, (options or Options())._replace(want=self._want, leave=expectation.mounts))
        self._around = seen_around(self._scan)
        self._tally = Tally()

    def _want(self, path: bytes) -> str:
        wanted = self._entries.get(path)
        return wanted_digest(wanted.digests) if wanted is not None else ""

    def __iter__(self) -> Iterator[Finding]:
        found = compare(self._expectation, self._scan, self._around, self._tally)
        return judge_all(self._expectation, found, self._entries)

    def summed(self, found: Pile) -> Findings:
        """All of it."""
        return sum_up(self._expectation, found, self._tally, self._around)


def look(root: bytes, expectation: Expectation, options: Options | None = None) -> Findings:
    """Scan a root and compare. Raises `OSError`."""
    one = Look(root, expectation, options)
    return one.summed(Pile(one))


def seen_around(scan: Scan) -> Around:
    """What is known of a scan besides its entries."""
    return Around(tuple(scan.mounts), tuple(mount.path for mount in scan.visited), scan.sees_beneath)


def declares_in(declared: Container[bytes]) -> Callable[[bytes], bool]:
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


def judged(expectation: Expectation, found: Iterable[Drift], tally: Tally, around: Around) -> Findings:
    """The findings of a comparison with what is declared nowhere else."""
    return sum_up(expectation, Pile(judge_all(expectation, found)), tally, around)


def judge_all(expectation: Expectation, found: Iterable[Drift], declared: Container[bytes] = ()) -> Iterator[Finding]:
    """Each difference with its class. Explanations hold only for expectations that have them (dpkg's, a system's)."""
    declares = declares_in(declared)
    rules = (*expectation.own_rules, *RULES)
    for drift in found:
        judgement = judge(drift, declares, rules=rules)
        if judgement.expected and not expectation.rules:
            judgement = judge(drift, declares, rules=rules, explained=False)
        yield Finding(drift, judgement)


def sum_up(expectation: Expectation, found: Pile, tally: Tally, around: Around) -> Findings:
    """The findings, and what was counted while they were found."""
    return Findings(
        against=expectation.name,
        found=found,
        entries=tally.entries,
        size_bytes=tally.size_bytes,
        declared=tally.expected,
        unseen=tally.unseen,
        sees_beneath=around.sees_beneath,
        notes=expectation.notes,
    )


PLAIN = ("against", "declared", "entries", "notes", "sees_beneath", "size_bytes", "unseen")


def to_record(findings: Findings, *, summary: bool = False) -> dict[str, Any]:
    """The findings as JSON has them, each part an iterator; with `summary`, how many there are of each class."""
    record = plain_record(findings)
    for name in PARTS:
        part: Part = getattr(findings, name)
        if summary:
            record[name] = {kind: count.findings for kind, count in part.classes.items()}
        else:
            record[name] = map(finding_record, part)
    return record


def from_record(record: dict[str, Any]) -> Findings:
    """What `to_record` made. Raises `KeyError` and `TypeError`."""
    return from_plain(record, Pile(finding_of(one) for part in PARTS for one in record[part]))


def plain_record(findings: Findings) -> dict[str, Any]:
    """All but the findings themselves."""
    return {name: getattr(findings, name) for name in PLAIN}


def from_plain(record: dict[str, Any], found: Pile) -> Findings:
    """What `plain_record` made, with the findings. Raises `KeyError` and `TypeError`."""
    plain = {name: record[name] for name in PLAIN}
    return Findings(**{**plain, "notes": tuple(record["notes"])}, found=found)


def finding_record(finding: Finding) -> dict[str, Any]:
    """One finding as JSON has it."""
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


def finding_of(record: dict[str, Any]) -> Finding:
    """What `finding_record` made. Raises `KeyError` and `TypeError`."""
    plain = ("was", "now", "origin", "note", "digest", "mode", "uid", "gid", "size", "mtime_ns", "hidden")
    drift = Drift(
        path=get_path(record, "path"),
        kind=record["kind"],
        target=get_path(record, "target") if "target" in record or "target64" in record else b"",
        xattrs=tuple(record.get("xattrs", ())),
        **{name: record[name] for name in plain if name in record},
    )
    return Finding(drift, Judgement(record["class"], record["why"], record["expected"]), record.get("by", ""))
