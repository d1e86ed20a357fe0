"""Findings as lines for a person: the suspicious first, and ten lines rather than ten thousand. Pure."""

from __future__ import annotations

import datetime as dt
import stat
from typing import TYPE_CHECKING

from anicca.drift.compare import ADDED, REMOVED
from anicca.drift.entry import is_below, kind_of
from anicca.drift.rules import CLASSES, SUSPICIOUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anicca.drift.findings import Finding, Findings

MOST_ROWS = 5
"""How many of a class are shown, but for the suspicious."""
MOST_SUSPICIOUS = 20
ALIKE = 5
"""From how many on suspicious paths of one reason, below one directory of the second level, are one row."""


def render(findings: Findings, *, everything: bool = False, summary: bool = False) -> list[str]:
    """The findings as lines. With `everything` each difference has one; with `summary` only counts are given."""
    drift = findings.drift
    lines = [headline(findings)]
    groups = grouped(drift)
    for name, group in groups:
        paths = len({one.drift.path for one in group})
        lines.append("")
        lines.append(f"{name}: {_plural(paths, 'path')}, {size_text(_bytes(group))}")
        if summary:
            lines.pop(-2)
            continue
        most = None if everything else MOST_SUSPICIOUS if name == SUSPICIOUS else MOST_ROWS
        if name == SUSPICIOUS and not everything:
            rows = list(_suspicious_rows(group))
        else:
            rows = list(_rows(group, fold=not everything))
        lines.extend(rows[:most])
        if most is not None and len(rows) > most:
            lines.append(f"  … and {len(rows) - most} more (--all shows them)")
    if findings.unread:
        lines.append("")
        lines.append(f"not seen: {_plural(len(findings.unread), 'path')}")
        lines.extend(list(_rows(findings.unread, fold=False))[: None if everything else MOST_SUSPICIOUS])
    lines.extend(_footer(findings))
    return lines


def headline(findings: Findings) -> str:
    """The one line that says it all."""
    drift = findings.drift
    paths = len({one.drift.path for one in drift})
    suspicious = len({one.drift.path for one in drift if one.judgement.name == SUSPICIOUS})
    what = f"drift: {_plural(paths, 'path')}, {suspicious} suspicious" if drift else "no drift"
    if not drift and (findings.unread or findings.unseen):
        what = "no drift in what could be seen"
    return f"{what} ({findings.entries} found, {findings.declared} declared by {findings.against})"


def _footer(findings: Findings) -> Iterator[str]:
    explained: dict[str, int] = {}
    for one in findings.explained:
        explained[one.judgement.name] = explained.get(one.judgement.name, 0) + 1
    if explained:
        parts = ", ".join(f"{number} {name}" for name, number in sorted(explained.items()))
        yield ""
        yield f"explained: {parts}. Nothing says what is in these; a baseline would."
    if findings.unseen:
        yield f"{_plural(findings.unseen, 'declared path')} could not be seen"
    if not findings.sees_beneath:
        yield "what lies beneath mounts was not seen: that takes root and Linux 5.12"
    yield from findings.notes


def grouped(found: Sequence[Finding]) -> list[tuple[str, list[Finding]]]:
    """Findings by class, in the order in which they should be read."""
    groups: dict[str, list[Finding]] = {}
    for one in found:
        groups.setdefault(one.judgement.name, []).append(one)
    rank = {name: number for number, name in enumerate(CLASSES)}
    return sorted(groups.items(), key=lambda group: rank.get(group[0], len(rank)))


def _rows(group: Sequence[Finding], *, fold: bool) -> Iterator[str]:
    at = 0
    while at < len(group):
        one = group[at]
        at += 1
        if fold and one.drift.kind in (ADDED, REMOVED) and (stat.S_ISDIR(one.drift.mode) or not one.drift.mode):
            end = at
            while end < len(group) and group[end].drift.kind == one.drift.kind:
                if not is_below(group[end].drift.path, one.drift.path):
                    break
                end += 1
            if end > at:
                size = _bytes(group[at:end])
                held = f", {size_text(size)}" if size else ""
                yield f"  {one.drift.kind:<9} {show(one.drift.path)}/ and {end - at} below it{held}"
                at = end
                continue
        yield row(one)


def _suspicious_rows(group: Sequence[Finding]) -> Iterator[str]:
    """One a finding, but for many that are alike: a whole other system in a directory has hundreds."""
    alike: dict[tuple[str, str, bytes], list[Finding]] = {}
    for one in group:
        top = b"/".join(one.drift.path.split(b"/")[:3])
        alike.setdefault((one.drift.kind, one.judgement.why, top), []).append(one)
    told = set()
    for one in group:
        key = (one.drift.kind, one.judgement.why, b"/".join(one.drift.path.split(b"/")[:3]))
        same = alike[key]
        if len(same) < ALIKE:
            yield row(one)
        elif key not in told:
            told.add(key)
            yield f"  {key[0]:<9} {len(same)} below {show(key[2])}/  [{key[1]}], such as {show(one.drift.path)}"


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


def _bytes(group: Sequence[Finding]) -> int:
    return sum({one.drift.path: one.drift.size for one in group if stat.S_ISREG(one.drift.mode)}.values())


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
