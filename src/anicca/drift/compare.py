"""What must be there, against what is there: one pass over both, in the same order. Pure."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from anicca.drift.entry import CHANGING, HIDDEN, UNREAD, Entry, is_below, order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from anicca.drift.expect import Expectation, Expected
    from anicca.drift.mounts import Mount

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


def compare(
    expectation: Expectation,
    observed: Iterable[Entry],
    mounts: Iterable[Mount] = (),
    visited: Iterable[bytes] = (),
    *,
    sees_beneath: bool = True,
    tally: Tally | None = None,
) -> Iterator[Drift]:
    """Every difference, in the order of the scan; mounts and what lies beneath visited ones at the end.

    Each path can have several: its mode and its content are two.
    """
    mounted = [mount for mount in mounts if mount.path not in expectation.mounts]
    yield from _Pass(expectation, mounted, frozenset(visited), sees_beneath, tally or Tally()).run(observed)


class _Pass:
    """One pass over both sides."""

    def __init__(
        self,
        expectation: Expectation,
        mounts: list[Mount],
        visited: frozenset[bytes],
        sees_beneath: bool,
        tally: Tally,
    ) -> None:
        self.expectation = expectation
        self.tally = tally
        self.visited = visited
        self.mounts = mounts
        self.covered = {mount.path: 0 for mount in mounts}
        self.blind = [path for path in self.covered if path not in visited] if not sees_beneath else []
        self.unread: list[bytes] = []
        self.leaders: dict[tuple[int, int], bytes] = {}
        self.beneath: list[Drift] = []

    def run(self, observed: Iterable[Entry]) -> Iterator[Drift]:
        """All differences."""
        rest = iter(self.expectation.entries)
        wanted = next(rest, None)
        for entry in observed:
            if entry.flags and self._is_beneath(entry):
                self.beneath.append(_found(entry, ADDED, note="beneath a mount"))
                continue
            self.tally.entries += 1
            if wanted is not None and wanted.path != entry.path:
                key = order(entry.path)
                while wanted is not None and order(wanted.path) < key:
                    yield from self._missing(wanted)
                    wanted = next(rest, None)
            if entry.error and entry.mode == 0:
                self.unread.append(entry.path)
                yield _found(entry, UNREADABLE, now=entry.error)
            elif wanted is not None and wanted.path == entry.path:
                self._count(wanted)
                yield from _differences(wanted, entry, self._leader(entry))
                wanted = next(rest, None)
            else:
                yield from self._added(entry)
        while wanted is not None:
            yield from self._missing(wanted)
            wanted = next(rest, None)
        yield from self.beneath
        yield from self._mounts()

    def _is_beneath(self, entry: Entry) -> bool:
        return HIDDEN in entry.flags and any(is_below(entry.path, path) for path in self.visited)

    def _leader(self, entry: Entry) -> bytes:
        """The first name of a file that has several; and its bytes are counted."""
        if stat.S_ISREG(entry.mode):
            self.tally.size_bytes += entry.size
        if entry.nlink > 1 and not stat.S_ISDIR(entry.mode):
            return self.leaders.setdefault((entry.dev, entry.ino), entry.path)
        return b""

    def _missing(self, wanted: Expected) -> Iterator[Drift]:
        self._count(wanted)
        beneath = any(is_below(wanted.path, path) and wanted.path != path for path in self.blind)
        if beneath or any(is_below(wanted.path, path) for path in self.unread):
            self.tally.unseen += 1
        elif not wanted.optional:
            yield Drift(wanted.path, REMOVED, was=" or ".join(wanted.kinds), origin=wanted.origin)

    def _count(self, wanted: Expected) -> None:
        self.tally.expected += 1
        for path in self.covered:
            if is_below(wanted.path, path) and (wanted.path != path or "directory" not in wanted.kinds):
                self.covered[path] += 1

    def _added(self, entry: Entry) -> Iterator[Drift]:
        leader = self._leader(entry)
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


def _differences(wanted: Expected, entry: Entry, leader: bytes) -> Iterator[Drift]:  # noqa: C901 (a line a kind)
    """All that differs at one path."""
    origin = wanted.origin
    kind = entry.kind
    if wanted.kinds and kind not in wanted.kinds:
        yield _found(entry, TYPE, was=" or ".join(wanted.kinds), now=kind, origin=origin)
        return
    if entry.error:
        yield _found(entry, UNREADABLE, now=entry.error, origin=origin)
    permissions = stat.S_IMODE(entry.mode)
    if kind != "symlink" and wanted.mode is not None and (permissions ^ wanted.mode) & wanted.mask:
        should = (permissions & ~wanted.mask) | (wanted.mode & wanted.mask)
        yield _found(entry, MODE, was=f"{should:04o}", now=f"{permissions:04o}", origin=origin)
    if wanted.uid is not None and entry.uid != wanted.uid:
        yield _found(entry, OWNER, was=str(wanted.uid), now=str(entry.uid), origin=origin)
    if wanted.gid is not None and entry.gid != wanted.gid:
        yield _found(entry, GROUP, was=str(wanted.gid), now=str(entry.gid), origin=origin)
    if wanted.xattrs is not None and entry.xattrs != wanted.xattrs and not entry.error:
        yield from _attributes(wanted, entry)
    if kind == "symlink" and wanted.targets and entry.target not in wanted.targets:
        was = " or ".join(map(_shown, wanted.targets))
        yield _found(entry, TARGET, was=was, now=_shown(entry.target), origin=origin)
    if wanted.rdev is not None and "device" in kind and entry.rdev != wanted.rdev:
        yield _found(entry, DEVICE, was=_device(wanted.rdev), now=_device(entry.rdev), origin=origin)
    if kind == "file":
        yield from _content(wanted, entry)
    if kind != "directory" and wanted.nlink is not None and (wanted.nlink != entry.nlink or wanted.link != leader):
        was = _names(wanted.nlink, wanted.link or b"", entry.path)
        yield _found(entry, LINK, was=was, now=_names(entry.nlink, leader, entry.path), origin=origin)


def _content(wanted: Expected, entry: Entry) -> Iterator[Drift]:
    if not wanted.digests and (wanted.size is None or wanted.size == entry.size):
        return
    if entry.digest and entry.digest in wanted.digests:
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
