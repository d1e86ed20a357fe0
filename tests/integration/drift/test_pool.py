"""Work done by other processes: in the order of asking, whatever each takes, and never silently not at all."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from anicca.drift.pool import MOST_PENDING, REQUEST_BYTES, Aside, Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration


def slow_first(number: int) -> tuple[int, int]:
    if number == 0:
        time.sleep(0.3)
    return number * number, os.getpid()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_answers_come_in_order_from_whoever_is_free(count: int) -> None:
    asked = ((f"kept {number}", number if number % 10 else None) for number in range(500))
    with closing(Pool(lambda number: slow_first(number - 1), count)) as pool:
        found = list(pool.run(asked))
    assert [kept for kept, _ in found] == [f"kept {number}" for number in range(500)]
    assert [answer and answer[0] for _, answer in found] == [
        (number - 1) ** 2 if number % 10 else None for number in range(500)
    ]
    pids = {answer[1] for _, answer in found if answer}
    assert len(pids) == max(count, 1)
    assert (os.getpid() in pids) == (count == 0)


def test_what_fits_into_no_pipe_is_done_here() -> None:
    with closing(Pool(lambda text: (len(text), os.getpid()), 2)) as pool:
        found = dict(pool.run([("small", b"x"), ("large", bytes(REQUEST_BYTES)), ("answer", b"y" * 100)]))
    assert found["large"] == (REQUEST_BYTES, os.getpid())
    assert found["small"][1] != os.getpid()


def test_answers_larger_than_a_pipe_do_not_stop_it() -> None:
    with closing(Pool(lambda number: bytes(1 << 20) if number % 2 else b"", 2)) as pool:
        assert [len(answer) for _, answer in pool.run((None, number) for number in range(40))] == [0, 1 << 20] * 20


def test_it_asks_no_further_than_it_can_hold() -> None:
    taken = []

    def asked() -> Iterator[tuple[int, int]]:
        for number in range(1000):
            taken.append(number)
            yield number, number

    def work(number: int) -> int:
        if number == 0:
            time.sleep(0.5)
        return number

    with closing(Pool(work, 2)) as pool:
        answers = pool.run(asked())
        assert next(answers) == (0, 0)
        assert len(taken) <= 2 * MOST_PENDING + 1


def test_a_process_that_is_killed_is_an_error_and_so_is_a_bug_in_it() -> None:
    def end(_request: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with closing(Pool(end, 2)) as pool, pytest.raises(OSError, match="ended"):
        list(pool.run([("a", 1), ("b", 2)]))
    with closing(Pool(lambda number: 1 // number, 2)) as pool, pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(pool.run([("a", 1), ("b", 0)]))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_is_found_aside_comes_in_order_and_so_does_what_was_raised() -> None:
    def found() -> Iterator[int]:
        yield from range(1000)
        raise ValueError("no entry")

    got: list[int] = []
    with closing(Aside(found)) as aside, pytest.raises(ValueError, match="no entry"):
        got.extend(aside)
    assert got == list(range(1000))
    with closing(Aside(lambda: range(1000))) as aside:
        assert list(aside) == list(range(1000))


def test_a_process_aside_that_is_gone_is_seen_and_one_that_nobody_hears_is_ended() -> None:
    def killed() -> Iterator[int]:
        yield 1
        os.kill(os.getpid(), signal.SIGKILL)

    with closing(Aside(killed)) as aside, pytest.raises(OSError, match="ended"):
        list(aside)
    with closing(Aside(lambda: iter(int, 1))) as aside:
        assert next(iter(aside)) == 0
