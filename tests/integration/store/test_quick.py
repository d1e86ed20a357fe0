"""The short way through the command line prints what the long one prints, and imports next to nothing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.cli import app, quick
from anicca.store import LocalStore, PathInfo, make_text_path
from anicca.store.hashes import hash_bytes
from anicca.store.nar import File, dump, dump_bytes
from anicca.store.nar_fill import SENT_BYTES
from anicca.store.rows import connect_reading, valid

if TYPE_CHECKING:
    from pathlib import Path

    from anicca.store import StorePath

pytestmark = pytest.mark.integration

HEAVY = ("click", "rich", "dataclasses", "typing", "re", "pathlib", "json", "threading", "contextlib", "hashlib")


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


@pytest.fixture
def paths(root: Path) -> list[StorePath]:
    """Texts that refer to each other, one with everything that a row can have."""
    made: list[StorePath] = []
    with LocalStore.open(root, durable=False) as store:
        for number in range(9):
            made.append(store.add_text(f"text-{number}", str(number), made[number // 2 :]))
        content = dump_bytes(File(b"x"))
        path = make_text_path("signed", b"x")
        info = PathInfo(
            path=path,
            nar_hash=hash_bytes(content),
            nar_size=len(content),
            references=frozenset({path, made[0]}),
            deriver=make_text_path("signed.drv", b""),
            registration_time=1,
            ultimate=True,
            signatures=("a:b", "c:d"),
        )
        store.add_nar(info, iter([content]))
        made.append(path)
        store.add_root("é/kept", made[4])
        store.add_indirect_root(root / "link\n", made[7])
    return made


def questions(paths: list[StorePath]) -> list[list[str]]:
    some = [str(paths[5]), str(paths[2]), str(paths[9])]
    return [
        *(["-q", what, *some] for what in quick.QUESTIONS),
        *([verb, some[0], what] for verb in ("query", "--query") for what in quick.QUESTIONS),
        ["-qR", *some],
        ["-q", "-d", some[2]],
        ["check-validity", *some],
        ["--check-validity", some[0], some[0]],
        ["path-info", *some],
        ["path-info", "-r", "-s", *some],
        ["path-info", "-rS", *some],
        ["path-info", "--sigs", "-S", "-s", *some],
        ["path-info", "--all"],
        ["gc", "--print-roots"],
        ["gc", "--print-live"],
        ["--gc", "--print-dead"],
        ["gc", "--dry-run"],
        ["--dump-db"],
        ["verify"],
        ["--verify", "--check-contents"],
    ]


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_both_ways_print_the_same(
    root: Path, paths: list[StorePath], flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in questions(paths):
        line = [*flags, "--store", str(root), "store", *words]
        assert quick.answered(line), words
        short = capsys.readouterr()
        app.main(line)
        long = capsys.readouterr()
        assert short.out == long.out, words
        assert short.err == ""


def test_what_is_to_fail_or_is_not_known_is_left_to_the_long_way(
    root: Path, paths: list[StorePath], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, missing = str(paths[0]), f"/nix/store/{'0' * 32}-x"
    at = ["--store", str(root), "store"]
    for words in (
        [],
        ["--version"],
        ["store"],
        ["build", there],
        ["-v", *at, "-q", "--references", there],
        [*at, "-q", there],
        [*at, "-q", "--references"],
        [*at, "-q", "--references", missing],
        [*at, "-q", "--references", there, "--hash"],
        [*at, "-q", "--references", paths[0].basename],
        [*at, "-q", "--references", str(root)],
        [*at, "--check-validity", there, missing],
        [*at, "--check-validity", "--print-invalid", there],
        [*at, "path-info", missing],
        [*at, "path-info", "--help"],
        [*at, "gc", "--max-freed", "0"],
        [*at, "gc", "--print-dead", "--keep-outputs"],
        ["--json", *at, "gc"],
        ["--json", *at, "optimise"],
        [*at, "optimise", there],
        ["--store", str(root / "none"), "store", "-q", "--references", there],
        ["--store", str(root / "link\n"), "store", "-q", "--references", there],
        ["--store"],
    ):
        assert not quick.answered(words), words
    (root / "nix/var/nix/db/schema").write_text("9")
    assert not quick.answered([*at, "-q", "--references", there])
    monkeypatch.setenv("ANICCA_STORE", "")
    assert not quick.answered(["store", "-q", "--references", there])
    assert capsys.readouterr().out == ""


def test_work_is_done_as_the_long_way_does_it(
    root: Path, tmp_path: Path, paths: list[StorePath], capsys: pytest.CaptureFixture[str]
) -> None:
    del paths
    (tmp_path / "tree").mkdir()
    for name in "ab":
        (tmp_path / "tree" / name).write_text("equal")
    with LocalStore.open(root, durable=False) as store:
        store.add_root("tree", store.add_path("tree", tmp_path / "tree"))
    other = tmp_path / "other"
    process.run(["cp", "-a", root, other])
    printed, left = [], []
    for top, ask in ((root, quick.answered), (other, app.main)):
        # The second time, there is nothing left to do.
        for verb in ("optimise", "gc", "optimise", "gc"):
            assert ask(["--store", str(top), "store", verb]) is not False
            printed.append(capsys.readouterr().out)
        with LocalStore.open(top) as store:
            assert store.verify(check_contents=True) == []
            left.append((store.all_valid(), names(store.store_dir), names(store.store_dir / ".links")))
        assert names(top / "nix/var/nix/temproots") == []
    assert printed[:4] == printed[4:]
    assert left[0] == left[1]
    assert "hard-linking 1 files" in printed[0]
    assert printed[1].startswith("2 store paths deleted")


def test_work_that_fails_is_left_to_the_long_way(root: Path, paths: list[StorePath]) -> None:
    at = ["--store", str(root), "store"]
    (root / "nix/var/nix/gc-socket/socket").mkdir(parents=True)
    assert not quick.answered([*at, "gc"])
    with LocalStore.open(root) as store:
        store.writing().ask("update ValidPaths set path = '/nix/store/../x' where path = ?", str(paths[8]))
    (root / "nix/var/nix/gc-socket/socket").rmdir()
    assert not quick.answered([*at, "gc"])
    assert not quick.answered([*at, "gc", "--print-dead"])
    assert not quick.answered([*at, "dump-db"])
    assert names(root / "nix/var/nix/temproots") == []


def test_damage_is_left_to_the_long_way(root: Path, paths: list[StorePath]) -> None:
    at = ["--store", str(root), "store", "verify"]
    assert quick.answered([*at, "--check-contents"])
    file = root / "nix/store" / paths[3].basename
    file.write_text("other")
    assert quick.answered(at)
    assert not quick.answered([*at, "--check-contents"])
    file.unlink()
    assert not quick.answered(at)
    os.mkfifo(file)
    assert quick.answered(at)
    assert not quick.answered([*at, "--check-contents"])


def test_a_damaged_row_is_left_to_the_long_way(root: Path, paths: list[StorePath]) -> None:
    with LocalStore.open(root) as store:
        db = store.writing()
        db._sql.execute("update ValidPaths set path = 'nonsense', hash = 'md5:1' where path = ?", (str(paths[0]),))
        db._sql.execute("update ValidPaths set hash = 'sha256:zz' where path = ?", (str(paths[1]),))
    at = ["--store", str(root), "store"]
    assert not quick.answered([*at, "-qR", str(paths[5])])
    assert not quick.answered([*at, "-q", "--hash", str(paths[1])])


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["-qR", "/nix/store/"], set()),
        (["gc", "--print-dead"], {"threading", "contextlib"}),
        (["dump-db"], set()),
        (["optimise"], {"threading", "contextlib", "hashlib"}),
        # `socket` wants `enum`, which wants some of the rest.
        (["gc"], {"threading", "contextlib", "typing", "re"}),
    ],
)
def test_little_is_imported(root: Path, paths: list[StorePath], words: list[str], allowed: set[str]) -> None:
    words = [str(paths[5]) if word == "/nix/store/" else word for word in words]
    program = (
        "import sys; from anicca.cli.quick import answered;"
        f"assert answered(['--store', {str(root)!r}, 'store', *{words!r}]); print(*sys.modules)"
    )
    # Without `site`: what a development environment hooks in there is not ours.
    path = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    modules = process.run([sys.executable, "-S", "-c", program], env=path).text.split()
    assert set(HEAVY) & set(modules) <= allowed


def test_a_reader_without_rights_sees_what_a_writer_has_just_written(root: Path) -> None:
    with LocalStore.open(root) as store:
        added = store.add_text("new", "new")
        # The writer holds the write-ahead log open; the database's own file knows nothing yet.
        sql = connect_reading(str(root / "nix/var/nix/db/db.sqlite"))
        assert valid(lambda query, *values: sql.execute(query, values).fetchall(), [str(added)]) == [str(added)]
        sql.close()


@pytest.mark.parametrize("onto", [">", ">>", "| cat >"])
def test_a_dump_is_the_same_wherever_it_goes(tmp_path: Path, onto: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, size in {"large": 1_500_001, "bound": SENT_BYTES, "small": SENT_BYTES - 1, "none": 0}.items():
        (tree / name).write_bytes(os.urandom(size))
    script = f'"$0" -m anicca store dump "$1" {onto} "$2"'
    process.run(["sh", "-c", script, sys.executable, tree, tmp_path / "nar"])
    assert (tmp_path / "nar").read_bytes() == b"".join(dump(tree))
