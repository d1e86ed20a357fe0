from __future__ import annotations

import dataclasses
import hashlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from anicca import process
from anicca.debian.archive import Mirrors
from anicca.debian.fetch import Fetcher, PinsGoneError
from anicca.debian.lock import Pin
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

pytestmark = pytest.mark.integration

EPOCH = 1_795_252_544
WHEN = "20261121T091544Z"


def pin(name: str, content: bytes = b"the package") -> Pin:
    return Pin(
        name=name,
        version="1.0+1",
        architecture="amd64",
        archive="debian",
        filename=f"pool/{name}_1.0+1.deb",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


PLACE = "pool/curl_1.0%2B1.deb"
CURL = pin("curl")


def fetcher(cache: Path, address: str, *, snapshot: str | None = None, **more: Any) -> Fetcher:
    mirrors = Mirrors(bases={"debian": address, "debian-security": address}, snapshot=snapshot)
    return Fetcher(cache=cache, find_mirrors=lambda: mirrors, epoch=EPOCH, **more)


def closed_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_package_is_fetched_once_and_checked(archive: Any, tmp_path: Path) -> None:
    archive.files[PLACE] = b"the package"
    assert fetcher(tmp_path, archive.address).fetch(CURL).read_bytes() == b"the package"
    assert fetcher(tmp_path, "http://never.invalid").fetch(CURL).read_bytes() == b"the package"
    assert archive.asked == [PLACE]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{CURL.sha256}.deb"]


def test_a_mirror_that_does_not_answer_is_named_and_asked_for_one_package_only(tmp_path: Path) -> None:
    host = closed_port()
    pins = [pin(f"p{number}") for number in range(60)]
    started = time.monotonic()
    with pytest.raises(PinsGoneError) as caught:
        fetcher(tmp_path, f"http://{host}").fetch_all(pins)
    assert time.monotonic() - started < 20
    text = str(caught.value)
    assert text.startswith("60 pinned packages are nowhere to be had:\n  p0 1.0+1: ")
    assert f"{host} does not answer" in text
    assert "no snapshot archive is named" in text


def test_a_mirror_that_serves_another_file_is_caught_by_the_hash(archive: Any, tmp_path: Path) -> None:
    archive.files[PLACE] = b"something else"
    with pytest.raises(PinsGoneError) as caught:
        fetcher(tmp_path, archive.address).fetch(CURL)
    wrong = hashlib.sha256(b"something else").hexdigest()[:16]
    assert f"serves another file (14 bytes, SHA-256 {wrong}…; pinned are 11 bytes, {CURL.sha256[:16]}…)" in str(
        caught.value
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_version_that_is_gone_says_what_took_its_place_and_the_command_that_moves_it(
    archive: Any, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    def superseded(pins: Sequence[Pin], found: Fetcher) -> Mapping[str, str]:
        asked.append([pin.name for pin in pins])
        since = found.uploaded(dataclasses.replace(CURL, filename="pool/curl_2.deb"))
        assert since is not None
        return {"curl": f"superseded by 2 since {since:%Y-%m-%d}"}

    archive.files["pool/curl_2.deb"] = b"newer"
    archive.files["pool/less_1.0%2B1.deb"] = b"less"
    less = pin("less", b"less")
    wanted = fetcher(tmp_path, archive.address, superseded=superseded)
    with pytest.raises(PinsGoneError) as caught:
        wanted.fetch_all([CURL, less])
    assert str(caught.value).startswith("1 pinned package is nowhere to be had:\n")
    assert "  curl 1.0+1 (superseded by 2 since 2026-11-18): 127.0.0.1" in str(caught.value)
    assert "answers with status 404; no snapshot archive is named" in str(caught.value)
    hint = caught.value.faults[0].hint
    assert hint is not None
    assert "anicca lock HOST.py --update curl`" in hint
    assert asked == [["curl"]]
    assert wanted.path(less).exists(), "the others were fetched all the same"


def test_the_snapshot_archive_is_tried_last(archive: Any, tmp_path: Path) -> None:
    archive.files[f"past/debian/{WHEN}/{PLACE}"] = b"the package"
    fetcher(tmp_path, archive.address, snapshot=f"{archive.address}/past").fetch(CURL)
    assert archive.asked == [PLACE, f"past/debian/{WHEN}/{PLACE}"]


def test_an_archive_on_this_machine_needs_no_server(tmp_path: Path) -> None:
    place = tmp_path / "past/debian" / WHEN / CURL.filename
    place.parent.mkdir(parents=True)
    place.write_bytes(b"the package")
    here = fetcher(tmp_path / "cache", f"file://{tmp_path}/empty", snapshot=f"file://{tmp_path}/past")
    assert here.fetch(CURL).read_bytes() == b"the package"
    with pytest.raises(PinsGoneError, match=r"empty/pool/less_1.0\+1.deb: no such file"):
        here.fetch(pin("less", b"less"))


def test_a_server_in_trouble_is_asked_again_and_then_named(archive: Any, tmp_path: Path) -> None:
    archive.errors[PLACE] = 503
    with pytest.raises(PinsGoneError, match="answers with status 503"):
        fetcher(tmp_path, archive.address).fetch(CURL)
    assert archive.asked == [PLACE] * 3


def test_a_damaged_copy_in_the_cache_is_fetched_again(archive: Any, tmp_path: Path) -> None:
    archive.files[PLACE] = b"the package"
    wanted = fetcher(tmp_path / "cache", archive.address)
    wanted.fetch(CURL).write_bytes(b"half a pack")
    wanted.copy(CURL, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"the package"
    assert archive.asked == [PLACE] * 2


def test_two_at_once_fetch_the_same_package_without_harm(archive: Any, tmp_path: Path) -> None:
    archive.files[PLACE] = b"the package"
    fetchers = [fetcher(tmp_path, archive.address) for _ in range(4)]
    threads = [threading.Thread(target=each.fetch, args=(CURL,)) for each in fetchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{CURL.sha256}.deb"]


def test_a_full_disk_under_the_cache_is_said(archive: Any, tmp_path: Path) -> None:
    archive.files["pool/big_1.0%2B1.deb"] = bytes(2 << 20)
    small = tmp_path / "small"
    small.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small])
    try:
        with pytest.raises(
            AniccaError, match=r"the package cache cannot be written: .*No space left on device"
        ) as caught:
            fetcher(small, archive.address).fetch(pin("big", bytes(2 << 20)))
        assert not [path for path in small.rglob("*") if path.is_file()]
    finally:
        process.run(["umount", small])
    assert "ANICCA_CACHE" in str(caught.value.faults[0].hint)


def test_an_unknown_placeholder_is_said_before_anything_is_asked(archive: Any, tmp_path: Path) -> None:
    with pytest.raises(AniccaError, match=r"\{date\}"):
        fetcher(tmp_path, archive.address, snapshot="http://past.invalid/{date}").fetch(CURL)
    assert archive.asked == []
