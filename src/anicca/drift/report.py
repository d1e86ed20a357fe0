"""Findings as lines for a person: the suspicious first, and ten lines rather than ten thousand. Pure."""

from __future__ import annotations

import datetime as dt
import itertools
import stat
from collections import Counter
from typing import TYPE_CHECKING

from anicca.drift.compare import ADDED, REMOVED
from anicca.drift.entry import is_below, kind_of
from anicca.drift.rules import SUSPICIOUS, rank

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anicca.drift.findings import Findings
    from anicca.drift.pile import Finding

MOST_ROWS = 5
"""How many of a class are shown, but for the suspicious."""
MOST_SUSPICIOUS = 20
ALIKE = 5
"""From how many on suspicious paths of one reason, below one directory of the second level, are one row."""


def render(findings: Findings, *, everything: bool = False, summary: bool = False) -> Iterator[str]:
    """The findings as lines. With `everything` each difference has one; with `summary` only counts are given."""
    drift = findings.drift
    yield headline(findings)
    for name in by_rank(drift.classes):
        group = drift.of(name)
        if not summary:
            yield ""
        yield f"{name}: {_plural(group.count.paths, 'path')}, {size_text(group.count.size_bytes)}"
        if summary:
            continue
        if everything:
            yield from map(row, group)
        elif name == SUSPICIOUS:
            yield from _first(_suspicious_rows(group), MOST_SUSPICIOUS)
        else:
            yield from _first(_rows(group), MOST_ROWS)
    if findings.unread:
        yield ""
        yield f"not seen: {_plural(len(findings.unread), 'path')}"
        yield from map(row, itertools.islice(findings.unread, None if everything else MOST_SUSPICIOUS))
    yield from _footer(findings)


def headline(findings: Findings) -> str:
    """The one line that says it all."""
    drift = findings.drift
    suspicious = drift.of(SUSPICIOUS).count.paths
    what = f"drift: {_plural(drift.count.paths, 'path')}, {suspicious} suspicious" if drift else "no drift"
    if not drift and (findings.unread or findings.unseen):
        what = "no drift in what could be seen"
    return f"{what} ({findings.entries} found, {findings.declared} declared by {findings.against})"


def _footer(findings: Findings) -> Iterator[str]:
    explained = findings.explained.classes
    if explained:
        parts = ", ".join(f"{count.findings} {name}" for name, count in sorted(explained.items()))
        yield ""
        yield f"explained: {parts}. Nothing says what is in these; a baseline would."
    if findings.unseen:
        yield f"{_plural(findings.unseen, 'declared path')} could not be seen"
    if not findings.sees_beneath:
        yield "what lies beneath mounts was not seen: that takes root and Linux 5.12"
    yield from findings.notes


def by_rank(classes: Iterable[str]) -> list[str]:
    """Classes in the order in which they should be read."""
    return sorted(classes, key=rank)


def _first(rows: Iterable[str], most: int) -> Iterator[str]:
    """So many rows, and how many more there are."""
    more = 0
    for number, one in enumerate(rows):
        if number < most:
            yield one
        else:
            more += 1
    if more:
        yield f"  … and {more} more (--all shows them)"


def _rows(group: Iterable[Finding]) -> Iterator[str]:
    """One a finding, but for what is below a directory of which all is told."""
    held: Finding | None = None
    below = size = 0

    def told() -> Iterator[str]:
        if held is not None and below:
            bytes_below = f", {size_text(size)}" if size else ""
            yield f"  {held.drift.kind:<9} {show(held.drift.path)}/ and {below} below it{bytes_below}"
        elif held is not None:
            yield row(held)

    for one in group:
        drift = one.drift
        if held is not None and drift.kind == held.drift.kind and is_below(drift.path, held.drift.path):
            below += 1
            size += drift.size if stat.S_ISREG(drift.mode) else 0
            continue
        yield from told()
        held, below, size = None, 0, 0
        if drift.kind in (ADDED, REMOVED) and (stat.S_ISDIR(drift.mode) or not drift.mode):
            held = one
        else:
            yield row(one)
    yield from told()


def _suspicious_rows(group: Iterable[Finding]) -> Iterator[str]:
    """One a finding, but for many that are alike: a whole other system in a directory has hundreds."""
    alike = Counter(map(_likeness, group))
    told = set()
    for one in group:
        key = _likeness(one)
        if alike[key] < ALIKE:
            yield row(one)
        elif key not in told:
            told.add(key)
            yield f"  {key[0]:<9} {alike[key]} below {show(key[2])}/  [{key[1]}], such as {show(one.drift.path)}"


def _likeness(one: Finding) -> tuple[str, str, bytes]:
    return one.drift.kind, one.judgement.why, b"/".join(one.drift.path.split(b"/", 3)[:3])


def row(finding: Finding) -> str:
    """One difference."""
    drift = finding.drift
    line = f"  {drift.kind:<9} {show(drift.path)}"
    if drift.kind == ADDED:
        line += f"  {_describe(finding)}"
    elif drift.kind == REMOVED:
        line += f"  ({drift.origin})"
    else:
        was = show_text(drift.was)
        line += f"  {was} → {show_text(drift.now)}" if was else f"  {show_text(drift.now)}"
        line += f" ({drift.origin})" if drift.origin else ""
    notes = [note for note in (show_text(drift.note), finding.judgement.why) if note]
    line += f"  [{'; '.join(dict.fromkeys(notes))}]" if notes else ""
    return line + (f"  by {show_text(finding.by)}" if finding.by else "")


def _describe(finding: Finding) -> str:
    drift = finding.drift
    kind = kind_of(drift.mode)
    when = dt.datetime.fromtimestamp(drift.mtime_ns // 10**9, dt.UTC).strftime("%Y-%m-%d %H:%M")
    if kind == "symlink":
        return f"→ {show(drift.target)}"
    size = f", {size_text(drift.size)}" if kind == "file" else ""
    owner = "" if drift.uid == 0 and drift.gid == 0 else f", {drift.uid}:{drift.gid}"
    return f"{kind} {stat.S_IMODE(drift.mode):04o}{owner}{size}, {when}"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def show(path: bytes) -> str:
    """A path on one line that a terminal cannot be harmed by: what is not printable as escapes."""
    return show_text(path.decode("utf-8", "surrogateescape"))


def show_text(text: str) -> str:
    """Text of the same kind."""
    return "".join(
        character if character.isprintable() else _escaped(character) for character in text.replace("\\", "\\\\")
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 (how Python keeps a byte that is not UTF-8)
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def size_text(size_bytes: float) -> str:
    """A size in decimal units, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:  # noqa: PLR2004
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"
