"""What must be there, whoever says so: dpkg's records, an anicca system, or a saved baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from anicca.drift.entry import Xattrs, order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from anicca.drift.rules import Rule

ANY_MODE = 0o7777


class Expected(NamedTuple):
    """One path that must be there. None, or an empty tuple, is "anything": who says it does not know.

    `mode` holds for the bits of `mask`. `kinds`, `targets` and `digests` each list what is as good; `other_xattrs` may
    be there too. `link` is the first of the paths that are one file (empty: it has one name only). An `optional` path
    may be missing. `origin` says in a few words who says so.
    """

    path: bytes
    origin: str
    kinds: tuple[str, ...] = ()
    mode: int | None = None
    mask: int = ANY_MODE
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    rdev: int | None = None
    targets: tuple[bytes, ...] = ()
    xattrs: Xattrs | None = None
    other_xattrs: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    link: bytes | None = None
    nlink: int | None = None
    optional: bool = False


class Expectation(NamedTuple):
    """All that must be there, in the order of `entry.order`, and what is known besides.

    `mounts` may lie over declared paths. `below` are directories whose content nobody declares and all may write:
    what is found there is nobody's drift. `only` are the directories it speaks about (empty: all of the root). With
    `rules`, what Debian makes by itself is explained. `own_rules` are the host's, and come before.
    """

    name: str
    entries: Iterable[Expected]
    mounts: frozenset[bytes] = frozenset()
    below: tuple[bytes, ...] = ()
    only: tuple[bytes, ...] = ()
    rules: bool = True
    own_rules: tuple[Rule, ...] = ()
    notes: tuple[str, ...] = ()


def in_order(entries: Mapping[bytes, Expected]) -> list[Expected]:
    """The values by path in the order of a scan."""
    return [entries[path] for path in sorted(entries, key=order)]


def in_walk_order(entries: Iterable[Expected]) -> Iterator[Expected]:
    """Those that come sorted by the bytes of their paths, in the order of a scan; few of them are held.

    Between a directory and what is in it come the names that go on with a character before `/`, as in `python3`,
    `python3.11`. They wait.
    """
    above: list[tuple[bytes, list[Expected]]] = []
    for one in entries:
        path = one.path
        while above and not (path.startswith(above[-1][0]) and _after(path, above[-1][0]) <= b"/"):
            yield from sorted(above.pop()[1], key=_place)
        if above and _after(path, above[-1][0]) != b"/":
            above[-1][1].append(one)
        else:
            yield one
            if "directory" in one.kinds:
                above.append((path if path != b"/" else b"", []))
    while above:
        yield from sorted(above.pop()[1], key=_place)


def _after(path: bytes, directory: bytes) -> bytes:
    return path[len(directory) : len(directory) + 1]


def _place(one: Expected) -> bytes:
    return order(one.path)
