from __future__ import annotations

from anicca.declare.merge import Ledger, Option, show_value
from anicca.declare.rank import Rank, Ranked, default, force, weigh
from anicca.errors import Place

A, B, C = Place("a.py", 1), Place("b.py", 2), Place("c.py", 3)


def settle(*said: tuple[object, Place], rank: Rank = Rank.PLAIN) -> tuple[object, Ledger]:
    option: Option[object] = Option("timezone")
    for value, place in said:
        option.say(value=value, rank=rank, place=place)
    ledger = Ledger()
    return option.settle(ledger)[()], ledger


def test_a_plain_value_wins_over_a_default_and_loses_to_a_forced_one() -> None:
    assert settle((default("x"), A), ("y", B))[0] == "y"
    assert settle(("y", A), (force("z"), B), (default("x"), C))[0] == "z"


def test_what_was_outweighed_is_no_origin() -> None:
    assert settle((default("x"), A), ("y", B))[1].origins == {"timezone": (B,)}


def test_equal_values_agree_and_keep_both_places() -> None:
    value, ledger = settle(("x", B), ("x", A))
    assert value == "x"
    assert ledger.origins == {"timezone": (A, B)}
    assert ledger.faults == []


def test_two_values_of_one_weight_are_a_fault_that_names_both_places() -> None:
    _, ledger = settle(("y", B), ("x", A))
    (fault,) = ledger.faults
    assert fault.message == "timezone has 2 values: 'x' and 'y'"
    assert fault.places == (A, B)
    assert fault.hint == "say it once, let one yield with default(…), or let one win with force(…)"


def test_two_defaults_and_two_forced_values_conflict_too() -> None:
    _, ledger = settle((default("x"), A), (default("y"), B))
    assert ledger.faults[0].message == "timezone has 2 defaults: 'x' and 'y'"
    _, ledger = settle((force("x"), A), (force("y"), B), ("z", C))
    assert ledger.faults[0].message == "timezone has 2 forced values: 'x' and 'y'"
    assert ledger.faults[0].hint == "only one can win: take force(…) from the others"


def test_conflicting_defaults_do_not_matter_where_something_is_said_plainly() -> None:
    value, ledger = settle((default("x"), A), (default("y"), B), ("z", C))
    assert value == "z"
    assert ledger.faults == []


def test_options_of_a_kind_settle_by_key_in_order() -> None:
    option = Option[str]("users[{}].shell")
    option.say("bob", value="/bin/sh", rank=Rank.PLAIN, place=A)
    option.say("ann", value="/bin/zsh", rank=Rank.PLAIN, place=B)
    option.say("ann", value=None, rank=Rank.FORCE, place=C)
    ledger = Ledger()
    assert list(option.settle(ledger).items()) == [(("ann",), "/bin/zsh"), (("bob",), "/bin/sh")]
    assert ledger.origins == {"users[ann].shell": (B,), "users[bob].shell": (A,)}


def test_weigh_takes_the_value_out() -> None:
    assert weigh("x", Rank.BASE) == ("x", Rank.BASE)
    said: str | Ranked[str] = force("x")
    assert weigh(said, Rank.BASE) == ("x", Rank.FORCE)


def test_long_values_are_shown_short() -> None:
    assert len(show_value("x" * 500)) == 60
    assert show_value("x") == "'x'"
