"""Nothing that a person can write leads to a traceback: it is a spec, or faults with places."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anicca.declare import (
    Dhcp,
    Directory,
    Disk,
    F2fs,
    File,
    Group,
    Host,
    Link,
    Part,
    Persist,
    Static,
    Tmpfs,
    Unit,
    User,
    absent,
    default,
    force,
)
from anicca.declare.combine import combine
from anicca.declare.ids import check_ids
from anicca.declare.spec import to_json
from anicca.errors import DeclarationError, Fault, Place

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 9999),
    st.text(max_size=3),
    st.sampled_from(["/etc/x", "/", "", "a b", "\ud800", "\0", "\n", "/srv/\udcff", "x.service", "8G", "a" * 99]),
    st.binary(max_size=2),
    st.just(object()),
    st.builds(absent, st.text(max_size=2)),
)
keys = st.one_of(st.text(max_size=2), st.integers(), st.sampled_from(["/etc/x", "\ud800"]))
anything = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.tuples(inner),
        st.dictionaries(
            st.one_of(st.text(max_size=2), st.integers(), st.sampled_from(["/etc/x", "\ud800"])), inner, max_size=2
        ),
        inner.map(default),
        inner.map(force),
        st.sampled_from([File, Link, User, Group, Unit, Persist, Directory, Tmpfs, F2fs, Dhcp, Static, Disk]).flatmap(
            lambda kind: said(kind, inner)
        ),
    ),
    max_leaves=4,
)


def said(kind: type, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A declaration of which one field holds anything, and the needed ones something."""
    names = [field.name for field in fields(kind) if field.name != "declared_at"]
    needed = {"name": "x", "path": "/srv/x", "content": "", "target": "x", "addresses": ["192.0.2.1/24"]}
    least = {name: value for name, value in needed.items() if name in names}
    return st.builds(
        lambda name, value: kind(**{**least, name: value}, declared_at=Place("x.py", 1)), st.sampled_from(names), values
    )


FIELDS = [field.name for field in fields(Part) if field.name != "declared_at"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.dictionaries(st.sampled_from([*FIELDS, "name", "release", "architecture"]), anything, max_size=2))
def test_any_value_of_any_field_gives_a_spec_or_faults(values: dict[str, Any]) -> None:
    faults: tuple[Fault, ...] = ()
    try:
        spec = combine(Host(**{"name": "h", **values}))
        check_ids(spec, {"root"}, {"root"})
        assert to_json(spec)
    except DeclarationError as error:
        faults = error.faults or pytest.fail("an error without a fault")
    for fault in faults:
        assert fault.places, fault
        str(fault).encode()
