from __future__ import annotations

from pathlib import Path

import manifest
from hypothesis import given
from hypothesis import strategies as st

from anicca.debian.lock import LAST_LOGIN, Lock, Pin, allocate, diff_pins, parse_lock

NAMES = st.text(st.sampled_from("abcdefgh"), min_size=1, max_size=3)
DYNAMIC = st.integers(100, 999)
FOUND = st.dictionaries(NAMES, DYNAMIC, max_size=20)
DECLARED = st.lists(NAMES.map(lambda name: "u" + name), unique=True, max_size=8).map(tuple)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
PINS = st.lists(
    st.builds(
        Pin,
        name=TEXT,
        version=TEXT,
        architecture=st.sampled_from(["amd64", "all"]),
        archive=st.sampled_from(["debian", "debian-security"]),
        filename=TEXT,
        size_bytes=st.integers(0, 1 << 40),
        sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    ),
    unique_by=lambda pin: pin.name,
    max_size=6,
).map(lambda pins: tuple(sorted(pins, key=lambda pin: pin.name)))
LOCKS = st.builds(
    Lock,
    release=TEXT,
    architecture=TEXT,
    resolution=TEXT,
    epoch=st.integers(0, 1 << 40),
    packages=PINS,
    toolchain=PINS,
    users=st.dictionaries(TEXT, st.integers(0, 65534)),
    groups=st.dictionaries(TEXT, st.integers(0, 65534)),
)


@given(LOCKS)
def test_any_lock_survives_its_file(lock: Lock) -> None:
    assert parse_lock(lock.to_json(), Path("x.lock")) == lock


@given(PINS, PINS)
def test_the_difference_of_pins_leads_from_one_to_the_other(old: tuple[Pin, ...], new: tuple[Pin, ...]) -> None:
    versions: dict[str, str | None] = {pin.name: pin.version for pin in old}
    for change in diff_pins(old, new):
        assert versions.get(change.name) == change.old
        versions[change.name] = change.new
    assert {name: version for name, version in versions.items() if version is not None} == {
        pin.name: pin.version for pin in new
    }


@given(st.lists(st.tuples(FOUND, DECLARED), min_size=1, max_size=6))
def test_through_any_history_of_hosts_no_id_moves_and_none_is_given_twice(
    history: list[tuple[dict[str, int], tuple[str, ...]]],
) -> None:
    ids: dict[str, int] = {}
    for found, declared in history:
        before = ids
        ids = allocate(before, found, declared)
        assert {name: ids[name] for name in before} == before
        assert ids.keys() == before.keys() | found.keys() | set(declared)
        assert len(set(ids.values())) == len(ids)
        assert all(100 <= number <= LAST_LOGIN for number in ids.values())
        assert allocate(ids, found, declared) == ids


PATHS = st.lists(TEXT, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
ENTRIES = st.builds(
    manifest.Entry,
    path=PATHS,
    kind=st.just("file"),
    mode=st.integers(0, 0o7777),
    user=TEXT,
    group=TEXT,
    mtime=st.integers(0, 1 << 33),
    size=st.integers(0, 1 << 40),
    source=st.none() | PATHS,
    link=st.none() | st.integers(0, 1000),
    xattrs=st.dictionaries(TEXT, st.binary(max_size=40)).map(lambda found: tuple(sorted(found.items()))),
)


@given(ENTRIES)
def test_an_entry_survives_its_line(entry: manifest.Entry) -> None:
    line = entry.to_line()
    assert line.count(b"\n") == 1
    assert manifest.Entry.from_line(line) == entry
