"""A root on this machine, examined: the right expectation for it, then a look; or its state kept for later."""

from __future__ import annotations

import datetime as dt
import os
import platform
from typing import TYPE_CHECKING

from anicca import events
from anicca.drift import records
from anicca.drift.baseline import Baseline, expectation_of, observed, save
from anicca.drift.compare import Tally, compare
from anicca.drift.dpkg import DATABASE, read_expectation
from anicca.drift.entry import HIDDEN, is_below
from anicca.drift.findings import judged, look, weigh
from anicca.drift.inside import Root
from anicca.drift.scan import Options, Scan
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anicca.drift.baseline import Seal
    from anicca.drift.entry import Entry
    from anicca.drift.expect import Expectation
    from anicca.drift.findings import Findings
    from anicca.events import Report
    from anicca.store.signature import SecretKey

PROGRESS_EVERY = 5000


def examine(root: Path, *, cross_mounts: bool = True, report: Report = events.ignore) -> Findings:
    """The drift of a root. Raises `AniccaError` where nothing says what must be there."""
    top = os.fsencode(root)
    expectation = expect(top)
    report(events.Started(task=f"look at {root}"))
    try:
        findings = look(top, expectation, Options(cross_mounts=cross_mounts, polite=True))
    except OSError as error:
        raise AniccaError(f"{root}: {error.strerror or error}") from error
    report(events.Finished(task=f"look at {root}", note=f"{findings.entries} paths"))
    return findings


def expect(top: bytes) -> Expectation:
    """What says what must be in a root."""
    root = Root(top)
    if not root.exists(DATABASE + b"/status"):
        raise AniccaError(
            f"{os.fsdecode(top)}: neither an anicca system nor dpkg's records are there",
            hint="give the root of a Debian system, or compare to a baseline",
        )
    try:
        return read_expectation(root)
    except (OSError, ValueError) as error:
        raise AniccaError(f"{os.fsdecode(top)}: dpkg's records cannot be read: {error}") from error


def save_baseline(
    root: Path,
    output: Path,
    *,
    key: SecretKey | None = None,
    cross_mounts: bool = True,
    report: Report = events.ignore,
) -> Seal:
    """Keep the whole state of a root, every file's content by its digest, in one file. Raises `AniccaError`."""
    top = os.fsencode(root)
    try:
        scan = Scan(top, Options(want=lambda _path, _seen: "sha256", cross_mounts=cross_mounts, polite=True))
        visited = [mount.path for mount in scan.visited]
        facts = facts_of(top) | {"mounts": sorted(os.fsdecode(path) for path in visited)}
        # What lies beneath a mount that was visited comes out of order, and is nobody's state.
        entries = (entry for entry in scan if not (visited and entry.flags == HIDDEN and _covered(entry, visited)))
        return save(output, facts, told(entries, f"read {root}", report), key)
    except OSError as error:
        raise AniccaError(f"{root}: {error.strerror or error}") from error


def compare_to_baseline(
    root: Path, baseline: Baseline, *, cross_mounts: bool = True, report: Report = events.ignore
) -> Findings:
    """Everything about a root that is not as a baseline has it. Raises `AniccaError`."""
    top = os.fsencode(root)
    try:
        scan = Scan(top, Options(want=lambda _path, _seen: "sha256", cross_mounts=cross_mounts, polite=True))
        report(events.Started(task=f"read {root}", total=baseline.seal.entries, unit="paths"))
        findings = weigh(expectation_of(baseline), scan)
    except OSError as error:
        raise AniccaError(f"{root}: {error.strerror or error}") from error
    report(events.Finished(task=f"read {root}"))
    return findings._replace(notes=(*findings.notes, *differences(baseline.facts, facts_of(top))))


def _covered(entry: Entry, visited: list[bytes]) -> bool:
    return any(is_below(entry.path, path) for path in visited)


def told(entries: Iterator[Entry], task: str, report: Report) -> Iterator[Entry]:
    """The same entries, their number told now and then."""
    report(events.Started(task=task, unit="paths"))
    number = 0
    for number, entry in enumerate(entries, 1):
        if number % PROGRESS_EVERY == 0:
            report(events.Advanced(task=task, done=number))
        yield entry
    report(events.Finished(task=task, note=f"{number} paths"))


def facts_of(top: bytes) -> dict[str, str]:
    """What a root is: its path, host name, release and architecture, and when it was looked at."""
    root = Root(top)
    release = dict(
        line.partition("=")[::2]
        for line in root.read_if_there(b"/etc/os-release").decode("utf-8", "replace").split("\n")
    )
    packages = records.parse_status(root.read_if_there(DATABASE + b"/status"))
    machine = next((package.architecture for package in packages if package.name == "dpkg"), platform.machine())
    return {
        "root": os.fsencode(os.path.realpath(top)).decode("utf-8", "replace"),
        "host": root.read_if_there(b"/etc/hostname").decode("utf-8", "replace").strip(),
        "release": release.get("PRETTY_NAME", "").strip('"'),
        "architecture": machine,
        "made": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """In what a baseline is not of the root that is compared to it."""
    return [
        f"the baseline is of another {name}: {then[name]}, not {now[name]}"
        for name in ("architecture", "release", "host", "root")
        if then.get(name, now[name]) != now[name]
    ]


def compare_baselines(before: Baseline, after: Baseline) -> Findings:
    """Everything in which two baselines differ. Raises `RefusedError` where one changes while it is read."""
    tally = Tally()
    expectation = expectation_of(before)
    found = compare(expectation, observed(after), tally=tally)
    findings = judged(expectation, found, tally, set(), sees_beneath=True)
    return findings._replace(notes=tuple(differences(before.facts, after.facts)))
