from __future__ import annotations

from pathlib import Path

import pytest

from anicca.debian.apt import AptRoot, Wish, sources
from anicca.debian.archive import Mirrors
from anicca.debian.resolve import _UNMET, _parse
from anicca.errors import AniccaError

MIRRORS = Mirrors(
    bases={"debian": "http://mirror.example/debian/", "debian-security": "http://mirror.example/debian-security"}
)
APT = AptRoot(directory=Path("/nowhere"), options=(), mirrors=MIRRORS)
HASH = "ab" * 32


def test_pins_come_from_what_apt_prints() -> None:
    text = (
        "Reading package lists...\n"
        f"'http://mirror.example/debian/pool/main/libs/libssh2/libssh2-1t64_1.11.1-1%2bdeb13u2_amd64.deb' "
        f"libssh2-1t64_1.11.1-1+deb13u2_amd64.deb 245000 SHA256:{HASH}\n"
        f"'http://mirror.example/debian-security/pool/updates/main/p/perl/perl_5.40%7e1_all.deb' "
        f"perl_1%3a5.40~1_all.deb 1 SHA256:{HASH}\n"
    )
    first, second = _parse(APT, text, "amd64")
    assert (first.name, first.version, first.architecture) == ("libssh2-1t64", "1.11.1-1+deb13u2", "amd64")
    assert first.filename == "pool/main/libs/libssh2/libssh2-1t64_1.11.1-1+deb13u2_amd64.deb"
    assert (first.archive, first.size_bytes, first.sha256) == ("debian", 245_000, HASH)
    assert (second.name, second.version, second.archive) == ("perl", "1:5.40~1", "debian-security")
    assert second.filename == "pool/updates/main/p/perl/perl_5.40~1_all.deb"


def test_a_package_from_elsewhere_is_refused() -> None:
    line = f"'http://other.example/pool/x_1_all.deb' x_1_all.deb 1 SHA256:{HASH}"
    with pytest.raises(AniccaError, match="fetches from where it was not told to"):
        _parse(APT, line, "amd64")


def test_a_package_without_a_hash_is_refused() -> None:
    with pytest.raises(AniccaError, match="no SHA-256"):
        _parse(APT, "'http://mirror.example/debian/pool/x_1_all.deb' x_1_all.deb 1 MD5Sum:00", "amd64")


def test_what_is_in_the_way_of_another_is_read_from_apts_words() -> None:
    words = (
        "The following packages have unmet dependencies:\n"
        " openssl : Depends: libssl3t64 (>= 3.5.9) but 3.5.1-1 is to be installed\n"
        "           PreDepends: libc6:amd64 (>= 2.41) but 2.40 is to be installed\n"
        "           Depends: nothing-like-it but it is not installable\n"
        "E: Unable to correct problems, you have held broken packages.\n"
    )
    assert _UNMET.findall(words) == ["libssl3t64", "libc6:amd64"]


def test_the_security_suite_is_part_of_every_resolution() -> None:
    wish = Wish(release="trixie", architecture="amd64", components=("main", "contrib"), packages=(), places={})
    lines = sources(wish, MIRRORS).splitlines()
    assert [line.split("] ")[1] for line in lines] == [
        "http://mirror.example/debian/ trixie main contrib",
        "http://mirror.example/debian/ trixie-updates main contrib",
        "http://mirror.example/debian-security trixie-security main contrib",
    ]
    assert all("signed-by=" in line for line in lines)
