from __future__ import annotations

import dataclasses

import pytest

from anicca.debian.archive import Mirrors
from anicca.debian.lock import Pin
from anicca.errors import AniccaError

PIN = Pin(
    name="libfoo",
    version="1:2.0~rc1+deb13u1",
    architecture="amd64",
    archive="debian-security",
    filename="pool/updates/main/libf/libfoo/libfoo_2.0~rc1+deb13u1_amd64.deb",
    size_bytes=1,
    sha256="ab" * 32,
)
QUOTED = "pool/updates/main/libf/libfoo/libfoo_2.0~rc1%2Bdeb13u1_amd64.deb"
BASES = {"debian": "http://mirror.example/debian", "debian-security": "http://mirror.example/debian-security/"}
WHEN = "20261122T020905Z"


def mirrors(snapshot: str | None = None) -> Mirrors:
    return Mirrors(bases={"debian": BASES["debian"], "debian-security": BASES["debian-security"]}, snapshot=snapshot)


def test_the_mirror_of_the_pins_own_archive_is_asked_and_the_plus_is_quoted() -> None:
    assert mirrors().addresses(PIN, WHEN) == (f"http://mirror.example/debian-security/{QUOTED}",)
    plain = dataclasses.replace(PIN, archive="debian")
    assert mirrors().addresses(plain, WHEN) == (f"http://mirror.example/debian/{QUOTED}",)


@pytest.mark.parametrize(
    ("template", "address"),
    [
        ("http://past.example/archive/", f"http://past.example/archive/debian-security/{WHEN}/{QUOTED}"),
        ("http://past.example/{timestamp}", f"http://past.example/{WHEN}/debian-security/{WHEN}/{QUOTED}"),
        ("http://past.example/{archive}/{filename}", f"http://past.example/debian-security/{QUOTED}"),
        ("http://past.example/by-hash/{sha256}", f"http://past.example/by-hash/{'ab' * 32}"),
        ("file:///srv/past", f"file:///srv/past/debian-security/{WHEN}/{QUOTED}"),
    ],
)
def test_a_snapshot_archive_is_asked_last(template: str, address: str) -> None:
    assert mirrors(template).addresses(PIN, WHEN)[1:] == (address,)


def test_a_placeholder_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(AniccaError, match=r"has a placeholder \{date\}") as caught:
        mirrors("http://past.example/{date}/").addresses(PIN, WHEN)
    assert caught.value.faults[0].hint == "there are {archive}, {timestamp}, {filename}, {sha256}"
