"""What the guard said, read, kept and acknowledged."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from anicca.cli.context import Context
from anicca.cli.guard import guard
from anicca.errors import AniccaError
from anicca.roots.facts import acknowledge, parse_facts, read_facts, unacknowledged
from anicca.system.status import read_incidents

if TYPE_CHECKING:
    from pathlib import Path

BLANK = {
    "root": "f2fs",
    "backend": "f2fs",
    "device": "/dev/vda3",
    "outcome": "blank",
    "reasons": [],
    "options": "rw",
    "seconds": 0.41,
    "mount_seconds": 0.2,
    "waited_seconds": 0,
}
AFRESH = {**BLANK, "outcome": "made-afresh", "reasons": ["not blank: it holds /x"]}


@pytest.mark.parametrize(
    ("changes", "ordinary"),
    [
        ({}, True),
        ({"outcome": "made"}, True),
        ({"outcome": "made-afresh", "reasons": ["x"]}, False),
        ({"outcome": "fell-back", "reasons": ["x"]}, False),
        ({"reasons": ["mount with no_such_option: x"]}, False),
        ({"reasons": ["a soft reboot: a new directory"]}, True),
        ({"outcome": "something new"}, False),
    ],
)
def test_what_needs_no_look(changes: dict[str, object], ordinary: bool) -> None:
    assert parse_facts(json.dumps({**BLANK, **changes})).is_ordinary is ordinary


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"outcome": 1}', "{"])
def test_what_are_no_facts(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"facts|Expecting"):
        parse_facts(text)
    (tmp_path / "guard.json").write_text(text)
    with pytest.raises(AniccaError):
        read_facts(tmp_path / "guard.json")


def test_facts_of_a_guard_that_said_little() -> None:
    facts = parse_facts('{"root": "tmpfs", "outcome": "fell-back", "reasons": ["the guard ended without a word"]}')
    assert facts.seconds == 0
    assert str(facts).endswith("(tmpfs): the guard ended without a word")


def test_incidents_stay_until_they_are_acknowledged(tmp_path: Path) -> None:
    assert unacknowledged(tmp_path / "none") == acknowledge(tmp_path / "none") == ()
    for number, said in enumerate((json.dumps(AFRESH), '{"outc')):
        (tmp_path / f"boot{number}.json").write_text(said)
        os.utime(tmp_path / f"boot{number}.json", (number, number))
    (tmp_path / "boot3.new").write_text("{")
    first, second = unacknowledged(tmp_path)
    assert (first.boot, first.facts.reasons) == ("boot0", ("not blank: it holds /x",))
    assert second.facts.reasons == ("its facts were not written down whole",)
    assert len(read_incidents(tmp_path)) == 2
    assert acknowledge(tmp_path) == (first, second)
    assert unacknowledged(tmp_path) == ()
    assert {path.name for path in (tmp_path / "acknowledged").iterdir()} == {"boot0.json", "boot1.json"}


def test_the_command_line(tmp_path: Path) -> None:
    facts, history = tmp_path / "guard.json", tmp_path / "history"
    history.mkdir()
    facts.write_text(json.dumps(BLANK))
    (history / "boot.json").write_text(json.dumps(AFRESH))
    os.utime(history / "boot.json", (0, 0))
    where = [f"--history={history}"]

    def run(*arguments: str, as_json: bool = False) -> str:
        done = CliRunner().invoke(guard, arguments, obj=Context(json=as_json), catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    assert run("show", *where, f"--facts={facts}").splitlines() == [
        "this boot: the root was blank (f2fs)",
        "1970-01-01 00:00:00 UTC: THE ROOT WAS MADE AFRESH (f2fs): not blank: it holds /x",
    ]
    said = json.loads(run("show", *where, f"--facts={facts}", as_json=True))
    assert said["now"]["outcome"] == "blank"
    assert said["unacknowledged"][0]["facts"]["reasons"] == ["not blank: it holds /x"]
    assert "MADE AFRESH" in run("acknowledge", *where)
    assert run("acknowledge", *where) == "there was nothing to acknowledge\n"
    assert run("show", *where, f"--facts={tmp_path}/none") == "no guard has run at this boot\n"
