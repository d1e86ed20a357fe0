"""`anicca drift --deep`: the running system's store objects by their registered hashes; /usr and /etc by the objects.

The store is read once. What of /usr should show an object's content is read and compared in the same walk (`objects`).
What is not found to be the same that way is looked at by itself, with all that is not content.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import stat
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

from anicca import events
from anicca.drift import system
from anicca.drift.compare import ADDED, CONTENT, REMOVED, UNREADABLE, Drift, Tally, compare
from anicca.drift.content import SAME_AS
from anicca.drift.entry import kind_of, order
from anicca.drift.expect import Expectation, Expected, in_order, in_walk_order
from anicca.drift.findings import Findings, seen_around
from anicca.drift.inside import Root
from anicca.drift.objects import Mounted, hash_object
from anicca.drift.pile import Finding, Pile
from anicca.drift.pool import Aside, Pool
from anicca.drift.rows import without_collector
from anicca.drift.rules import SUSPICIOUS, Judgement
from anicca.drift.scan import Options, Scan, look_at
from anicca.drift.view import open_view
from anicca.errors import AniccaError
from anicca.store.path import STORE_DIR, StorePath
from anicca.system.erofs import read_image

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from anicca.events import Report
    from anicca.store.info import PathInfo
    from anicca.store.local import LocalStore

USR, ETC = b"/usr", b"/etc"
IN_USR = (b'{"path":"/usr/', b'{"path":"/usr"')
PATH_AT = len(b'{"path":"')
SOURCE = b'"source":"%b/' % STORE_DIR.encode()
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
    found, tally = Pile(shallow.found), Tally()
    try:
        sources = Sources(top, current)
        with closing(Aside(partial(_metadata, top, current), polite=True)) as metadata:
            for finding in _damaged(store, objects, sources, report, workers):
                found.add(finding)
            sources.add_unread({info.path.basename for info in objects})
            contents = _contents(top, sources.unlike)
            for one in heapq.merge(_told(metadata, tally), contents, key=lambda drift: order(drift.path)):
                found.add(_suspicious(one, USR))
        etc = in_order(_of_image(top.read(current + b"/etc.erofs")))
        for one in _compared(_scan(top, ETC, "sha256", workers), etc, tally):
            found.add(_suspicious(one, ETC))
    except (OSError, ValueError, KeyError) as error:
        raise AniccaError(f"{root}: cannot be looked at: {error}") from error
    return shallow._replace(
        against=f"{shallow.against}, its {len(objects)} store objects, /usr and /etc",
        found=found,
        entries=shallow.entries + tally.entries,
        size_bytes=shallow.size_bytes + sum(one.nar_size for one in objects),
        declared=shallow.declared + tally.expected,
    )


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
            if line.startswith(IN_USR) and SOURCE in line:
                self._add(line)

    def _add(self, line: bytes) -> None:
        # JSON takes too long for all: nearly every file is in its object at the path that it has in the tree.
        path = line[PATH_AT : line.index(b'"', PATH_AT)]
        source = line.partition(SOURCE)[2]
        name = source[: source.find(b"/")]
        if source.startswith(path + b'"', len(name)) and b"\\" not in path:
            self._paths.setdefault(name, bytearray()).extend(path + b"\0")
        else:
            record = json.loads(line)
            self._set_unlike(record["path"].encode("utf-8", "surrogateescape"), record["source"])

    def of(self, name: str) -> set[bytes]:
        """The paths that an object has in /usr."""
        return set(bytes(self._paths.get(name.encode(), b"")).split(b"\0")) - {b""}

    def add_unlike(self, name: str, left: Iterable[bytes]) -> None:
        """Files that are not known to have the content that an object has at their paths."""
        for one in left:
            self._set_unlike(one, f"{STORE_DIR}/{name}{os.fsdecode(one)}")

    def add_unread(self, read: Collection[str]) -> None:
        """The files of all objects but those that were read: the database may not know all that the system needs."""
        for name in map(bytes.decode, self._paths):
            if name not in read:
                self.add_unlike(name, self.of(name))

    def _set_unlike(self, path: bytes, source: str) -> None:
        self.unlike[path] = self._same + source


def _damaged(
    store: LocalStore, objects: Sequence[PathInfo], sources: Sources, report: Report, workers: int
) -> Iterator[Finding]:
    """Objects that are not what was registered; files of /usr that are not like theirs are added to the sources."""
    top, _ = open_view(sources.top + USR)
    with ExitStack() as stack:
        stack.callback(os.close, top)
        pool = Pool(partial(_verified, sources, top), workers or os.cpu_count() or 1, polite=True)
        stack.callback(pool.close)
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
            sources.add_unlike(info.path.basename, left)
            if wrong is not None:
                kind, now = wrong
                drift = Drift(os.fsencode(str(info.path)), kind, was=str(info.nar_hash), now=now, origin="the store")
                yield Finding(drift, Judgement(SUSPICIOUS, WHY[kind]))
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


def _metadata(root: Root, current: bytes) -> Iterator[tuple[Any, ...]]:
    """All that differs below /usr but contents that objects have; last, how many paths there are, and should be."""
    tree = system.read_tree(root)
    lines = root.lines(current + system.MANIFEST)
    expected = (tree.expected(json.loads(line), ORIGIN, "/usr") for line in lines if line.startswith(IN_USR))
    others = (
        one if one.digests[:1] in ((), (system.EMPTY,)) else one._replace(size=None, digests=()) for one in expected
    )
    tally = Tally()
    yield from map(tuple, _compared(_scan(root, USR, None), in_walk_order(others), tally))
    yield tally.entries, tally.expected


def _told(metadata: Aside, tally: Tally) -> Iterator[Drift]:
    """The differences that `_metadata` tells of, and the numbers, which are its last."""
    for one in metadata:
        if len(one) == len(Drift._fields):
            yield Drift(*one)
        else:
            tally.entries, tally.expected = one


def _contents(root: Root, unlike: Mapping[bytes, str]) -> Iterator[Drift]:
    """Those files of /usr that have not the content they should, or cannot be read."""
    top = root.top + USR
    for path in sorted(unlike, key=order):
        inside, same = path[len(USR) :], unlike[path]
        entry = look_at(top, inside, same)
        if entry is not None and entry.kind == "file":
            expectation = Expectation(ORIGIN, [Expected(inside, ORIGIN, digests=(same,))])
            yield from compare(expectation, [entry])


def _scan(root: Root, directory: bytes, want: str | None, workers: int = 0) -> Scan:
    """A scan of a mounted directory that has not begun."""
    kept = _kept_below(root, directory)
    return Scan(root.top + directory, Options(want=want, leave=kept, cross_mounts=False, workers=workers, polite=True))


def _compared(scan: Scan, expected: Iterable[Expected], tally: Tally) -> Iterator[Drift]:
    """All that differs below a mounted directory."""
    kept = scan.options.leave
    expectation = Expectation(ORIGIN, expected, mounts=kept, below=tuple(kept))
    around = seen_around(scan)._replace(visited=())
    for drift in compare(expectation, scan, around, tally):
        if drift.kind == ADDED and stat.S_ISREG(drift.mode) and not (drift.digest or drift.hidden):
            # Nobody expects it, so nobody asked for its content.
            entry = look_at(scan.root, drift.path, "sha256")
            yield drift if entry is None else drift._replace(digest=entry.digest)
        else:
            yield drift


def _suspicious(drift: Drift, directory: bytes) -> Finding:
    """What is not as it should be below a mounted directory."""
    path = directory if drift.path == b"/" else directory + drift.path
    why = f"not as the system has it in {os.fsdecode(directory)}, which nobody can write to"
    return Finding(drift._replace(path=path), Judgement(SUSPICIOUS, why))


def _kept_below(root: Root, directory: bytes) -> frozenset[bytes]:
    kept = system.parse_kept(root.read(root.real(system.CURRENT) + b"/layout/persist"))
    return frozenset(one.path[len(directory) :] for one in kept if one.path.startswith(directory + b"/"))


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
