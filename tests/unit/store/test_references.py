import random

import pytest

from anicca.store.path import StorePath
from anicca.store.references import ReferenceScanner, scan

ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"


def part(seed: int) -> str:
    return "".join(random.Random(seed).choices(ALPHABET, k=32))


CANDIDATES = [StorePath(part(n), f"n{n}") for n in range(40)]


@pytest.mark.parametrize("count", [1, 6, 7, 40])
@pytest.mark.parametrize("size", [1, 5, 31, 32, 33, 1000])
def test_found_across_every_border(count: int, size: int) -> None:
    wanted = {CANDIDATES[0], CANDIDATES[count - 1]}
    text = b"\0\1zz" * 20 + CANDIDATES[0].hash_part.encode() + b"e" + CANDIDATES[count - 1].hash_part.encode() + b"tail"
    scanner = ReferenceScanner(CANDIDATES[:count])
    for start in range(0, len(text), size):
        scanner.update(text[start : start + size])
    assert scanner.found == wanted


@pytest.mark.parametrize("count", [3, 40])
def test_within_a_long_run_of_the_alphabet(count: int) -> None:
    noise = ALPHABET.encode() * 200
    text = noise + CANDIDATES[2].hash_part.encode() + noise
    assert scan(text, CANDIDATES[:count]) == {CANDIDATES[2]}


def test_nothing_is_found_in_nothing() -> None:
    assert scan(b"", CANDIDATES) == set()
    assert scan(CANDIDATES[0].hash_part[:31].encode(), CANDIDATES) == set()
