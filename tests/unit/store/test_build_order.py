from typing import TYPE_CHECKING

import pytest

from anicca.errors import AniccaError
from anicca.store.derivation import Instantiated, instantiate, placeholder
from anicca.store.graph import topological
from anicca.store.hashes import hash_bytes
from anicca.store.path import StorePath
from anicca.store.schedule import run_in_order

if TYPE_CHECKING:
    from collections.abc import Mapping


def paths(count: int) -> list[StorePath]:
    return [StorePath("0" * 32, f"p{n}") for n in range(count)]


def drv(name: str, *inputs: Instantiated) -> Instantiated:
    return instantiate(name=name, system="builtin", builder="builtin:test", inputs=inputs)


def test_needs_come_first() -> None:
    a, b, c = paths(3)
    assert topological({c: [b], b: [a, b], a: []}) == [a, b, c]


def test_a_circle_is_named() -> None:
    a, b, c = paths(3)
    with pytest.raises(AniccaError, match=r"p0.*p1"):
        topological({a: [b], b: [a], c: []})


def test_work_starts_after_its_needs() -> None:
    a, b, c = paths(3)
    seen: list[StorePath] = []
    run_in_order({c: [a, b], b: [a], a: []}, seen.append, jobs=3)
    assert seen == [a, b, c]


def test_the_first_failure_stops_what_is_to_come() -> None:
    a, b, c = paths(3)
    needs: Mapping[StorePath, list[StorePath]] = {a: [], b: [a], c: []}
    seen: list[StorePath] = []

    def work(path: StorePath) -> None:
        if path == a:
            raise AniccaError("no")
        seen.append(path)

    with pytest.raises(AniccaError, match="no"):
        run_in_order(needs, work, jobs=1)
    assert seen == []
    with pytest.raises(AniccaError, match="no"):
        run_in_order(needs, work, jobs=1, keep_going=True)
    assert seen == [c]


def test_same_inputs_same_paths_and_any_change_another() -> None:
    a = drv("a")
    assert drv("a").path == a.path
    one, two = drv("x", a), drv("x", drv("b"))
    assert one.out != two.out
    assert instantiate(name="x", system="builtin", builder="builtin:test", inputs=[a], env={"v": "1"}).out != one.out


def test_how_a_fixed_output_is_made_changes_nothing_after_it() -> None:
    one, two = (
        instantiate(name="f", system="builtin", builder="builtin:fetch", env={"url": u}, fixed=hash_bytes(b""))
        for u in ("a", "b")
    )
    assert one.path != two.path
    assert one.out == two.out
    assert drv("x", one).out == drv("x", two).out
    assert drv("x", one).path != drv("x", two).path


def test_an_output_that_is_not_there_cannot_be_wanted() -> None:
    with pytest.raises(ValueError, match="no output dev"):
        instantiate(name="x", system="s", builder="b", inputs={drv("a"): ["dev"]})


def test_placeholder_of_out() -> None:
    assert placeholder("out") == "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"
