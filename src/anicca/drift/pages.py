"""A look at a host as one page that stands alone: no script, style, font or picture comes from elsewhere. Pure.

The table, the counts and the history are there without scripts; scripts sort and filter the table and draw the map.
`page/` has the template, the style and the script.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import stat
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from anicca import __version__
from anicca.drift.entry import kind_of
from anicca.drift.report import by_rank, show, show_text, size_text
from anicca.drift.rules import CLASSES, EXPECTED, GENERATED, SUSPICIOUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anicca.drift.findings import Findings
    from anicca.drift.pile import Finding, Part
    from anicca.roots.facts import GuardFacts

SHOWN = [name for name in CLASSES if name not in (EXPECTED, GENERATED)]
COLOURS = [name.split(" ", maxsplit=1)[0] for name in SHOWN]
"""The names of the style's colours, in the order of the classes."""
MOST_ROWS = 2000
MOST_LEAVES = 20_000
"""So many places the map has at most; the deepest are put together."""
MOST_DEPTH = 10_000


class PastBoot(NamedTuple):
    """A boot that is over: when it ended and how much it forgot (None: it was cut off).

    And what its guard said, or why that cannot be read (None: it had none).
    """

    name: str
    ended: float | None
    paths: int | None
    suspicious: int = 0
    guard: GuardFacts | str | None = None


class Page(NamedTuple):
    """All that a page tells. `facts` are those of `facts.facts_of`; `system` is the store path that runs, or empty."""

    facts: dict[str, str]
    findings: Findings
    system: str = ""
    guard: GuardFacts | str | None = None
    boots: tuple[PastBoot, ...] = ()


def render(page: Page) -> str:
    """The page as HTML."""
    drift = page.findings.drift
    rows = [one for name in by_rank(drift.classes) for one in itertools.islice(drift.of(name), MOST_ROWS)]
    host = page.facts.get("host") or page.facts.get("root", "")
    parts = {
        "TITLE": escape(f"{show_text(host)}: {_verdict(page)[0]}"),
        "HOST": escape(show_text(host)),
        "VERDICT": escape(_verdict(page)[0]),
        "VERDICT_CLASS": _verdict(page)[1],
        "FACTS": _facts(page),
        "TILES": "\n".join(_tiles(page)),
        "CLASSES": _classes(drift),
        "FILTERS": _filters(drift),
        "TABLE": _table(rows[:MOST_ROWS], len(drift) - MOST_ROWS),
        "UNREAD": _unread(page.findings),
        "EXPLAINED": _explained(page.findings),
        "HISTORY": _history(page.boots),
        "GUARD": _guard(page),
        "VERSION": escape(__version__),
        "MADE": escape(page.facts.get("made", "")),
        "DATA": _data(drift),
        "STYLE": _part("page.css"),
        "SCRIPT": _part("page.js"),
    }
    # All at once: what is filled in may look like a place to be filled.
    return re.sub(r"@([A-Z_]+)@", lambda found: parts[found[1]], _part("page.html"))


def _part(name: str) -> str:
    return (files("anicca.drift") / "page" / name).read_text("utf-8").strip()


def _verdict(page: Page) -> tuple[str, str]:
    drift = page.findings.drift
    if not drift:
        unseen = page.findings.unread or page.findings.unseen
        return ("No drift in what could be seen" if unseen else "No drift"), "good"
    suspicious, paths = drift.of(SUSPICIOUS).count.paths, drift.count.paths
    what = f"{paths:,} path{'s' if paths > 1 else ''} nobody declared"
    return what + (f", {suspicious:,} suspicious" if suspicious else ""), "bad" if suspicious else "plain"


def _facts(page: Page) -> str:
    facts = page.facts
    words = [facts.get("release", ""), facts.get("architecture", ""), page.system.rpartition("/")[2]]
    checked = f"{page.findings.entries:,} paths seen, {page.findings.declared:,} declared by {page.findings.against}"
    return escape(show_text(" · ".join(word for word in (*words, checked) if word)))


def _tiles(page: Page) -> Iterator[str]:
    drift = page.findings.drift
    suspicious = drift.of(SUSPICIOUS).count.paths
    yield _tile("Drift", f"{drift.count.paths:,}", "")
    yield _tile("Suspicious", f"{suspicious:,}", "bad" if suspicious else "")
    yield _tile("Gone at reboot" if page.system else "In all", size_text(drift.count.size_bytes), "")
    if page.findings.unread or page.findings.unseen:
        yield _tile("Not seen", f"{len(page.findings.unread) + page.findings.unseen:,}", "bad")
    if isinstance(page.guard, str):
        yield _tile("This boot", "not known: what the guard said cannot be read", "word bad")
    elif page.guard is not None:
        yield _tile("This boot", page.guard.outcome_text, "word" if page.guard.is_ordinary else "word bad")
    if page.boots:
        cut = sum(boot.ended is None for boot in page.boots)
        yield _tile(
            "Boots remembered", f"{len(page.boots)}" + (f", {cut} cut off" if cut else ""), "word" if cut else ""
        )


