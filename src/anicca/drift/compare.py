"""What must be there, against what is there: one pass over both, in the same order. Pure."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from anicca.drift.entry import CHANGING, HIDDEN, UNREAD, Entry, Leaders, is_below, kind_of, order, parent
from anicca.drift.expect import ANY_MODE
from anicca.drift.lines import path_of
from anicca.drift.rows import FORMAT
from anicca.drift.states import pairs_of_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from anicca.drift.expect import Expectation, Expected
    from anicca.drift.mounts import Mount

    Pair = tuple[Expected | None, Entry | None, bytes | None]
    """What should be at a path and what is; and of what is, the first of its names, if who paired them knows it."""

ADDED, REMOVED, TYPE, CONTENT, MODE, OWNER, GROUP = "added", "removed", "type", "content", "mode", "owner", "group"
XATTR, TARGET, LINK, DEVICE, MOUNT = "xattr", "target", "hard link", "device", "mount"
UNREADABLE, CHANGED_WHILE_READ = "unreadable", "changing"
KINDS = (
    *(ADDED, REMOVED, TYPE, CONTENT, MODE, OWNER, GROUP, XATTR, TARGET, LINK, DEVICE, MOUNT),
    *(UNREADABLE, CHANGED_WHILE_READ),
)


class Drift(NamedTuple):
    """One difference: what was said (`was`), what is (`now`), and what is known of the path.

    `mode` is the whole `st_mode` found (0: nothing is there). `origin` says who expected the path, if anyone did.
    """

    path: bytes
    kind: str
    was: str = ""
    now: str = ""
    origin: str = ""
    note: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    target: bytes = b""
    digest: str = ""
    xattrs: tuple[str, ...] = ()
    hidden: bool = False


class Tally:
    """What a comparison saw besides drift: how many paths, how many bytes, and what it could not see."""

    def __init__(self) -> None:
        self.entries = 0
        self.size_bytes = 0
        self.expected = 0
        self.unseen = 0


class Around(NamedTuple):
    """What is known of a look besides its entries: the mounts, those that were visited, whether it saw beneath them."""

    mounts: tuple[Mount, ...] = ()
    visited: tuple[bytes, ...] = ()
    sees_beneath: bool = True


def compare(
    expectation: Expectation, observed: Iterable[Entry], around: Around | None = None, tally: Tally | None = None
) -> Iterator[Drift]:
    """Every difference, in the order of the scan; mounts and what lies beneath visited ones at the end.

    Each path can have several: its mode and its content are two.
    """
    return _Pass(expectation, around or Around(), tally or Tally()).run(_pairs(expectation.entries, observed))


def compare_lines(
    expectation: Expectation, before: Iterable[bytes], after: Iterable[bytes], around: Around, tally: Tally
) -> Iterator[Drift]:
    """The same of two states as lines, in pieces; the expectation's entries are not looked at.

    Raises `ValueError` and `KeyError`.
    """
    one = _Pass(expectation, around, tally)

    def same(line: bytes) -> None:
        one.count_covered(path_of(line), is_directory=b',"k":"directory"' in line)

    return one.run(pairs_of_lines(before, after, tally, same if one.covered else None))


def _pairs(expected: Iterable[Expected], observed: Iterable[Entry]) -> Iterator[Pair]:
    """Both sides, what is of one path together."""
    rest = iter(expected)
    wanted = next(rest, None)
    for entry in observed:
        if wanted is not None and wanted.path == entry.path:
            yield wanted, entry, None
            wanted = next(rest, None)
            continue
        if wanted is not None:
            key = order(entry.path)
            while wanted is not None and order(wanted.path) < key:
                yield wanted, None, None
                wanted = next(rest, None)
            if wanted is not None and wanted.path == entry.path:
                yield wanted, entry, None
                wanted = next(rest, None)
                continue
        yield None, entry, None
    while wanted is not None:
        yield wanted, None, None
        wanted = next(rest, None)


class _Pass:
    """One pass over both sides."""

    def __init__(self, expectation: Expectation, around: Around, tally: Tally) -> None:
        self.expectation = expectation
        self.tally = tally
        self.visited = around.visited
        self.mounts = [mount for mount in around.mounts if mount.path not in expectation.mounts]
        self.covered = {mount.path: 0 for mount in self.mounts}
        blind = not around.sees_beneath
        self.blind = [path for path in self.covered if path not in around.visited] if blind else []
        self.unread: list[bytes] = []
        self.leaders = Leaders()
        self._above: tuple[bytes, list[bytes]] = b"", []
        self.beneath: list[Drift] = []

    def run(self, pairs: Iterable[Pair]) -> Iterator[Drift]:
        """All differences."""
        tally = self.tally
        for wanted, entry, leader in pairs:
            if entry is None:
                assert wanted is not None
                yield from self._missing(wanted)
            elif entry.flags and self._is_beneath(entry):
                if wanted is not None:
                    yield from self._missing(wanted)
                self.beneath.append(_found(entry, ADDED, note="beneath a mount"))
            elif entry.error and entry.mode == 0:
                tally.entries += 1
                self.unread.append(entry.path)
                if wanted is not None:
                    yield from self._missing(wanted)
                yield _found(entry, UNREADABLE, now=entry.error)
            else:
                tally.entries += 1
                form = entry.mode & FORMAT
                if form == stat.S_IFREG:
                    tally.size_bytes += entry.size
                first = leader
                if first is None:
                    first = self._leader(entry) if entry.nlink > 1 and form != stat.S_IFDIR else b""
                if wanted is None:
                    yield from self._added(entry, first)
                else:
                    self._count(wanted)
                    yield from _differences(wanted, entry, first)
        yield from self.beneath
        yield from self._mounts()

    def _is_beneath(self, entry: Entry) -> bool:
        return HIDDEN in entry.flags and any(is_below(entry.path, path) for path in self.visited)

    def _leader(self, entry: Entry) -> bytes:
        return self.leaders.of(entry.path, entry.dev, entry.ino, entry.nlink)

    def _missing(self, wanted: Expected) -> Iterator[Drift]:
        self._count(wanted)
        beneath = any(is_below(wanted.path, path) and wanted.path != path for path in self.blind)
        if beneath or any(is_below(wanted.path, path) for path in self.unread):
            self.tally.unseen += 1
        elif not wanted.optional:
            yield Drift(wanted.path, REMOVED, was=" or ".join(wanted.kinds), origin=wanted.origin)

    def _count(self, wanted: Expected) -> None:
        self.tally.expected += 1
        if self.covered:
            self.count_covered(wanted.path, is_directory="directory" in wanted.kinds)

    def count_covered(self, path: bytes, *, is_directory: bool) -> None:
        """Count a declared path for the mounts that lie over it."""
        if path in self.covered and not is_directory:
            self.covered[path] += 1
        # Paths come by directory, so this is mostly known.
        above = parent(path)
        if above != self._above[0]:
            self._above = above, [mount for mount in self.covered if is_below(above, mount)]
        for mount in self._above[1]:
            self.covered[mount] += 1

    def _added(self, entry: Entry, leader: bytes) -> Iterator[Drift]:
        if _left_alone(self.expectation, entry.path):
            return
        note = f"hard link to {_shown(leader)}" if leader and leader != entry.path else ""
        yield _found(entry, ADDED, now=entry.kind, note=note)
        if entry.error:
            yield _found(entry, UNREADABLE, now=entry.error)

    def _mounts(self) -> Iterator[Drift]:
        for mount in self.mounts:
            hidden = self.covered[mount.path]
            if mount.path not in self.visited and hidden:
                what = f"{mount.kind} of {_shown(mount.source)}"
                what += f" at {_shown(mount.root)}" if mount.root != b"/" else ""
                hides = f"hides {hidden} declared path{'s' if hidden > 1 else ''}"
                yield Drift(mount.path, MOUNT, now=what, note=hides)


def _left_alone(expectation: Expectation, path: bytes) -> bool:
    if any(is_below(path, top) and path != top for top in expectation.below):
        return True
    return bool(expectation.only) and not any(is_below(path, top) for top in expectation.only)


def _found(entry: Entry, kind: str, *, was: str = "", now: str = "", origin: str = "", note: str = "") -> Drift:
    hidden = HIDDEN in entry.flags
    return Drift(
        path=entry.path,
        kind=kind,
        was=was,
        now=now,
        origin=origin,
        note=note or ("beneath a mount" if hidden else ""),
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        target=entry.target,
        digest=entry.digest,
        xattrs=tuple(name for name, _ in entry.xattrs),
        hidden=hidden,
    )


def _differences(wanted: Expected, entry: Entry, leader: bytes) -> Iterator[Drift]:  # noqa: C901 (a kind each)
    """All that differs at one path."""
    # Taken apart at once: this is done for each path of a disk, and mostly there is nothing to tell.
    (_, origin, kinds, should, mask, uid, gid, size, rdev, targets, xattrs, _, digests, link, nlink, _) = wanted
    kind = kind_of(entry.mode)
    if kinds and kind not in kinds:
        yield _found(entry, TYPE, was=" or ".join(kinds), now=kind, origin=origin)
        return
    if entry.error:
        yield _found(entry, UNREADABLE, now=entry.error, origin=origin)
    permissions = entry.mode & ANY_MODE
    if kind != "symlink" and should is not None and (permissions ^ should) & mask:
        should = (permissions & ~mask) | (should & mask)
        yield _found(entry, MODE, was=f"{should:04o}", now=f"{permissions:04o}", origin=origin)
    if uid is not None and entry.uid != uid:
        yield _found(entry, OWNER, was=str(uid), now=str(entry.uid), origin=origin)
    if gid is not None and entry.gid != gid:
        yield _found(entry, GROUP, was=str(gid), now=str(entry.gid), origin=origin)
    if xattrs is not None and entry.xattrs != xattrs and not entry.error:
        yield from _attributes(wanted, entry)
    if kind == "file":
        if (digests or size is not None) and not (entry.digest and entry.digest in digests):
            yield from _content(wanted, entry)
    elif kind == "symlink":
        if targets and entry.target not in targets:
            was = " or ".join(map(_shown, targets))
            yield _found(entry, TARGET, was=was, now=_shown(entry.target), origin=origin)
    elif rdev is not None and "device" in kind and entry.rdev != rdev:
        yield _found(entry, DEVICE, was=_device(rdev), now=_device(entry.rdev), origin=origin)
    if nlink is not None and kind != "directory" and (nlink != entry.nlink or link != leader):
        was = _names(nlink, link or b"", entry.path)
        yield _found(entry, LINK, was=was, now=_names(entry.nlink, leader, entry.path), origin=origin)


def _content(wanted: Expected, entry: Entry) -> Iterator[Drift]:
    """The content of a file that has not the digest that it should have, or has none."""
    if not wanted.digests and wanted.size == entry.size:
        return
    if CHANGING in entry.flags:
        yield _found(entry, CHANGED_WHILE_READ, now=f"{entry.size} bytes", origin=wanted.origin)
        return
    if entry.error:
        return
    if UNREAD in entry.flags:
        note = "almost all of it holes; not read"
    elif not entry.digest and (wanted.size is None or wanted.size == entry.size):
        # Neither read nor of another size: nothing can be said.
        return
    else:
        note = ""
    was = "" if wanted.size is None or wanted.size == entry.size else f"{wanted.size} bytes"
    yield _found(entry, CONTENT, was=was, now=f"{entry.size} bytes", origin=wanted.origin, note=note)


def _names(number: int, leader: bytes, path: bytes) -> str:
    if number == 1:
        return "one name"
    return f"{number} names" + (f", one file with {_shown(leader)}" if leader not in (b"", path) else "")


def _attributes(wanted: Expected, entry: Entry) -> Iterator[Drift]:
    before, after = dict(wanted.xattrs or ()), dict(entry.xattrs)
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    names = [name for name in names if name not in wanted.other_xattrs]
    if names:
        was, now = _values(before, names), _values(after, names)
        yield _found(entry, XATTR, was=was, now=now, origin=wanted.origin)


def _values(values: Mapping[str, bytes], names: list[str]) -> str:
    return ", ".join(f"{name}={values[name][:64].hex()}" for name in names if name in values) or "none"


def _device(number: int) -> str:
    import os  # noqa: PLC0415 (two functions of it, nothing that touches the system)

    return f"{os.major(number)}:{os.minor(number)}"


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
