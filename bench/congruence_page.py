"""What bench/congruence.py found, as a page. Every word about a tool follows from what was measured."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench.congruence_tools import TOOLS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.congruence_tools import Tool

SHOWN_PATHS = 6


@dataclass(slots=True, kw_only=True)
class Step:
    """A run of a tool: its status, what was there afterwards, and of what its output spoke."""

    status: int
    there: dict[str, str]
    reported: dict[str, bool]


@dataclass(slots=True, kw_only=True)
class Result:
    """All that was found with one tool. `default` and `purged` are what `anicca classify` says, and the paths left."""

    tool: Tool
    version: str
    skipped: str = ""
    steps: dict[str, Step] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    default: tuple[dict[str, Any], list[str]] = field(default_factory=lambda: ({}, []))
    purged: tuple[dict[str, Any], list[str]] = field(default_factory=lambda: ({}, []))
    packages: int | None = None


@dataclass(slots=True, kw_only=True)
class State:
    """All that was measured, in one run or in several."""

    results: dict[str, Result] = field(default_factory=dict)
    ours: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path | None) -> State:
        """What earlier runs left; empty if nothing."""
        if file is None or not file.exists():
            return cls()
        record = json.loads(file.read_text())
        results = {}
        for name, one in record["results"].items():
            steps = {key: Step(**step) for key, step in one.pop("steps").items()}
            tool = next(tool for tool in TOOLS if tool.name == name)
            results[name] = Result(**{**one, "tool": tool, "steps": steps})
        return cls(results=results, ours=[(row[0], row[1]) for row in record["ours"]])

    def write(self, file: Path | None) -> None:
        """Leave it for later runs. What another run wrote meanwhile stays, where this one has nothing of it."""
        if file is None:
            return
        other = self.read(file)
        merged = State(results={**other.results, **self.results}, ours=self.ours or other.ours)
        self.results, self.ours = merged.results, merged.ours
        file.write_text(json.dumps(asdict(merged), indent=1))


HEAD = """\
# What convergent tools leave behind

<!-- Written by `python -m bench.congruence --output docs/congruence.md`. Change that, not this. -->

The same Debian 13 root, the same configuration in the words of each tool, the same mishaps; what is there afterwards
was looked up in the root, what is reported was looked for in the tool's output, the verdict is `anicca classify`'s.

Version 1 of the configuration has two files, `first.conf` and `second.conf`, and the package `hello`; version 2 has
`second.conf` alone.
"""
MISHAPS = """\
A person adds a cron job (`/etc/cron.d/evil`), edits the managed `second.conf` and makes it writable for all, and
installs a package (`sl`). Then the tool is asked what it would do, and run again.
"""
PURGING = """\
What is above holds for the defaults. Each tool can be told to purge a directory: `/etc/cron.d` is managed so, with one
file declared in it. That does remove the cron job. It also removes what else lies there, as a tool that purges knows
neither which package owns a file nor what it made itself once.
"""
VERDICT = """\
`anicca classify --disturbed` compares the state after each step with that of a root to which version 2 alone was ever
applied (so where purging is configured, its own `/etc/cron.d/mine` is among what differs). Logs, caches, locks and what
makes a machine itself are left out. *Congruent* would be: nothing differs at the end.
"""
HOST = """\
In a virtual machine that was made of version 1, was given version 2, and was booted into it. What a person does to its
root stays until the next boot, and works until then; what was refused is what the host said. States are compared with
`anicca baseline save --system`, and `--deep` covers `/usr`, `/etc` and the store.
"""
NO_HOST = "Skipped: `--vm` was not asked for.\n"
FAIR = """\
## What this shows, and what it does not

It shows what these versions do with this configuration. They do what they promise: to bring what is declared to the
declared state. It does not show that nobody could write a configuration that says `absent` for whatever was removed,
for as long as there are hosts that had it; the tools can say that. What they cannot say is "and nothing else", short of
purging directory by directory. On a root that is blank at each boot nothing else can stay: see
[drift](guide/drift.md).
The tools' own files count too: what a tool keeps on the host is a part of its state.
"""


def render(results: Sequence[Result], ours: Sequence[tuple[str, str]] = ()) -> str:
    """The page."""
    ran = [one for one in results if not one.skipped]
    parts = [HEAD, _versions(results)]
    if ran:
        parts += ["## A file and a package leave the configuration\n", _removed(ran)]
        parts += ["## Mishaps\n", MISHAPS, _mishaps(ran)]
        parts += ["## With purging\n", PURGING, _purging(ran)]
        parts += ["## Verdict\n", VERDICT, _verdicts(ran)]
    parts += ["## The same on an anicca host\n", *([HOST, _table(("asked", "found"), ours)] if ours else [NO_HOST])]
    return "\n".join([*parts, FAIR])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _versions(results: Sequence[Result]) -> str:
    rows = [(one.tool.name, one.version or f"skipped: {one.skipped}", one.tool.source) for one in results]
    return _table(("tool", "version", "from"), rows)


def _said(step: Step, what: str) -> str:
    return "reported" if step.reported[what] else "not mentioned"


def _removed(ran: Sequence[Result]) -> str:
    rows = []
    for one in ran:
        step = one.steps["removed"]
        cells = [f"{step.there[what]}, {_said(step, what)}" for what in ("/etc/app/first.conf", "hello")]
        rows.append((one.tool.name, *cells, str(step.status)))
    return _table(("tool", "`first.conf`", "package `hello`", "exit status"), rows)


def _mishaps(ran: Sequence[Result]) -> str:
    rows = []
    for one in ran:
        look, again = one.steps["look"], one.steps["again"]
        cells = []
        for what in ("/etc/cron.d/evil", "sl", "/etc/app/second.conf"):
            after = {"there": "restored" if what.endswith(".conf") else "stays", "edited": "stays edited"}
            cells.append(f"{_said(look, what)}; {after.get(again.there[what], again.there[what])}")
        rows.append((one.tool.name, *cells, f"{look.status}, {again.status}"))
    head = ("tool", "cron job", "package `sl`", "edited `second.conf`", "exit status of the look, of the run")
    return _table(head, rows)


def _purging(ran: Sequence[Result]) -> str:
    rows = []
    for one in ran:
        look, step = one.steps["purge-look"], one.steps["purge"]
        evil = (
            f"{_said(look, '/etc/cron.d/evil')}; {'removed' if step.there['/etc/cron.d/evil'] == 'gone' else 'stays'}"
        )
        others = ", ".join(f"`{name}`" + (f" (of {one.owners[name]})" if one.owners[name] else "") for name in one.gone)
        rows.append((one.tool.name, one.tool.purging, evil, others or "nothing", step.there["sl"]))
    text = _table(("tool", "by", "cron job", "removed too", "package `sl`"), rows)
    for one in ran:
        if one.packages is not None:
            text += (
                f"\nAsked to purge packages too, with `hello` declared, {one.tool.name} would remove {one.packages}.\n"
            )
    return text


def _verdicts(ran: Sequence[Result]) -> str:
    rows = []
    for one in ran:
        for name, (verdict, paths) in (("defaults", one.default), ("with purging", one.purged)):
            shown = ", ".join(f"`{path}`" for path in paths[:SHOWN_PATHS])
            more = f" and {len(paths) - SHOWN_PATHS} more" if len(paths) > SHOWN_PATHS else ""
            rows.append(
                (one.tool.name, name, f"**{verdict['class']}**", str(verdict["lasting"]), (shown or "none") + more)
            )
    return _table(("tool", "", "verdict", "differences that last", "paths"), rows)
