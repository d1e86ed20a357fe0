"""What holds for any tree: lines round-trip, order is that of a walk, a state has no drift from itself."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from anicca.drift.compare import Around, Tally, compare, compare_lines
from anicca.drift.entry import FORMATS, Entry, is_below, order, parent
from anicca.drift.expect import Expectation, Expected, in_walk_order
from anicca.drift.findings import Findings, from_record, judged, to_record
from anicca.drift.lines import from_line, path_of, size_of, state_of, to_state, with_time

if TYPE_CHECKING:
    from collections.abc import Iterable

names = st.binary(min_size=1, max_size=8).filter(lambda name: b"/" not in name and b"\0" not in name)
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: b"/" + b"/".join(parts))
cuts = st.lists(st.integers(1, 5), min_size=1, max_size=4)
attributes = st.dictionaries(st.sampled_from(["user.a", "security.capability"]), st.binary(max_size=9), max_size=2)


@st.composite
def entries(draw: st.DrawFn, path: bytes | None = None) -> Entry:
    kind = draw(st.sampled_from(sorted(FORMATS.values())))
    target = draw(st.binary(min_size=1, max_size=9)) if stat.S_ISLNK(kind) else b""
    return Entry(
        path=draw(paths) if path is None else path,
        mode=kind | draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 2**32 - 1)),
        gid=draw(st.integers(0, 2**32 - 1)),
        size=draw(st.integers(0, 2**40)) if stat.S_ISREG(kind) else len(target),
        mtime_ns=draw(st.integers(-(2**40), 2**62)),
        rdev=draw(st.sampled_from([0x103, 0x801])) if stat.S_ISCHR(kind) or stat.S_ISBLK(kind) else 0,
        target=target,
        xattrs=tuple(sorted(draw(attributes).items())),
        digest=draw(st.sampled_from(["", "sha256:00ff"])) if stat.S_ISREG(kind) else "",
    )


trees = st.lists(paths, unique=True, max_size=12).flatmap(
    lambda found: st.tuples(*(entries(path=path) for path in sorted(found, key=order)))
)


def expected(entry: Entry) -> Expected:
    return Expected(
        path=entry.path,
        origin="baseline",
        kinds=(entry.kind,),
        mode=stat.S_IMODE(entry.mode),
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        targets=(entry.target,) if entry.target else (),
        xattrs=entry.xattrs,
        digests=(entry.digest,) if entry.digest else (),
        rdev=entry.rdev if "device" in entry.kind else None,
        link=b"",
        nlink=entry.nlink if entry.kind != "directory" else None,
    )


@given(entries())
def test_a_line_says_all_of_an_entry(entry: Entry) -> None:
    line = with_time(to_state(entry, b""), entry)
    assert line.count("\n") == 1
    assert from_line(line.encode()) == (entry, b"")


@given(st.lists(paths, unique=True))
def test_a_directory_comes_right_before_all_that_is_below_it(found: list[bytes]) -> None:
    whole = sorted({*found, *(parent(path) for path in found)}, key=order)
    for at, path in enumerate(whole):
        below = [one for one in whole if one != path and is_below(one, path)]
        assert whole[at + 1 : at + 1 + len(below)] == below


@given(trees)
def test_nothing_differs_from_itself(tree: tuple[Entry, ...]) -> None:
    assert list(compare(Expectation("x", [expected(one) for one in tree]), tree)) == []


@given(trees, trees, st.data())
def test_two_states_as_lines_differ_as_their_entries_do(
    before: tuple[Entry, ...], after: tuple[Entry, ...], data: st.DataObject
) -> None:
    kept = [data.draw(st.sampled_from([one, one._replace(mtime_ns=7), one._replace(uid=8)])) for one in before]
    found = {one.path: one for one in (*after, *kept)}
    seen = [found[path] for path in sorted(found, key=order)]
    whole, passed = Tally(), Tally()
    by_entries = list(compare(Expectation("x", [expected(one) for one in before]), seen, None, whole))
    by_lines = list(
        compare_lines(
            Expectation("x", ()), lines(before, data.draw(cuts)), lines(seen, data.draw(cuts)), Around(), passed
        )
    )
    assert by_lines == by_entries
    assert vars(whole) == vars(passed)


def lines(tree: Iterable[Entry], cuts: list[int]) -> list[bytes]:
    """The lines in pieces of so many."""
    whole = [with_time(to_state(one, b""), one).encode() for one in tree]
    pieces: list[bytes] = []
    while whole:
        some = cuts[len(pieces) % len(cuts)]
        pieces.append(b"".join(whole[:some]))
        whole = whole[some:]
    return pieces


@given(entries())
def test_path_state_and_size_are_found_in_a_line_without_taking_it_apart(entry: Entry) -> None:
    state = to_state(entry, b"")
    line = with_time(state, entry)[:-1].encode()
    assert (path_of(line), state_of(line)) == (entry.path, state.encode())
    assert size_of(line) == (entry.size if stat.S_ISREG(entry.mode) else 0)


@given(trees, trees)
def test_every_path_of_one_side_only_is_said_to_be_so(before: tuple[Entry, ...], after: tuple[Entry, ...]) -> None:
    found = list(compare(Expectation("x", [expected(one) for one in before]), after))
    old, new = {one.path for one in before}, {one.path for one in after}
    assert {one.path for one in found if one.kind == "removed"} == old - new
    assert {one.path for one in found if one.kind == "added"} == new - old
    assert {one.path for one in found if one.kind not in ("added", "removed")} <= old & new


@given(trees, trees)
def test_findings_survive_the_way_from_another_host(before: tuple[Entry, ...], after: tuple[Entry, ...]) -> None:
    expectation = Expectation("x", [expected(one) for one in before])
    tally = Tally()
    found = judged(expectation, compare(expectation, after, None, tally), tally, Around())
    back = from_record(to_record(found))
    assert same(back) == same(found)


def same(findings: Findings) -> list[tuple[bytes, str, int, str]]:
    return sorted((one.drift.path, one.drift.kind, one.drift.mode, one.judgement.name) for one in findings.found)


@given(
    st.lists(st.lists(st.sampled_from([b"a", b"a-", b"a.b", b"a0", b"\xff"]), min_size=1, max_size=4)), st.booleans()
)
def test_what_is_sorted_by_bytes_comes_in_the_order_of_a_walk(found: list[list[bytes]], walked: bool) -> None:
    every = {b"/" + b"/".join(parts[:depth]) for parts in found for depth in range(len(parts) + 1)}
    above = {parent(path) for path in every}
    given_order = sorted(every, key=order if walked else None)
    said = [Expected(path, "", kinds=("directory" if path in above else "file",)) for path in given_order]
    assert [one.path for one in in_walk_order(said)] == sorted(every, key=order)
