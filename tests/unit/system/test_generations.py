from pathlib import Path

import pytest

from anicca.declare.load import evaluate
from anicca.errors import RefusedError
from anicca.store.path import StorePath
from anicca.system.generations import Generation, Seen, origins_of, plan_deletion

EXAMPLE = Path(__file__).parents[3] / "examples/sundryvm/host.py"

DAY = 86400


def path(number: int) -> StorePath:
    return StorePath(f"{number:032d}".replace("e", "0"), "system-h")


def made(*numbers: int) -> tuple[Generation, ...]:
    return tuple(Generation(number=n, system=path(n), created=n * DAY) for n in numbers)


SEEN = Seen(generations=made(1, 2, 3, 4, 5, 6), next=6, good=4, running=path(5), booted=path(3), last_number=6)


def deleted(seen: Seen, **rule: float) -> list[int]:
    return [one.number for one in plan_deletion(seen, **rule)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"keep": 1}, [1, 2]),
        ({"keep": 5}, [1]),
        ({"keep": 0}, [1, 2]),
        ({"keep": 9}, []),
        ({"older_than_seconds": 8 * DAY, "now": 10.5 * DAY}, [1, 2]),
        ({"older_than_seconds": 9 * DAY, "now": 10.5 * DAY}, [1]),
        # Both: one that is old enough, yet among the newest to be kept, stays.
        ({"older_than_seconds": 8 * DAY, "now": 10.5 * DAY, "keep": 5}, [1]),
        ({}, []),
    ],
)
def test_what_is_running_booted_next_or_good_never_goes(rule: dict[str, float], expected: list[int]) -> None:
    assert deleted(SEEN, **rule) == expected


@pytest.mark.parametrize(
    ("number", "why"),
    [(3, "it was booted"), (4, "seen healthy"), (5, "it is running"), (6, "the next boot takes it"), (7, "no gener")],
)
def test_asked_for_by_number_they_are_refused(number: int, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        plan_deletion(SEEN, numbers=[1, number])


def test_others_go_by_number() -> None:
    assert [one.number for one in plan_deletion(SEEN, numbers=[2, 1])] == [1, 2]


def test_two_generations_of_the_running_system_both_stay() -> None:
    same = (*made(1, 2), Generation(number=3, system=path(1), created=0))
    assert deleted(Seen(generations=same, next=3, running=path(1)), keep=0) == [2]


def test_a_number_is_never_given_twice() -> None:
    assert SEEN.next_number == 7
    assert Seen(generations=made(1, 2), last_number=9).next_number == 10
    assert Seen(generations=()).next_number == 1


def test_a_rollback_goes_before_the_next_boot() -> None:
    before = SEEN.before()
    assert before is not None
    assert before.number == 5
    assert Seen(generations=made(1), next=1).before() is None


def test_origins_are_told_from_the_folder_of_the_declaration() -> None:
    found = origins_of(evaluate(EXAMPLE), EXAMPLE.parent)
    assert found["disk.nix"][0].startswith("host.py:")
    files = {place.rpartition(":")[0] for places in found.values() for place in places}
    assert {"host.py", "web.py"} <= files
    assert not [file for file in files if file.startswith("/")]