def _tile(name: str, value: str, style: str) -> str:
    return f'<div class="{style}"><dt>{escape(name)}</dt><dd>{escape(show_text(value))}</dd></div>'


def _colour(name: str) -> str:
    return f"--c:var(--{COLOURS[SHOWN.index(name)] if name in SHOWN else 'other'})"


def _classes(drift: Part) -> str:
    if not drift:
        return ""
    groups = [(name, drift.classes[name].paths) for name in by_rank(drift.classes)]
    strip = "".join(f'<i style="{_colour(name)};flex-grow:{number}"></i>' for name, number in groups)
    legend = "".join(
        f'<li><span class="dot" style="{_colour(name)}"></span>{escape(name)}<b>{number:,}</b></li>'
        for name, number in groups
    )
    return (
        '<section aria-labelledby="classes-title"><h2 id="classes-title" class="unseen">By class</h2>'
        f'<div class="strip" aria-hidden="true">{strip}</div><ul class="legend">{legend}</ul></section>'
    )


def _filters(drift: Part) -> str:
    if not drift:
        return ""
    names = "".join(f"<option>{escape(name)}</option>" for name in by_rank(drift.classes))
    return (
        '<div class="filters"><input id="find" type="search" placeholder="Find a path, a reason, a unit" '
        'aria-label="Find" autocomplete="off" spellcheck="false">'
        f'<select id="only" aria-label="Class"><option value="">Every class</option>{names}</select></div>'
    )


def _table(rows: Sequence[Finding], more: int) -> str:
    if not rows:
        return '<p class="note">All that was found is declared or explained.</p>'
    head = "".join(
        f'<th scope="col" class="{key}" data-key="{key}"><span>{name}</span></th>'
        for key, name in (("rank", "Class"), ("path", "Path"), ("kind", "What"), ("size", "Size"), ("when", "Written"))
    )
    body = "\n".join(_row(at, one) for at, one in enumerate(rows))
    note = f'<p class="note">{more:,} more are not shown here; anicca drift --all lists them.</p>' if more > 0 else ""
    return (
        f'<div class="card wide"><table class="findings"><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>{note}"
    )


