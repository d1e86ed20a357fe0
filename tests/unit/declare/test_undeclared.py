"""Rules and what is remembered: where they end up, what is refused, and that order does not matter."""

from __future__ import annotations

import json

import pytest

from anicca.declare import Host, Part, Remember, Rule
from anicca.declare.combine import combine
from anicca.declare.lower_undeclared import REMEMBER_FILE, REMEMBER_UNIT, RULES_FILE
from anicca.declare.services import tool
from anicca.declare.spec import FileSpec, Spec
from anicca.errors import DeclarationError


def content(spec: Spec, path: str) -> object:
    found = next((one for one in spec.files if one.path == path), None)
    return json.loads(found.content) if isinstance(found, FileSpec) else None


def units(spec: Spec) -> set[str]:
    return {unit.name for unit in spec.units}


def test_a_host_without_the_program_or_rules_has_none_of_it() -> None:
    spec = combine(Host(name="h"))
    assert (content(spec, RULES_FILE), content(spec, REMEMBER_FILE)) == (None, None)
    assert REMEMBER_UNIT not in units(spec)


def test_a_host_with_the_program_remembers_unless_it_says_otherwise() -> None:
    spec = combine(Host(name="h", parts=[tool()]))
    assert content(spec, REMEMBER_FILE) == {"size_bytes": 64 << 20, "file_bytes": 1 << 20, "days": 14}
    assert REMEMBER_UNIT in units(spec)
    spec = combine(Host(name="h", parts=[tool()], remember=Remember(days=0)))
    assert content(spec, REMEMBER_FILE) is None
    assert REMEMBER_UNIT not in units(spec)
    spec = combine(Host(name="h", parts=[tool()], remember=Remember(file="2M")))
    assert content(spec, REMEMBER_FILE) == {"size_bytes": 64 << 20, "file_bytes": 2 << 20, "days": 14}


def test_rules_of_all_parts_are_one_file_whatever_their_order() -> None:
    parts = [
        Part(rules=[Rule("/srv/b/**", "cache", why="made again"), Rule("/srv/a", "secret")]),
        Part(rules=[Rule("/srv/a", "user data"), Rule("/srv/b/**", "cache")]),
    ]
    specs = [combine(Host(name="h", parts=order)) for order in (parts, parts[::-1])]
    assert specs[0] == specs[1]
    assert content(specs[0], RULES_FILE) == {
        "rules": [
            {"path": "/srv/a", "kind": "user data", "why": ""},
            {"path": "/srv/b/**", "kind": "cache", "why": "made again"},
            {"path": "/srv/a", "kind": "secret", "why": ""},
        ]
    }
    assert specs[0].origins["rules[/srv/b/**]"]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (Host(name="h", rules=[Rule("/a", "nonsense")]), "no kind of rule"),  # type: ignore[arg-type]
        (Host(name="h", rules=[Rule("a", "log")]), "not a pattern of absolute paths"),
        (Host(name="h", rules=[Rule("/a/../b", "secret")]), "not a pattern of absolute paths"),
        (Host(name="h", rules=[Rule("/a/[b", "log")]), "bracket"),
        (Host(name="h", rules=[Rule("/**", "expected")]), "would hide all drift"),
        (Host(name="h", rules=[Rule("/a", "log"), Rule("/a", "cache")]), "has 2 values"),
        (Host(name="h", rules=["/a"]), "holds '/a'"),  # type: ignore[list-item]
        (Host(name="h", remember=Remember(size="much")), "not a size"),
        (Host(name="h", remember=Remember(days=-1)), "not a number of days"),
        (Host(name="h", remember=7), "remember is 7"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(host: Host, message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        combine(host)
    assert any(message in fault.message and fault.places for fault in caught.value.faults)
