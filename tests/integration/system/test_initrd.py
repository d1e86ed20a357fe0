"""What an initrd has that its tree has not."""

from pathlib import Path

from anicca.debian.builders.zfs import libraries
from anicca.system.builders.initrd import lay_over


def test_what_the_tree_has_stays_the_trees(tmp_path: Path) -> None:
    tree, more = tmp_path / "tree", tmp_path / "more"
    for path, text in ((tree / "usr/lib/libc.so.6.1", "tree"), (more / "usr/lib/libc.so.6", "more")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (tree / "usr/lib/libc.so.6").symlink_to("libc.so.6.1")
    program = more / "usr/sbin/zpool"
    program.parent.mkdir()
    program.write_text("zpool")
    program.chmod(0o555)
    lay_over(more, tree)
    assert (tree / "usr/lib/libc.so.6").read_text() == "tree"
    assert (tree / "usr/sbin/zpool").read_text() == "zpool"
    assert (tree / "usr/sbin/zpool").stat().st_mode & 0o111 == 0o111


def test_a_programs_libraries_come_with_the_loader_and_from_below_usr() -> None:
    found = libraries(("/bin/ls", "/bin/cat"))
    assert any("/libc.so." in path for path in found)
    assert any("/ld-linux" in path for path in found)
    assert all(path.startswith("/usr/") for path in found)
    assert len(found) == len({Path(path).name for path in found})
