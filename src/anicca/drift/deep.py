"""`anicca drift --deep`: the running system's store objects by their registered hashes; /usr and /etc by the objects.

The store is read once. What of /usr should show an object's content is read and compared in the same walk (`objects`).
What is not found to be the same that way is looked at by itself, with all that is not content.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import stat
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from anicca import events
from anicca.drift import system
from anicca.drift.compare import ADDED, CONTENT, REMOVED, UNREADABLE, Drift, Tally, compare
from anicca.drift.content import SAME_AS
from anicca.drift.entry import kind_of
from anicca.drift.expect import Expectation, Expected, in_order, in_walk_order
from anicca.drift.findings import Findings, seen_around
from anicca.drift.inside import Root
from anicca.drift.objects import Mounted, hash_object
from anicca.drift.pile import Finding, Pile
from anicca.drift.pool import Pool
from anicca.drift.rows import without_collector
from anicca.drift.rules import SUSPICIOUS, Judgement
from anicca.drift.scan import Options, Scan, look_at
from anicca.drift.view import open_view
from anicca.errors import AniccaError
from anicca.store.path import StorePath
from anicca.system.erofs import read_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from anicca.drift.walk import Want
    from anicca.events import Report
    from anicca.store.info import PathInfo
    from anicca.store.local import LocalStore

USR, ETC = b"/usr", b"/etc"
IN_USR = (b'{"path":"/usr/', b'{"path":"/usr"')
SOURCE_THERE = re.compile(rb'\{"path":"(/usr/[^"\\]*)".*?"source":"/nix/store/([^"/]+)\1"')
"""A file that is in its object at the path that it has in the tree, as nearly all are; JSON takes too long for all."""
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
    sources = Sources(top, current)
    found = Pile(itertools.chain(shallow.found, _damaged(store, objects, sources, report, workers)))
    entries, declared = shallow.entries, shallow.declared
    size = shallow.size_bytes + sum(one.nar_size for one in objects)
    for directory, expected, want in (
        (USR, _of_manifest(top, current), sources.want),
        (ETC, in_order(_of_image(top.read(current + b"/etc.erofs"))), "sha256"),
    ):
        task = f"compare {os.fsdecode(directory)}"
        tally = Tally()
        scan = _scan(top, directory, want, workers)
        report(events.Started(task=task))
        for one in _compared(directory, expected, scan, tally):
            found.add(one)
        report(events.Finished(task=task, note=f"{tally.entries} paths"))
        entries, declared = entries + tally.entries, declared + tally.expected
    against = f"{shallow.against}, its {len(objects)} store objects, /usr and /etc"
    return shallow._replace(against=against, found=found, entries=entries, size_bytes=size, declared=declared)


class Sources:
    """Which objects have the contents of /usr: for each, by its name, the paths that they have there as here.

    `unlike` are those files of which it is not known that they have the content they should, each with what is to be
    read of it: at first those whose content is at another path.
    """

    def __init__(self, root: Root, current: bytes) -> None:
        self.top = root.top
        self._same = SAME_AS + os.fsdecode(root.top)
        self.unlike: dict[bytes, str] = {}
        # As text: of a million files they would be too much as objects of their own.
        self._paths: dict[bytes, bytearray] = {}
        for line in root.lines(current + system.MANIFEST):
            there = SOURCE_THERE.match(line)
            if there is not None:
                self._paths.setdefault(there[2], bytearray()).extend(there[1] + b"\0")
            elif line.startswith(IN_USR):
                record = json.loads(line)
                if "source" in record:
                    self._set_unlike(record["path"].encode("utf-8", "surrogateescape"), record["source"])

    def of(self, name: str) -> set[bytes]:
        """The paths that an object has in /usr."""
        return set(bytes(self._paths.get(name.encode(), b"")).split(b"\0")) - {b""}

    def add_unlike(self, path: StorePath, left: Iterable[bytes]) -> None:
        """Files that are not known to have the content that an object has at their paths."""
        for one in left:
            self._set_unlike(one, f"{path}{os.fsdecode(one)}")

    @property
    def want(self) -> Want | None:
        """What is to be read of files of /usr, if anything is; paths from there."""
        return (lambda path: self.unlike.get(path, "")) if self.unlike else None

    def _set_unlike(self, path: bytes, source: str) -> None:
        self.unlike[path[len(USR) :]] = self._same + source


def _damaged(
    store: LocalStore, objects: Sequence[PathInfo], sources: Sources, report: Report, workers: int
) -> Iterator[Finding]:
    """Objects that are not what was registered; files of /usr that are not like theirs are added to the sources."""
    top, _ = open_view(sources.top + USR)
    with closing(Pool(partial(_verified, sources, top), workers or os.cpu_count() or 1, polite=True)) as pool:
        # After the processes were made: it may show itself by a thread.
        report(events.Started(task=TASK, total=len(objects), unit="objects"))
        # The largest first, one at a time: the last to end is a small one.
        asked = (
            (info, (os.fsencode(store.physical(info.path)), info.path.basename, str(info.nar_hash), info.nar_size))
            for info in objects
        )
        for done, (info, (wrong, left)) in enumerate(pool.run(asked), 1):
            if done % 10 == 0:
                report(events.Advanced(task=TASK, done=done))
            sources.add_unlike(info.path, left)
            if wrong is not None:
                kind, now = wrong
                drift = Drift(os.fsencode(str(info.path)), kind, was=str(info.nar_hash), now=now, origin="the store")
                yield Finding(drift, Judgement(SUSPICIOUS, WHY[kind]))
    os.close(top)
    report(events.Finished(task=TASK, note=f"{len(objects)} objects"))


def _verified(
    sources: Sources, top: int, place: tuple[bytes, str, str, int]
) -> tuple[tuple[str, str] | None, list[bytes]]:
    """What is wrong with an object at a path, of a name, with a registered hash and size; None if nothing is.

    And which of the files below `top`, /usr, that should have their content from it were not found to have it.
    """
    path, name, registered, size = place
    mounted = Mounted(top, USR, sources.of(name))
    with closing(mounted):
        return _wrong(path, registered, size, mounted), sorted(mounted.left)


def _wrong(path: bytes, registered: str, size: int, mounted: Mounted) -> tuple[str, str] | None:
    if not os.path.lexists(path):
        return REMOVED, ""
    try:
        found, found_size = hash_object(path, mounted)
    except (OSError, AniccaError) as error:
        return UNREADABLE, str(error)
    if str(found) != registered or (size and found_size != size):
        return CONTENT, str(found)
    return None


def _scan(root: Root, directory: bytes, want: Want | str | None, workers: int) -> Scan:
    """A scan of a mounted directory that has not begun."""
    options = Options(want=want, leave=_kept_below(root, directory), cross_mounts=False, polite=True, workers=workers)
    return Scan(root.top + directory, options)


def _compared(directory: bytes, expected: Iterable[Expected], scan: Scan, tally: Tally) -> Iterator[Finding]:
    """All that differs below a mounted directory."""
    kept = scan.options.leave
    expectation = Expectation(ORIGIN, expected, mounts=kept, below=tuple(kept))
    around = seen_around(scan)._replace(visited=())
    for drift in compare(expectation, scan, around, tally):
        path = directory if drift.path == b"/" else directory + drift.path
        why = f"not as the system has it in {os.fsdecode(directory)}, which nobody can write to"
        digest = drift.digest
        if drift.kind == ADDED and stat.S_ISREG(drift.mode) and not digest:
            # Nobody expects it, so nobody asked for its content.
            entry = look_at(scan.root, drift.path, "sha256")
            digest = entry.digest if entry is not None else ""
        yield Finding(drift._replace(path=path, digest=digest), Judgement(SUSPICIOUS, why))


def _kept_below(root: Root, directory: bytes) -> frozenset[bytes]:
    kept = system.parse_kept(root.read(root.real(system.CURRENT) + b"/layout/persist"))
    return frozenset(one.path[len(directory) :] for one in kept if one.path.startswith(directory + b"/"))


def _of_manifest(root: Root, current: bytes) -> Iterator[Expected]:
    """What a system says is below /usr, paths from there, in the order of a scan."""
    tree = system.read_tree(root)
    lines = root.lines(current + system.MANIFEST)
    return in_walk_order(tree.expected(json.loads(line), ORIGIN, "/usr") for line in lines if line.startswith(IN_USR))


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
