"""Bytes changed at random: no crash, no write outside, no hang; an error of ours or another valid object."""

from __future__ import annotations

import contextlib
import random
import resource
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca import fs
from anicca.errors import AniccaError
from anicca.store import LocalStore, derivation, instantiate, nar
from anicca.store.build import build
from anicca.store.export import export, import_
from anicca.store.gc import collect
from anicca.store.hashes import hash_bytes
from anicca.store.info import PathInfo
from anicca.store.narinfo import NarInfo, parse_narinfo
from anicca.store.path import StorePath
from anicca.store.registration import dump_registration, parse_registration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anicca.store import BuildContext

pytestmark = pytest.mark.integration

seconds = pytest.mark.parametrize(
    "seconds", [pytest.param(2, id="short"), pytest.param(140, id="long", marks=pytest.mark.nightly)]
)
MEMORY_BYTES = 200 << 20


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """Whatever is asked of us, it is not answered with much memory: what the test's own process has, and no more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


WORDS = [b"..", b".", b"/", b"\0", b"entry", b"directory", b"symlink", b")", b"(", b"\xff" * 8, b"/etc/passwd", b"\n"]


def mutations(content: bytes, limit_seconds: float) -> Iterator[bytes]:
    draw = random.Random(99)
    end = time.monotonic() + limit_seconds
    while time.monotonic() < end:
        raw = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(raw) + 1)
            kind = draw.random()
            if kind < 0.4 and at < len(raw):
                raw[at] = draw.randrange(256)
            elif kind < 0.6:
                del raw[at : at + draw.randint(1, 40)]
            elif kind < 0.8:
                raw[at:at] = draw.choice(WORDS)
            else:
                other = draw.randrange(len(raw) + 1)
                raw[at:at] = raw[other : other + draw.randint(1, 200)]
        yield bytes(raw)


def everything(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*")}


NODE = nar.Directory(
    {
        b"a": nar.Directory({b"x": nar.File(b"content" * 10, executable=True), b"y": nar.Symlink(b"../b")}),
        b"b": nar.File(b""),
        b"c": nar.Symlink(b"/etc"),
    }
)


@seconds
def test_nars(tmp_path: Path, seconds: float) -> None:
    directory = tmp_path / "inside"
    directory.mkdir()
    count = refused = 0
    for count, raw in enumerate(mutations(nar.dump_bytes(NODE), seconds)):
        target = directory / str(count)
        try:
            nar.restore(iter([raw]), target)
        except AniccaError:
            refused += 1
        except OSError as error:
            # A name that the filesystem itself refuses.
            assert error.errno is not None  # noqa: PT017
    assert refused > count // 2
    assert {p.name for p in tmp_path.iterdir()} == {"inside"}


@seconds
@pytest.mark.parametrize("what", ["narinfo", "drv", "registration"])
def test_texts(seconds: float, what: str) -> None:
    path = StorePath("0" * 32, "x")
    info = PathInfo(path=path, nar_hash=hash_bytes(b""), nar_size=5, references=frozenset([path]), deriver=path)
    item = instantiate(name="x", system="s", builder="b", args=['a"\\\n'], env={"k": "v"})

    def registration(raw: bytes) -> object:
        return list(parse_registration(raw.decode("utf-8", "replace").split("\n")))

    content, parse = {
        "narinfo": (
            NarInfo(info=info, url="nar/x", compression="none").unparse().encode(),
            lambda raw: parse_narinfo(raw.decode("utf-8", "replace")),
        ),
        "drv": (item.content, lambda raw: derivation.parse(raw, "x")),
        "registration": ("\n".join(dump_registration([info] * 3)).encode(), registration),
    }[what]
    assert callable(parse)
    parser: Callable[[bytes], object] = parse
    parser(content)
    for raw in mutations(content, seconds / 2):
        with contextlib.suppress(AniccaError):
            parser(raw)


@seconds
def test_exports(store: LocalStore, tmp_path: Path, seconds: float) -> None:
    tree = tmp_path / "tree"
    nar.restore(iter([nar.dump_bytes(NODE)]), tree)
    item = instantiate(name="x", system="s", builder="b")
    store.add_derivation(item)
    paths = [store.add_text("t", "t"), store.add_path("tree", tree), item.path]
    content = b"".join(export(store, paths))
    before = everything(tmp_path) - everything(store.root)
    with LocalStore.open(tmp_path / "victim", durable=False) as victim:
        for raw in mutations(content, seconds):
            with contextlib.suppress(AniccaError):
                import_(victim, iter([raw]))
        assert victim.verify(check_contents=True) == []
    outside = {p for p in everything(tmp_path) - everything(store.root) if not p.startswith("victim")}
    assert outside == {p for p in before if not p.startswith("victim")}


COLUMNS = {
    "ValidPaths": ["path", "hash", "registrationTime", "deriver", "narSize", "ultimate", "sigs", "ca"],
    "Refs": ["referrer", "reference"],
    "DerivationOutputs": ["id", "path"],
}
VALUES = [None, "", 0, -1, 1 << 62, "x", b"\xff\0", "/nix/store/", "/etc/passwd", "../..", "sha256:zz", 1.5, "\0"]


def make(context: BuildContext) -> None:
    context.outputs["out"].write_text("x")


@seconds
def test_database_rows(tmp_path: Path, seconds: float) -> None:
    item = instantiate(name="x", system="builtin", builder="builtin:x")
    draw = random.Random(3)
    end = time.monotonic() + seconds
    (tmp_path / "outside").mkdir()
    while time.monotonic() < end:
        with LocalStore.open(tmp_path / "root", durable=False) as store:
            a = store.add_text("a", "a")
            store.add_text("b", f"{a}", [a])
            build(store, [item], builders={"builtin:x": make})
        table = draw.choice(list(COLUMNS))
        column = draw.choice(COLUMNS[table])
        change = f"update {table} set {column} = ? where rowid = (select min(rowid) from {table})"
        file = store.state_dir / "db" / "db.sqlite"
        with contextlib.suppress(sqlite3.IntegrityError), contextlib.closing(sqlite3.connect(file)) as sql, sql:
            sql.execute(change, (draw.choice(VALUES),))
        with LocalStore.open(tmp_path / "root", durable=False) as store:
            for work in (LocalStore.infos, lambda s: s.closure(s.all_valid()), LocalStore.verify, collect):
                with contextlib.suppress(AniccaError):
                    work(store)
        assert {p.name for p in tmp_path.iterdir()} == {"outside", "root"}
        fs.remove_tree(tmp_path / "root")


@pytest.mark.parametrize("value", [b"\xff\0", "x", "/etc/passwd", 7])
def test_a_row_without_a_path_stops_a_collection(value: object, tmp_path: Path) -> None:
    with LocalStore.open(tmp_path) as store:
        kept, other = store.add_text("a", "a"), store.add_text("b", "b")
        file = store.state_dir / "db" / "db.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as sql, sql:
        sql.execute("update ValidPaths set path = ? where path = ?", (value, str(kept)))
    with LocalStore.open(tmp_path) as store:
        with pytest.raises(AniccaError, match="the store's database is damaged"):
            collect(store)
        assert store.physical(kept).exists()
        assert store.physical(other).exists()
