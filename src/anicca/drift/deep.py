"""`anicca drift --deep`: the running system's store objects by their registered hashes; /usr and /etc by the objects.

The store is hashed once. What is mounted is compared to it by reading both: the kernel has both in one place in memory
where the mount is what it should be, so that costs little, and shows it where it is not.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import events
from anicca.drift import system
from anicca.drift.compare import CONTENT, REMOVED, UNREADABLE, Drift, Tally, compare
from anicca.drift.content import wanted_digest
from anicca.drift.entry import kind_of
from anicca.drift.expect import Expectation, Expected, in_order
from anicca.drift.findings import Findings, seen_around
from anicca.drift.inside import Root
from anicca.drift.pile import Finding, Pile
from anicca.drift.pool import Pool
from anicca.drift.rows import without_collector
from anicca.drift.rules import SUSPICIOUS, Judgement
from anicca.drift.scan import Options, Scan
from anicca.errors import AniccaError
from anicca.store.nar import hash_path
from anicca.store.path import StorePath
from anicca.system.erofs import read_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anicca.events import Report
    from anicca.store.info import PathInfo
    from anicca.store.local import LocalStore

MOUNTED = (b"/usr", b"/etc")
ORIGIN = "the system"
TASK = "verify the store's objects"
WHY = {
    CONTENT: "an object of the running system, changed in the store",
    REMOVED: "an object of the running system, gone from the store",
    UNREADABLE: "an object of the running system, which cannot be read",
}


@without_collector()
def examine_deep(
    root: Path, store: LocalStore, shallow: Findings, *, report: Report = events.ignore, workers: int = 0
) -> Findings:
    """What a look at the root found, and what is wrong with its store objects, /usr and /etc. Raises `AniccaError`."""
    top = Root(os.fsencode(root))
    current = top.real(system.CURRENT)
    if not top.exists(system.CURRENT):
        raise AniccaError(
            f"{root}: runs no system of anicca's, so there is no store to look into",
            hint="any other Debian is checked against dpkg's own checksums without --deep",
        )
    path = StorePath.parse(os.fsdecode(current))
    objects = sorted(store.infos(store.closure([path])).values(), key=lambda info: -info.nar_size)
    found = Pile(itertools.chain(shallow.found, _damaged(store, objects, report, workers or os.cpu_count() or 1)))
    entries, declared = shallow.entries, shallow.declared
    size = shallow.size_bytes + sum(one.nar_size for one in objects)
    for directory in MOUNTED:
        task = f"compare {os.fsdecode(directory)}"
        tally = Tally()
        expected = _expected(top, current, directory)
        scan = _scan(top, directory, expected, workers)
        report(events.Started(task=task))
        for one in _compared(directory, expected, scan, tally):
            found.add(one)
        report(events.Finished(task=task, note=f"{tally.entries} paths"))
        entries, declared = entries + tally.entries, declared + tally.expected
    against = f"{shallow.against}, its {len(objects)} store objects, /usr and /etc"
    return shallow._replace(against=against, found=found, entries=entries, size_bytes=size, declared=declared)


def _damaged(store: LocalStore, objects: Sequence[PathInfo], report: Report, workers: int) -> Iterator[Finding]:
    """Objects that are not what was registered."""
    with closing(Pool(_verified, workers, polite=True)) as pool:
        # After the processes were made: it may show itself by a thread.
        report(events.Started(task=TASK, total=len(objects), unit="objects"))
        # The largest first, one at a time: the last to end is a small one.
        asked = ((info, (os.fspath(store.physical(info.path)), str(info.nar_hash), info.nar_size)) for info in objects)
        for done, (info, wrong) in enumerate(pool.run(asked), 1):
            if done % 10 == 0:
                report(events.Advanced(task=TASK, done=done))
            if wrong is not None:
                kind, now = wrong
                drift = Drift(os.fsencode(str(info.path)), kind, was=str(info.nar_hash), now=now, origin="the store")
                yield Finding(drift, Judgement(SUSPICIOUS, WHY[kind]))
    report(events.Finished(task=TASK, note=f"{len(objects)} objects"))


def _verified(place: tuple[str, str, int]) -> tuple[str, str] | None:
    """What is wrong with an object that lies at a path and has a registered hash and size; None if nothing is."""
    path, registered, size = place
    if not os.path.lexists(path):
        return REMOVED, ""
    try:
        found, found_size = hash_path(Path(path))
    except (OSError, AniccaError) as error:
        return UNREADABLE, str(error)
    if str(found) != registered or (size and found_size != size):
        return CONTENT, str(found)
    return None


def _scan(root: Root, directory: bytes, expected: dict[bytes, Expected], workers: int) -> Scan:
    """A scan of a mounted directory that has not begun."""
    wanted = {path: wanted_digest(one.digests) for path, one in expected.items() if one.digests}

    def want(path: bytes) -> str:
        return wanted.get(path, "sha256")

    kept = _kept_below(root, directory)
    options = Options(want=want, leave=kept, cross_mounts=False, polite=True, workers=workers)
    return Scan(root.top + directory, options)


def _compared(directory: bytes, expected: dict[bytes, Expected], scan: Scan, tally: Tally) -> Iterator[Finding]:
    """All that differs below a mounted directory."""
    kept = scan.options.leave
    expectation = Expectation(ORIGIN, in_order(expected), mounts=kept, below=tuple(kept))
    around = seen_around(scan)._replace(visited=())
    for drift in compare(expectation, scan, around, tally):
        path = directory if drift.path == b"/" else directory + drift.path
        why = f"not as the system has it in {os.fsdecode(directory)}, which nobody can write to"
        yield Finding(drift._replace(path=path), Judgement(SUSPICIOUS, why))


def _kept_below(root: Root, directory: bytes) -> frozenset[bytes]:
    kept = system.parse_kept(root.read(root.real(system.CURRENT) + b"/layout/persist"))
    return frozenset(one.path[len(directory) :] for one in kept if one.path.startswith(directory + b"/"))


def _expected(root: Root, current: bytes, directory: bytes) -> dict[bytes, Expected]:
    """What a system says is below /usr or /etc, paths from there."""
    if directory == b"/etc":
        return _of_image(root.read(current + b"/etc.erofs"))
    tree = system.read_tree(root)
    found = {}
    for line in io.BytesIO(root.read(current + b"/manifest.jsonl")):
        if line.startswith((b'{"path":"/usr/', b'{"path":"/usr"', b'{"path": "/usr')):
            entry = tree.expected(json.loads(line), ORIGIN, "/usr")
            found[entry.path] = entry
    return found


def _of_image(image: bytes) -> dict[bytes, Expected]:
    found = {}
    for entry in read_image(image):
        path = os.fsencode(entry.path)
        kind = kind_of(entry.mode)
        found[path] = Expected(
            path=path,
            origin=ORIGIN,
            kinds=(kind,),
            mode=None if kind == "symlink" else stat.S_IMODE(entry.mode),
            uid=entry.uid,
            gid=entry.gid,
            targets=(entry.content,) if kind == "symlink" else (),
            digests=(f"sha256:{hashlib.sha256(entry.content).hexdigest()}",) if kind == "file" else (),
        )
    return found
