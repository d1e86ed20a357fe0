"""What merging promises, for any parts in any order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anicca.declare import Directory, Disk, File, Group, Host, Link, Part, Persist, Tmpfs, Unit, User, absent
from anicca.declare.combine import combine
from anicca.declare.merge import Ledger, Option
from anicca.declare.rank import Rank, Ranked
from anicca.declare.spec import resolution_key, to_json
from anicca.errors import DeclarationError, Place

places = st.builds(Place, st.sampled_from(["a.py", "b.py"]), st.integers(1, 9))

if TYPE_CHECKING:
    import random

# Time says nothing here: the machine may be busy.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ranked(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, st.builds(Ranked, values, st.sampled_from([Rank.DEFAULT, Rank.FORCE])))


def lists(*elements: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.one_of(*elements), max_size=2)


names = st.sampled_from(["ann", "bob", "less"])
packages = st.sampled_from(["curl", "less", "Bad"])
texts = st.sampled_from(["a\n", "b\n", b"\xff"])
entries = st.one_of(
    texts,
    st.builds(File, texts, mode=st.sampled_from([0o600, 0o644]), declared_at=places),
    st.builds(Link, st.sampled_from(["x", "y"]), declared_at=places),
    st.builds(Directory, mode=st.sampled_from([0o700, 0o755]), declared_at=places),
)
sizes = st.sampled_from(["2G", "2048M", "3G"])
paths = st.sampled_from(["/etc/a", "/etc/a/b", "/srv/x", "/srv/x/y", "/usr/x"])
maybe_shells = st.one_of(st.none(), ranked(st.sampled_from(["/bin/sh", "/bin/zsh"])))
maybe_texts = st.one_of(st.none(), ranked(st.sampled_from(["[Install]\n", "[Unit]\n"])))
maybe_states = st.one_of(st.none(), ranked(st.sampled_from(["masked", "static"])))
maybe_modes = st.one_of(st.none(), ranked(st.just(0o700)))


def said(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Part]:
    return st.builds(Part, declared_at=places, **fields)


# One kind of saying each: few draws, many meetings.
small = st.one_of(
    said(packages=lists(ranked(packages), ranked(packages.map(absent)))),
    said(users=lists(ranked(st.builds(User, names, groups=lists(names), shell=maybe_shells, declared_at=places)))),
    said(groups=lists(st.builds(Group, names, members=lists(names), declared_at=places))),
    said(files=st.dictionaries(paths, ranked(entries), max_size=2)),
    said(units=lists(st.builds(Unit, st.just("a.service"), maybe_texts, maybe_states, declared_at=places))),
    said(persist=lists(paths, st.builds(Persist, paths, mode=maybe_modes, declared_at=places))),
    said(kernel_parameters=lists(st.sampled_from(["quiet", "a=1"]))),
    said(sysctl=st.dictionaries(st.just("a.b"), ranked(st.sampled_from([1, "1", 2])), max_size=1)),
    said(hosts=st.dictionaries(st.just("192.0.2.1"), st.lists(names, max_size=2), max_size=1)),
    said(timezone=ranked(st.sampled_from(["Asia/Tokyo", "Europe/Rome"]))),
    said(root=ranked(st.builds(Tmpfs, size=st.sampled_from(["1G", "50%"]), declared_at=places))),
    said(disk=st.builds(Disk, nix=ranked(sizes), declared_at=places)),
)
nested = said(parts=st.lists(small, max_size=3))
parts = st.one_of(small, nested, said(parts=st.lists(nested, max_size=2)))
many = st.lists(parts, max_size=5)


def outcome(*some: Part) -> object:
    """All that can be seen of a host of these parts."""
    try:
        spec = combine(Host(name="h", parts=some, declared_at=Place("host.py", 1)))
    except DeclarationError as error:
        return error.faults
    return spec, to_json(spec), spec.origins, spec.warnings, resolution_key(spec)


def flat(part: Part) -> list[Part]:
    return [replace(part, parts=()), *(each for inner in part.parts for each in flat(inner))]


@patient
@given(many, st.randoms(use_true_random=False))
def test_the_order_and_nesting_of_parts_do_not_matter(some: list[Part], chance: random.Random) -> None:
    shuffled = [each for part in some for each in flat(part)]
    chance.shuffle(shuffled)
    assert outcome(*shuffled) == outcome(*some)


@patient
@given(many)
def test_saying_a_thing_twice_is_saying_it_once(some: list[Part]) -> None:
    assert outcome(*some, *some) == outcome(*some)


@patient
@given(many)
def test_equal_values_at_other_places_never_conflict(some: list[Part]) -> None:
    try:
        combine(Host(name="h", parts=some))
    except DeclarationError:
        return
    combine(Host(name="h", parts=[*some, *(replace(part, declared_at=Place("elsewhere.py", 5)) for part in some)]))


sayings = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([Rank.BASE, Rank.DEFAULT, Rank.PLAIN, Rank.FORCE]), places), min_size=1
)


@given(sayings)
def test_the_weightiest_wins_and_only_equals_conflict(values: list[tuple[int, Rank, Place]]) -> None:
    option = Option[int]("x")
    for value, rank, place in values:
        option.say(value=value, rank=rank, place=place)
    ledger = Ledger()
    settled = option.settle(ledger)[()]
    top = max(rank for _, rank, _ in values)
    strongest = {value for value, rank, _ in values if rank is top}
    assert settled in strongest
    assert bool(ledger.faults) == (len(strongest) > 1)
    assert {*ledger.origins["x"]} == {place for _, rank, place in values if rank is top}
    for fault in ledger.faults:
        assert {*fault.places} <= {*ledger.origins["x"]}
