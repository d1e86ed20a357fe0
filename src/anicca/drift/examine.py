"""A root on this machine or another, examined; or its state kept for later."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anicca import events
from anicca.drift.baseline import expectation_of, read_lines, save
from anicca.drift.compare import Around, Tally, compare_lines
from anicca.drift.facts import STATUS, differences, expectation_for, facts_of
from anicca.drift.findings import Look, judged, of_the_system, only, seen_around
from anicca.drift.inside import Root
from anicca.drift.pile import Pile
from anicca.drift.remote import look_there, scan_there
from anicca.drift.rows import without_collector
from anicca.drift.scan import Options, Scan
from anicca.drift.system import CURRENT
from anicca.drift.writers import read_writers, users_alone
from anicca.errors import AniccaError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from anicca.drift.baseline import Baseline, Seal
    from anicca.drift.findings import Findings
    from anicca.drift.remote import Host
    from anicca.drift.scan import Blob
    from anicca.events import Report
    from anicca.store.signature import SecretKey

PROGRESS_EVERY = 5000


@without_collector()
def examine(root: Path, *, cross_mounts: bool = True, report: Report = events.ignore) -> Findings:
    """The drift of a root from its anicca system or dpkg's records. Raises `AniccaError`."""
    top = os.fsencode(root)
    inside = Root(top)
    if not inside.exists(CURRENT) and not inside.exists(STATUS):
        raise AniccaError(
            f"{root}: neither an anicca system nor dpkg's records are there",
            hint="give the root of a Debian system, or compare to a baseline",
        )
    task = f"look at {root}"
    options = Options(cross_mounts=cross_mounts, polite=True)
    try:
        look = Look(top, expectation_for(top), options)
        # After the processes were made: it may show itself by a thread.
        report(events.Started(task=task))
        findings = look.summed(Pile(look))
    except (OSError, ValueError, KeyError) as error:
        raise AniccaError(f"{root}: cannot be looked at: {error}") from error
    report(events.Finished(task=task, note=f"{findings.entries} paths"))
    return with_writers(findings, inside)


def with_writers(findings: Findings, root: Root) -> Findings:
    """The same findings, each with who wrote it where that can be known."""
    if not findings.found:
        return findings
    writers = read_writers(root) if root.top == b"" else users_alone(root)
    found = Pile(one._replace(by=writers.of(one.drift.path, one.drift.uid)) for one in findings.found)
    return findings._replace(found=found)


def examine_host(host: Host, *, root: str = "/", cross_mounts: bool = True, report: Report = events.ignore) -> Findings:
    """The same on another host. Raises `AniccaError`."""
    report(events.Started(task=f"look at {host.name}"))
    _, findings = look_there(host, root=root, cross_mounts=cross_mounts)
    report(events.Finished(task=f"look at {host.name}", note=f"{findings.entries} paths"))
    return findings


def see(
    root: Path,
    host: Host | None = None,
    *,
    cross_mounts: bool = True,
    system_only: bool = False,
    beneath: bool = True,
    report: Report = events.ignore,
) -> tuple[dict[str, str], Around, Iterator[Blob]]:
    """The facts of a root, here or on a host, and all that is in it, or of it what its system decides and drift.

    Without `beneath`, what lies beneath a mount that was visited is left out. Raises `AniccaError`, `OSError` later.
    """
    name = str(root) if host is None else host.name
    if host is not None:
        facts, around, blobs = scan_there(
            host, root=str(root), cross_mounts=cross_mounts, system_only=system_only, beneath=beneath
        )
    else:
        top = os.fsencode(root)
        facts = facts_of(top)
        options = Options(want="sha256", cross_mounts=cross_mounts, beneath=beneath, polite=True)
        try:
            belongs = of_the_system(Root(top)) if system_only else None
        except (ValueError, KeyError) as error:
            raise AniccaError(f"{root}: {error}") from error
        # Last: from here on there are processes that somebody must end.
        scan = Scan(top, options)
        around, blobs = seen_around(scan), scan.blobs()
        if belongs is not None:
            blobs = only(belongs, blobs)
    return facts, around, told(blobs, f"read {name}", report)


@without_collector()
def save_baseline(
    root: Path,
    output: Path,
    *,
    host: Host | None = None,
    key: SecretKey | None = None,
    cross_mounts: bool = True,
    system_only: bool = False,
    report: Report = events.ignore,
) -> Seal:
    """Keep the whole state of a root, every file's content by its digest, in one file. Raises `AniccaError`.

    `system_only` leaves out what is a machine's own, so that all machines of one system without drift have one state.
    """
    try:
        # What lies beneath a mount that was visited comes out of order, and is nobody's state.
        facts, _, blobs = see(
            root,
            host,
            cross_mounts=cross_mounts and not system_only,
            system_only=system_only,
            beneath=False,
            report=report,
        )
        return save(output, facts, blobs, key)
    except OSError as error:
        raise AniccaError(f"{root}: {error.strerror or error}") from error


@without_collector()
def compare_to_baseline(
    root: Path,
    baseline: Baseline,
    *,
    host: Host | None = None,
    cross_mounts: bool = True,
    report: Report = events.ignore,
) -> Findings:
    """Everything about a root that is not as a baseline has it. Raises `AniccaError`."""
    try:
        facts, around, blobs = see(root, host, cross_mounts=cross_mounts, report=report)
        findings = _weighed(baseline, (lines for _, lines in blobs), around)
    except OSError as error:
        raise AniccaError(f"{root}: {error.strerror or error}") from error
    return findings._replace(notes=(*findings.notes, *differences(baseline.facts, facts)))


@without_collector()
def compare_baselines(before: Baseline, after: Baseline) -> Findings:
    """Everything in which two baselines differ. Raises `RefusedError` where one changes while it is read."""
    findings = _weighed(before, read_lines(after), Around())
    return findings._replace(notes=tuple(differences(before.facts, after.facts)))


def _weighed(before: Baseline, after: Iterable[bytes], around: Around) -> Findings:
    """A baseline against the lines of what is."""
    expectation, tally = expectation_of(before), Tally()
    try:
        found = compare_lines(expectation, read_lines(before), after, around, tally)
        return judged(expectation, found, tally, around)
    except (KeyError, ValueError, TypeError) as error:
        raise RefusedError(f"{before.path}: a line of it, or of what it is compared to, is no entry") from error


def told(blobs: Iterable[Blob], task: str, report: Report) -> Iterator[Blob]:
    """The same lines, their number told now and then."""
    report(events.Started(task=task, unit="paths"))
    number = shown = 0
    for blob in blobs:
        number += blob[1].count(b"\n")
        if number >= shown + PROGRESS_EVERY:
            shown = number
            report(events.Advanced(task=task, done=number))
        yield blob
    report(events.Finished(task=task, note=f"{number} paths"))
