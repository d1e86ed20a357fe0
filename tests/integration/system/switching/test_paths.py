"""Paths of the root on a running host, in a mount namespace of their own where something is bound."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.errors import RefusedError
from anicca.system.erofs import ImageEntry
from anicca.system.live import Clear, Keep, Lay, Release, plan_paths
from anicca.system.reading import Persisted
from anicca.system.switching.paths import do, read_ahead

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def file(path: str, content: str = "x", mode: int = 0o640) -> ImageEntry:
    return ImageEntry(path=path, mode=stat.S_IFREG | mode, uid=0, gid=0, content=content.encode())


def directory(path: str, mode: int = 0o755) -> ImageEntry:
    return ImageEntry(path=path, mode=stat.S_IFDIR | mode, uid=0, gid=0)


def link(path: str, target: str) -> ImageEntry:
    return ImageEntry(path=path, mode=stat.S_IFLNK | 0o777, uid=0, gid=0, content=target.encode())


def seed(*entries: ImageEntry) -> dict[str, ImageEntry]:
    return {entry.path: entry for entry in entries}


def kept(path: str, mode: int = 0o700) -> Persisted:
    return Persisted(path=path, kind="d", mode=mode, uid=0, gid=0)


def test_what_is_laid_out_and_what_goes() -> None:
    old = seed(directory("/srv"), directory("/srv/old"), file("/srv/old/a"), file("/srv/b"), file("/srv/c"))
    new = seed(directory("/srv"), file("/srv/b", "other"), link("/srv/c", "b"), directory("/srv/new"))
    assert list(map(str, plan_paths(old, new, {}, {}))) == [
        "remove /srv/old/a",
        "remove /srv/old",
        "remove /srv/c",
        "lay out /srv/b",
        "lay out /srv/c",
        "lay out /srv/new",
    ]
    assert list(plan_paths(new, new, {}, {})) == []


def test_what_is_read_ahead_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "d/deep").mkdir(parents=True)
    os.mkfifo(tmp_path / "d/fifo")
    files = [tmp_path / name for name in ("d/one", "d/deep/two", "three")]
    for file in files:
        file.write_bytes(bytes(1 << 16))
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def resident() -> list[int]:
        return [int(word) for word in process.run(["fincore", "-bno", "RES", *files]).text.split()]

    if resident() != [0, 0, 0]:
        pytest.skip("this filesystem keeps in memory what nobody needs there")
    read_ahead([str(tmp_path / name) for name in ("d", "three", "missing")])
    assert resident() == [1 << 16] * 3


def test_what_persists_is_not_laid_out_but_once() -> None:
    new = seed(directory("/var"), directory("/var/a"), file("/var/a/first"))
    steps = list(plan_paths(seed(directory("/var")), new, {}, {"/var/a": kept("/var/a")}))
    assert [type(step).__name__ for step in steps] == ["Keep"]
    assert isinstance(steps[0], Keep)
    assert [entry.path for entry in steps[0].seed] == ["/var/a", "/var/a/first"]
    assert list(plan_paths(new, new, {"/var/a": kept("/var/a")}, {})) == [Release(path="/var/a")]


def test_layers_on_a_root(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("a user's")
    for entry in (directory("/d", 0o2750), file("/d/f", "text", 0o4711), link("/l", "d/f")):
        do(Lay(entry=entry), root=tmp_path)
        do(Lay(entry=entry), root=tmp_path)
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o2750
    assert stat.S_IMODE((tmp_path / "d/f").stat().st_mode) == 0o4711
    assert (tmp_path / "l").read_text() == "text"
    do(Clear(path="/d"), root=tmp_path)
    assert (tmp_path / "d/f").exists(), "a directory with something in it stays"
    for path in ("/d/f", "/d", "/l", "/nothing"):
        do(Clear(path=path), root=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["user"]


def test_a_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "srv").symlink_to(outside)
    with pytest.raises(RefusedError, match="symbolic link"):
        do(Lay(entry=file("/srv/a")), root=root)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("at", ["root/home/x", "kept/home/x"])
def test_a_link_in_place_of_what_persists_is_not_followed(tmp_path: Path, at: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    for name in ("root", "kept"):
        (tmp_path / name / "home").mkdir(parents=True)
    (tmp_path / at).symlink_to(outside)
    step = Keep(kept=Persisted(path="/home/x", kind="d", mode=0o700, uid=1, gid=1), seed=(file("/home/x/a"),))
    with pytest.raises(RefusedError, match="is a symbolic link, and /home/x is to persist"):
        do(step, root=tmp_path / "root", kept=tmp_path / "kept")
    assert list(outside.iterdir()) == []
    assert outside.stat().st_uid == 0


PERSIST = """
import os, sys
from pathlib import Path
from anicca.system.erofs import ImageEntry
from anicca.system.live import Keep, Release
from anicca.system.reading import Persisted
from anicca.system.switching.paths import do
root, kept = Path(sys.argv[1], "root"), Path(sys.argv[1], "kept")
root.mkdir(); kept.mkdir()
one = Persisted(path="/var/a", kind="d", mode=0o750, uid=1, gid=2)
entries = (
    ImageEntry(path="/var/a", mode=0o40755, uid=0, gid=0),
    ImageEntry(path="/var/a/first", mode=0o100600, uid=0, gid=0, content=b"1"),
)
step = Keep(kept=one, seed=entries)
do(step, root=root, kept=kept)
do(step, root=root, kept=kept)
assert (root / "var/a/first").read_text() == "1"
(root / "var/a/more").write_text("2")
assert (kept / "var/a/more").read_text() == "2"
found = (kept / "var/a").stat()
assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1, 2, 0o750), found
assert Path("/proc/self/mountinfo").read_text().count(str(root / "var/a")) == 1
do(Release(path="/var/a"), root=root, kept=kept)
assert list((root / "var/a").iterdir()) == []
assert (kept / "var/a/more").exists()

above = Persisted(path="/var", kind="d", mode=0o755, uid=0, gid=0)
entries = (*entries, ImageEntry(path="/var/b", mode=0o100600, uid=0, gid=0, content=b"3"))
do(Keep(kept=above, seed=entries), root=root, kept=kept)
assert (root / "var/b").read_text() == "3"  # what was a parent gets what else is to be in it
assert sorted(path.name for path in (root / "var/a").iterdir()) == ["first", "more"]
(root / "var/b").unlink()
do(Keep(kept=above, seed=entries), root=root, kept=kept)
assert not (root / "var/b").exists()  # once
"""

WRITABLE = """
import os, subprocess, sys
from pathlib import Path
from anicca.system.switching.mounts import enter_writable
store = Path(sys.argv[1], "store")
store.mkdir()
subprocess.run(["mount", "--bind", store, store], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", store], check=True)
before = os.readlink("/proc/self/ns/mnt")
held = os.open("/proc/self/ns/mnt", os.O_RDONLY)
enter_writable(store)
assert os.readlink("/proc/self/ns/mnt") != before
(store / "new").write_text("x")
argv = ["nsenter", f"--mount=/proc/self/fd/{held}", "sh", "-c", f"echo x > {store}/y"]
others = subprocess.run(argv, pass_fds=[held])
assert others.returncode != 0  # for all others it is read-only still
"""


def alone(code: str, work: Path) -> None:
    process.run(["unshare", "-m", sys.executable, "-c", code, work], timeout_seconds=120)


def test_persisting_and_not_any_more(tmp_path: Path) -> None:
    alone(PERSIST, tmp_path)


def test_a_read_only_store_is_writable_for_who_asks(tmp_path: Path) -> None:
    alone(WRITABLE, tmp_path)
