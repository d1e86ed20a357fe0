"""The three classes on the smallest histories that have them."""

from __future__ import annotations

import pytest

from anicca.drift.classify import Observed, classify, render


def history(*later: str) -> list[Observed]:
    """Observations whose differences are single letters."""
    names = ["first", *later]
    return [
        Observed(name, 100, frozenset((letter.encode(), "added", "") for letter in differences))
        for name, differences in zip(names, ["", *later], strict=True)
    ]


@pytest.mark.parametrize(
    ("later", "verdict"),
    [
        (["", ""], "congruent"),
        (["abc", ""], "congruent"),
        (["abc", "xyz", ""], "congruent"),
        (["abcd", "a"], "convergent"),
        (["abcd", "ab", "abx"], "convergent"),
        (["abcd", "abcd"], "divergent"),
        (["a", "ab", "abc"], "divergent"),
        (["", "abc"], "divergent"),
        (["abc"], "undecided"),
    ],
)
def test_the_class_of_a_history(later: list[str], verdict: str) -> None:
    assert classify(history(*later)).name == verdict


def test_the_numbers_it_rests_on() -> None:
    found = classify(history("abcd", "ab", "a"))
    assert (found.counts, found.seen, found.returned, found.lasting) == ((4, 2, 1), 4, 3, 1)
    assert found.half_life == pytest.approx(1.0)
    assert classify(history("ab", "ab")).half_life is None
    assert classify(history("ab", "")).half_life == 0


def test_a_host_to_which_nothing_happened_is_said_to_have_shown_little() -> None:
    assert "rests on little" in classify(history("", "")).why
    assert "rests on little" not in classify(history("", ""), disturbed=True).why


def test_one_is_a_difference_and_two_are_differences() -> None:
    one = classify(history("a", ""))
    assert one.why == "1 difference seen, none of them there at the last observation"
    assert render(one, ["x", "y", "z"])[3:5] == ["  y  1 difference", "  z  0 differences"]
    assert classify(history("ab", "")).why.startswith("2 differences seen")


def test_the_lines_name_every_observation() -> None:
    lines = render(classify(history("ab", "b")), ["one", "two", "three"])
    assert lines[0].startswith("convergent: 1 of 2")
    assert [line.split()[0] for line in lines[2:5]] == ["one", "two", "three"]
