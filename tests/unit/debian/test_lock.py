from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from anicca.debian.lock import (
    FIRST_DYNAMIC,
    FIRST_LOGIN,
    LAST_DYNAMIC,
    Change,
    Lock,
    Pin,
    allocate,
    diff_pins,
    lock_path,
    parse_lock,
)
from anicca.errors import AniccaError, DeclarationError

PATH = Path("host.lock")


def pin(name: str = "curl", version: str = "8.14.1-2+deb13u7", **changes: object) -> Pin:
    made = Pin(
        name=name,
        version=version,
        architecture="amd64",
        archive="debian",
        filename=f"pool/main/c/{name}/{name}_{version}_amd64.deb",
        size_bytes=1000,
        sha256="ab" * 32,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def lock(**changes: object) -> Lock:
    made = Lock(
        release="trixie",
        architecture="amd64",
        resolution="cd" * 32,
        epoch=1_795_252_544,
        packages=(pin("curl"), pin("less", "668-1")),
        toolchain=(pin("mmdebstrap", "1.5.7-1"),),
        users={"root": 0, "ann": 1000},
        groups={"root": 0, "ann": 1000},
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_a_lock_survives_its_file() -> None:
    assert parse_lock(lock().to_json(), PATH) == lock()


def test_a_lock_without_modules_says_nothing_of_them() -> None:
    assert b"modules" not in lock().to_json()
    built = lock(modules=(pin("zfs-dkms", "2.3"), pin("gcc", "14")))
    assert parse_lock(built.to_json(), PATH) == dataclasses.replace(built, modules=built.modules[::-1])


def test_the_file_has_a_package_and_an_id_a_line_so_that_diffs_are_small() -> None:
    before, after = lock(), lock(packages=(pin("curl", "9"), pin("less", "668-1")), users={"root": 0, "ann": 1000})
    changed = set(before.to_json().splitlines()) ^ set(after.to_json().splitlines())
    assert len(changed) == 2


def test_the_order_of_pins_in_memory_is_not_in_the_file() -> None:
    swapped = lock(packages=tuple(reversed(lock().packages)), users={"ann": 1000, "root": 0})
    assert swapped.to_json() == lock().to_json()


def test_the_lock_lies_beside_the_host_file() -> None:
    assert lock_path(Path("hosts/web.py")) == Path("hosts/web.lock")


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        (b"", "not valid JSON", 1),
        (lock().to_json()[:200], "not valid JSON", 8),
        (b"<<<<<<< HEAD\n" + lock().to_json(), "not valid JSON", 1),
        (b"[]", "not a lock", 1),
        (b'{"format": 1}', "not a lock: KeyError('release')", 1),
        (lock().to_json().replace(b'"format": 1', b'"format": 2'), "format 2; this anicca reads format 1", 2),
        (lock().to_json().replace(b'"sha256"', b'"sha512"'), "not a lock: KeyError('sha256')", 1),
        (b"\xff\xfe", "not valid JSON", 1),
    ],
)
def test_a_damaged_lock_is_named_with_what_to_do(content: bytes, message: str, line: int) -> None:
    with pytest.raises(DeclarationError) as caught:
        parse_lock(content, PATH)
    (fault,) = caught.value.faults
    assert fault.message.startswith(message)
    assert [str(place) for place in fault.places] == [f"host.lock:{line}"]
    assert fault.hint is not None
    assert "version control" in fault.hint
    assert caught.value.exit_status == 3


def test_differences_of_pins_by_name() -> None:
    old = (pin("a", "1"), pin("b", "1"), pin("c", "1"))
    new = (pin("b", "2"), pin("c", "1"), pin("d", "1"))
    assert diff_pins(old, new) == (
        Change(name="a", old="1", new=None),
        Change(name="b", old="1", new="2"),
        Change(name="d", old=None, new="1"),
    )


def test_fixed_ids_stay_debians() -> None:
    assert allocate({}, {"root": 0, "www-data": 33, "nobody": 65534}, ()) == {
        "root": 0,
        "www-data": 33,
        "nobody": 65534,
    }


def test_a_dynamic_id_stays_although_the_tree_now_says_another() -> None:
    assert allocate({"crontab": 997}, {"_chrony": 997, "crontab": 998}, ()) == {"crontab": 997, "_chrony": 999}


def test_the_trees_own_number_is_taken_where_it_is_free() -> None:
    assert allocate({}, {"messagebus": 990}, ()) == {"messagebus": 990}


def test_a_name_that_went_away_keeps_its_number_from_others() -> None:
    ids = allocate({}, {"postgres": 999}, ())
    ids = allocate(ids, {}, ())
    ids = allocate(ids, {"redis": 999}, ())
    assert ids == {"postgres": 999, "redis": 998}
    assert allocate(ids, {"postgres": 997}, ())["postgres"] == 999


def test_people_come_from_their_own_range_in_the_order_of_the_declaration() -> None:
    assert allocate({}, {}, ("bob", "ann")) == {"bob": FIRST_LOGIN, "ann": FIRST_LOGIN + 1}


def test_no_id_left_is_an_error_and_not_a_shared_id() -> None:
    full = {f"s{number}": number for number in range(FIRST_DYNAMIC, LAST_DYNAMIC + 1)}
    with pytest.raises(AniccaError, match="no id is left for one-more: 999 to 100 are all given"):
        allocate(full, {"one-more": 150}, ())


def test_the_format_is_plain_json() -> None:
    record = json.loads(lock().to_json())
    assert record["format"] == 1
    assert record["packages"][0]["filename"].endswith("curl_8.14.1-2+deb13u7_amd64.deb")