def _row(at: int, one: Finding) -> str:
    drift, name = one.drift, one.judgement.name
    path = show(drift.path)
    reasons = [text for text in (one.judgement.why, drift.note, f"by {one.by}" if one.by else "") if text]
    below = f"<small>{escape(show_text('; '.join(reasons)))}</small>" if reasons else ""
    is_file = stat.S_ISREG(drift.mode)
    when = dt.datetime.fromtimestamp(drift.mtime_ns // 10**9, dt.UTC).strftime("%Y-%m-%d %H:%M") if drift.mode else ""
    rank = SHOWN.index(name) if name in SHOWN else len(SHOWN)
    text = " ".join((path, name, drift.kind, *reasons)).lower()
    what = f"{drift.kind} {kind_of(drift.mode)}" if drift.mode and drift.kind in ("added", "removed") else drift.kind
    changed = f"{show_text(drift.was)} → {show_text(drift.now)}" if drift.was and drift.kind != "type" else ""
    return (
        f'<tr data-at="{at}" data-rank="{rank}" data-class="{escape(name)}" data-kind="{escape(what)}" '
        f'data-size="{drift.size if is_file else 0}" data-when="{drift.mtime_ns // 10**9}" '
        f'data-path="{escape(path)}" data-text="{escape(text)}">'
        f'<td class="class"><span class="dot" style="{_colour(name)}"></span>{escape(name)}</td>'
        f'<td class="path">{escape(path)}{below}</td>'
        f'<td class="what">{escape(what)}{"<br>" + escape(changed) if changed else ""}</td>'
        f'<td class="size">{size_text(drift.size) if is_file else ""}</td><td class="when">{when}</td></tr>'
    )


def _unread(findings: Findings) -> str:
    if not findings.unread and not findings.unseen:
        return ""
    lines = "".join(
        f'<li><span class="path">{escape(show(one.drift.path))}</span>: {escape(show_text(one.drift.now))}</li>'
        for one in itertools.islice(findings.unread, 200)
    )
    number = len(findings.unread) + findings.unseen
    return f"<details open><summary>{number:,} paths could not be seen</summary><ul>{lines}</ul></details>"


def _explained(findings: Findings) -> str:
    notes = list(findings.notes)
    if not findings.sees_beneath:
        notes.append("What lies beneath mounts was not seen: that takes root and Linux 5.12.")
    if findings.explained:
        notes.insert(
            0, f"{len(findings.explained):,} more are explained: programs and packages make them on every host."
        )
    return "".join(f'<p class="note">{escape(show_text(note))}</p>' for note in notes)


def _history(boots: Sequence[PastBoot]) -> str:
    if not boots:
        return ""
    most = max((boot.paths or 0 for boot in boots), default=0) or 1
    bars, lines = [], []
    for boot in boots:
        when = "cut off" if boot.ended is None else _moment(boot.ended)
        what = "not known: its end was not seen" if boot.paths is None else f"{boot.paths:,} paths forgotten"
        what += f", {boot.suspicious:,} suspicious" if boot.suspicious else ""
        share = 0 if boot.paths is None else round(100 * boot.paths / most)
        colour = _colour(SUSPICIOUS if boot.suspicious else "user data").removeprefix("--c:")
        style = "" if boot.paths is None else f' style="height:{share}%;background:{colour}"'
        bars.append(
            f'<li class="{"cut" if boot.ended is None else ""}" title="{escape(f"{when}: {what}")}"><i{style}></i></li>'
        )
        lines.append(
            f"<tr><td class='path'>{escape(boot.name[:12])}</td><td>{escape(when)}</td><td>{escape(what)}</td></tr>"
        )
    table = "".join(reversed(lines))
    return (
        '<section aria-labelledby="history-title"><div class="row">'
        '<h2 id="history-title">What earlier boots forgot</h2></div>'
        f'<div class="card"><ol class="boots" aria-hidden="true">{"".join(bars)}</ol></div>'
        "<details><summary>As a list</summary><div class='wide'><table><thead><tr>"
        "<th scope='col'><span>Boot</span></th><th scope='col'><span>Until</span></th>"
        "<th scope='col'><span>Forgot</span></th></tr></thead>"
        f"<tbody>{table}</tbody></table></div></details></section>"
    )


def _guard(page: Page) -> str:
    told = [("this boot", page.guard)] if page.guard is not None else []
    told += [(_moment(boot.ended), boot.guard) for boot in reversed(page.boots) if boot.guard and boot.ended]
    if not told:
        return ""
    lines = "".join(f"<tr><td>{escape(when)}</td><td>{escape(show_text(str(facts)))}</td></tr>" for when, facts in told)
    return (
        '<section aria-labelledby="guard-title"><div class="row"><h2 id="guard-title">What the guard did</h2></div>'
        "<div class='card wide'><table><thead><tr><th scope='col'><span>Boot</span></th>"
        f"<th scope='col'><span>The root it handed over</span></th></tr></thead><tbody>{lines}</tbody></table>"
        "</div></section>"
    )


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _data(drift: Part) -> str:
    """What the script needs, as JSON that cannot end the element it is in."""
    leaves = [(show(path), *leaf) for path, leaf in _leaves(drift).items()]
    text = json.dumps({"leaves": leaves, "classes": SHOWN, "colours": COLOURS}, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _leaves(drift: Part) -> dict[bytes, tuple[int, int, int]]:
    """Paths for the map: bytes, the most serious class, how many paths. Of many, all below a directory are one."""
    found: dict[bytes, tuple[int, int, int]] = {}
    depth, last = MOST_DEPTH, None
    for one in drift:
        rank = SHOWN.index(one.judgement.name) if one.judgement.name in SHOWN else SHOWN.index("other")
        path = _upper(one.drift.path, depth)
        again = one.drift.path == last
        last = one.drift.path
        size = one.drift.size if stat.S_ISREG(one.drift.mode) and not again else 0
        _merge(found, path, (size, rank, 0 if again else 1))
        while len(found) > MOST_LEAVES and depth > 1:
            depth = min(depth, max(path.count(b"/") for path in found)) - 1
            fewer: dict[bytes, tuple[int, int, int]] = {}
            for path, leaf in found.items():
                _merge(fewer, _upper(path, depth), leaf)
            found = fewer
    return found


def _merge(leaves: dict[bytes, tuple[int, int, int]], path: bytes, leaf: tuple[int, int, int]) -> None:
    known = leaves.get(path)
    leaves[path] = leaf if known is None else (known[0] + leaf[0], min(known[1], leaf[1]), known[2] + leaf[2])


def _upper(path: bytes, depth: int) -> bytes:
    """The first names of a path."""
    return b"/".join(path.split(b"/", depth + 1)[: depth + 1])
