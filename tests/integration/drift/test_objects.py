"""An object read once: its hash is the store's, and of what is mounted only what is the same is taken out."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.drift.content import CHUNK_BYTES
from anicca.drift.objects import SMALL_BYTES, Mounted, hash_object
from anicca.errors import AniccaError
from anicca.store.nar import hash_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

SIZES = (0, 1, 7, 8, SMALL_BYTES - 1, SMALL_BYTES, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES)


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    """An object with a /usr."""
    usr = tmp_path / "object/usr"
    (usr / "lib/empty").mkdir(parents=True)
    (usr / "lib.d/x").mkdir(parents=True)
    for size in SIZES:
        (usr / f"lib/{size}").write_bytes(os.urandom(size))
    (usr / "lib.d/x/program").write_text("#!")
    (usr / "lib.d/x/program").chmod(0o755)
    (usr / "link").symlink_to("lib/1")
    os.close(os.open(os.fsencode(usr) + b"/lib/\xff\n", os.O_CREAT | os.O_WRONLY))
    return tmp_path / "object"


def left(thing: Path, usr: Path, *more: bytes) -> set[bytes]:
    """What is left of the object's files when a directory is mounted as /usr."""
    files = {b"/usr/lib/%d" % size for size in SIZES} | {b"/usr/lib.d/x/program", b"/usr/lib/\xff\n", *more}
    top = os.open(usr, os.O_RDONLY)
    try:
        with closing(Mounted(top, b"/usr", files)) as mounted:
            assert hash_object(os.fsencode(thing), mounted) == hash_path(thing)
            return mounted.left
    finally:
        os.close(top)


def test_all_that_is_the_same_is_taken_out(thing: Path) -> None:
    assert left(thing, thing / "usr") == set()
    assert left(thing, thing / "usr", b"/usr/not/there") == {b"/usr/not/there"}


def changes(usr: Path) -> Iterator[bytes]:
    """Each file, changed in one way; put back afterwards."""
    for size in SIZES:
        file = usr / f"lib/{size}"
        content = file.read_bytes()
        others = [content + b"x"]
        if size:
            others += [content[:-1], content[:-1] + bytes([content[-1] ^ 1]), bytes([content[0] ^ 1]) + content[1:]]
        for other in others:
            file.write_bytes(other)
            yield f"/usr/lib/{size}".encode()
        file.write_bytes(content)


def test_what_is_longer_or_shorter_or_has_another_byte_is_left(thing: Path, tmp_path: Path) -> None:
    usr = tmp_path / "usr"
    process.run(["cp", "-a", thing / "usr", usr])
    assert left(thing, usr) == set()
    for path in changes(usr):
        assert left(thing, usr) == {path}


def test_what_cannot_be_read_is_left_and_the_object_is_hashed(thing: Path, tmp_path: Path) -> None:
    usr = tmp_path / "usr"
    process.run(["cp", "-a", thing / "usr", usr])
    for size in (0, 8):
        (usr / f"lib/{size}").unlink()
        (usr / f"lib/{size}").mkdir()
    assert left(thing, usr) == {b"/usr/lib/0", b"/usr/lib/8"}


def test_no_link_leads_to_what_is_the_same(thing: Path, tmp_path: Path) -> None:
    usr = tmp_path / "usr"
    usr.mkdir()
    (usr / "lib").symlink_to(thing / "usr/lib")
    (usr / "lib.d").mkdir()
    (usr / "lib.d/x").mkdir()
    (usr / "lib.d/x/program").symlink_to(thing / "usr/lib.d/x/program")
    assert len(left(thing, usr)) == len(SIZES) + 2


def test_an_object_may_be_a_file_or_a_link_and_nothing_else(thing: Path, tmp_path: Path) -> None:
    nothing = Mounted(-1, b"/usr", set())
    for name in ("lib/8", "lib.d/x/program", "link"):
        assert hash_object(os.fsencode(thing / "usr" / name), nothing) == hash_path(thing / "usr" / name)
    for place in (tmp_path / "pipe", thing / "usr/pipe"):
        os.mkfifo(place)
    for path in (tmp_path / "pipe", thing):
        with pytest.raises(AniccaError, match="a pipe cannot be a store object"):
            hash_object(os.fsencode(path), nothing)
