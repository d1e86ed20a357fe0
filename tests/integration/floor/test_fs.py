from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from anicca import fs


def test_a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, mode in ((b"one", 0o600), (b"two", 0o644)):
        fs.write_atomic(path, content, mode=mode)
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (content, mode)
    assert names(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        fs.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_what_somebody_put_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".file.{os.getpid()}.{threading.get_ident()}.tmp").symlink_to(victim)
    fs.write_atomic(tmp_path / "file", b"new")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()


def test_several_threads_may_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    threads = [threading.Thread(target=fs.write_atomic, args=(path, bytes([n]) * 10_000)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(path.read_bytes())) == 1
    assert names(tmp_path) == ["file"]


def test_a_link_is_moved(tmp_path: Path) -> None:
    link = tmp_path / "link"
    for target in ("one", "two"):
        fs.symlink_atomic(link, target)
        assert link.readlink() == Path(target)
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        fs.symlink_atomic(tmp_path / "directory", "target")
    assert names(tmp_path) == ["directory", "link"]


def test_a_tree_is_removed_whatever_its_modes_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    outside.chmod(0o500)
    tree = tmp_path / "tree"
    (tree / "closed/deeper").mkdir(parents=True)
    (tree / "closed/deeper/file").write_text("x")
    (tree / "link").symlink_to(outside)
    (tree / "closed/deeper").chmod(0o000)
    (tree / "closed").chmod(0o000)
    tree.chmod(0o555)
    as_nobody(tmp_path, lambda: fs.remove_tree(tree))
    assert not tree.exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o500
    assert (outside / "kept").is_dir()


def test_a_tree_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "beside").mkdir(parents=True)
    (tree / "beside/file").write_text("x")
    fd = os.open(tree, os.O_RDONLY)
    # Deeper than Python recurses, longer than a path may be.
    for _ in range(1500):
        os.mkdir("deep-deep", dir_fd=fd)
        below = os.open("deep-deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    fs.remove_tree(tree)
    assert names(tmp_path) == []


@pytest.mark.parametrize("spare", [True, False])
def test_what_a_removal_frees_is_told_by_one_thread_and_by_two(
    tmp_path: Path, spare: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fs, "spare_core", lambda: spare)
    tree = tmp_path / "tree"
    for number in range(40):
        (tree / str(number) / "sub").mkdir(parents=True)
        for name in ("a", "sub/b"):
            (tree / str(number) / name).write_bytes(b"x" * 5000)
    (tmp_path / "other").hardlink_to(tree / "0/a")
    (tree / "twice").hardlink_to(tree / "1/a")
    shared = (tree / "0/a").stat().st_ino
    alone = {s.st_ino: s.st_blocks for s in map(os.lstat, tree.rglob("*")) if s.st_ino != shared}
    expected = 512 * (sum(alone.values()) + tree.stat().st_blocks)
    assert fs.remove_tree(tree) == expected
    assert names(tmp_path) == ["other"]


def test_what_fails_in_the_second_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fs, "spare_core", lambda: True)
    assert fs.in_two(str, range(100)) == list(map(str, range(100)))
    with pytest.raises(ZeroDivisionError):
        fs.in_two(lambda number: 1 // number, range(100))


def test_what_is_no_tree_is_removed_and_nothing_is_fine(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "file").write_text("x")
    for name in ("link", "file", "nothing"):
        fs.remove_tree(tmp_path / name)
    assert names(tmp_path) == ["outside"]


def test_a_private_directory_is_made_private_though_it_was_there(tmp_path: Path) -> None:
    for _ in range(2):
        fs.make_private_directory(tmp_path / "some/where")
        assert stat.S_IMODE((tmp_path / "some/where").stat().st_mode) == 0o700
        (tmp_path / "some/where").chmod(0o755)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def as_nobody(directory: Path, action: object) -> None:
    """Do it in a child without root's rights, which modes bind; where we have none, do it here."""
    assert callable(action)
    if os.geteuid() != 0:
        action()
        return
    for path in [directory, *directory.rglob("*")]:
        os.lchown(path, 65534, 65534)
    opened = [parent for parent in directory.parents if not stat.S_IMODE(parent.stat().st_mode) & 0o001]
    for parent in opened:
        parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o001)
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            action()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 (whatever it is, the parent must hear of it)
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for parent in opened:
        parent.chmod(stat.S_IMODE(parent.stat().st_mode) & ~0o001)
    assert status == 0
