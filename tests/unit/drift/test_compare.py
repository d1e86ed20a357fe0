"""Each kind of difference from the smallest expectation and observation that have it."""

from __future__ import annotations

import stat

import pytest

from anicca.drift.compare import Around, Drift, Tally, compare
from anicca.drift.entry import CHANGING, HIDDEN, Entry
from anicca.drift.expect import Expectation, Expected
from anicca.drift.mounts import Mount

FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
ROOT = Entry(b"/", DIRECTORY)
WANTED = Expected(
    b"/a", "us", kinds=("file",), mode=0o644, uid=0, gid=0, size=3, xattrs=(), digests=("sha256:x",), link=b"", nlink=1
)
IS = Entry(b"/a", FILE, size=3, digest="sha256:x")


def differences(
    wanted: list[Expected], seen: list[Entry], around: Around | None = None, tally: Tally | None = None
) -> list[tuple[bytes, str]]:
    return [(one.path, one.kind) for one in compared(wanted, seen, around, tally)]


def compared(
    wanted: list[Expected], seen: list[Entry], around: Around | None = None, tally: Tally | None = None
) -> list[Drift]:
    expectation = Expectation("test", [Expected(b"/", "us"), *wanted])
    return list(compare(expectation, [ROOT, *seen], around, tally))


def test_what_is_as_expected_is_no_drift() -> None:
    assert differences([WANTED], [IS]) == []


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (IS._replace(digest="sha256:y"), "content"),
        (IS._replace(size=4, digest=""), "content"),
        (IS._replace(mode=FILE | 0o4000), "mode"),
        (IS._replace(uid=1), "owner"),
        (IS._replace(gid=1), "group"),
        (IS._replace(xattrs=(("user.a", b"1"),)), "xattr"),
        (IS._replace(nlink=2, ino=7), "hard link"),
        (IS._replace(mode=stat.S_IFIFO | 0o644), "type"),
        (IS._replace(mode=LINK, target=b"b"), "type"),
        (IS._replace(digest="", flags=CHANGING), "changing"),
        (IS._replace(digest="", error="Input/output error"), "unreadable"),
    ],
)
def test_each_kind(seen: Entry, kind: str) -> None:
    assert differences([WANTED], [seen]) == [(b"/a", kind)]


def test_one_path_can_differ_in_several_ways() -> None:
    seen = IS._replace(uid=1, mode=FILE | 0o002, digest="sha256:z")
    assert differences([WANTED], [seen]) == [(b"/a", "mode"), (b"/a", "owner"), (b"/a", "content")]


def test_a_link_may_lead_to_any_of_its_targets() -> None:
    wanted = Expected(b"/l", "us", kinds=("symlink",), targets=(b"a", b"b"))
    assert differences([wanted], [Entry(b"/l", LINK, target=b"b")]) == []
    assert differences([wanted], [Entry(b"/l", LINK, target=b"c")]) == [(b"/l", "target")]


def test_a_device_is_another_one_by_its_number() -> None:
    wanted = Expected(b"/d", "us", kinds=("character device",), rdev=0x103)
    assert differences([wanted], [Entry(b"/d", stat.S_IFCHR | 0o666, rdev=0x105)]) == [(b"/d", "device")]


def test_missing_and_added_come_in_the_order_of_the_scan() -> None:
    wanted = [Expected(path, "us") for path in (b"/a", b"/a/b", b"/a-b", b"/c")]
    seen = [Entry(b"/a", DIRECTORY), Entry(b"/a/a", FILE), Entry(b"/a-b", FILE), Entry(b"/b", FILE)]
    assert differences(wanted, seen) == [(b"/a/a", "added"), (b"/a/b", "removed"), (b"/b", "added"), (b"/c", "removed")]


def test_what_may_be_missing_is_not_missed() -> None:
    assert differences([WANTED._replace(optional=True)], []) == []


def test_nothing_is_said_to_be_removed_below_what_could_not_be_read() -> None:
    tally = Tally()
    wanted = [Expected(b"/a", "us"), Expected(b"/a/b", "us"), Expected(b"/b", "us")]
    seen = [Entry(b"/a", DIRECTORY), Entry(b"/a", 0, error="Permission denied")]
    assert differences(wanted, seen, tally=tally) == [(b"/a", "unreadable"), (b"/b", "removed")]
    assert tally.unseen == 1


def test_a_mode_counts_only_where_something_is_known_of_it() -> None:
    wanted = Expected(b"/a", "us", mode=0, mask=0o7022)
    assert differences([wanted], [Entry(b"/a", FILE | 0o111)]) == []
    (found,) = compared([wanted], [Entry(b"/a", FILE | 0o4022)])
    assert (found.was, found.now) == ("0644", "4666")


class TestMounts:
    wanted = (Expected(b"/a", "us", kinds=("directory",)), Expected(b"/a/b", "us"))
    mount = Mount(1, "0:9", b"/", b"/a", "rw", "tmpfs", b"tmpfs")

    def test_one_that_hides_declared_paths_is_drift(self) -> None:
        seen = [Entry(b"/a", DIRECTORY), Entry(b"/a/b", FILE)]
        found = compared([*self.wanted], seen, Around((self.mount,)))
        assert [(one.path, one.kind, one.note) for one in found] == [(b"/a", "mount", "hides 1 declared path")]

    def test_one_on_an_empty_directory_is_not(self) -> None:
        assert differences([self.wanted[0]], [Entry(b"/a", DIRECTORY)], Around((self.mount,))) == []

    def test_paths_that_cannot_be_seen_beneath_one_are_not_removed(self) -> None:
        tally = Tally()
        around = Around((self.mount,), sees_beneath=False)
        found = differences([*self.wanted], [Entry(b"/a", DIRECTORY)], around, tally)
        assert found == [(b"/a", "mount")]
        assert tally.unseen == 1

    def test_what_lies_beneath_a_visited_one_is_added_and_hidden(self) -> None:
        seen = [Entry(b"/a", DIRECTORY), Entry(b"/a/b", FILE), Entry(b"/a/c", FILE, flags=HIDDEN)]
        found = compared([*self.wanted], seen, Around((self.mount,), (b"/a",)))
        assert [(one.path, one.kind, one.hidden) for one in found] == [(b"/a/c", "added", True)]
