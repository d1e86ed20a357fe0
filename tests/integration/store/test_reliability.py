"""Cut off at any moment, out of space, damaged, robbed of its database: the store stays true or says so."""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from tests.integration.store.trixie import BOTH

from anicca import process
from anicca.errors import AniccaError
from anicca.store import LocalStore, StorePath, holders, instantiate
from anicca.store.build import build
from anicca.store.cache import BinaryCache
from anicca.store.copying import copy
from anicca.store.gc import collect
from anicca.store.hashes import hash_bytes
from anicca.store.rebuild import rebuild_database
from anicca.store.repair import repair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.store.conftest import Nix

    from anicca.store import BuildContext

pytestmark = pytest.mark.integration

WORKER = """
import os, random, sys
from pathlib import Path
from anicca.errors import AniccaError
from anicca.store import LocalStore, instantiate
from anicca.store.build import build
from anicca.store.export import export, import_
from anicca.store.gc import collect
from anicca.store.optimise import optimise

root, scratch, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
draw = random.Random(seed)
scratch.mkdir(exist_ok=True)

def make(context):
    out = context.outputs["out"]
    out.mkdir()
    for number in range(20):
        (out / f"f{number}").write_bytes(draw.randbytes(draw.randint(0, 30_000)))
    (out / "needs").write_text(context.env["needs"])

print("ready", flush=True)
while True:
    # A new session each time: what was protected may go.
    with LocalStore.open(root) as store:
        for _ in range(4):
            what = draw.choice(["add", "text", "build", "gc", "optimise", "import"])
            if what == "add":
                tree = scratch / f"tree-{draw.randint(0, 3)}"
                (tree / "d").mkdir(parents=True, exist_ok=True)
                for number in range(10):
                    (tree / "d" / f"f{number}").write_bytes(draw.randbytes(draw.randint(0, 50_000)))
                store.add_path("tree", tree)
            elif what == "text":
                store.add_text("text", str(draw.random()))
            elif what == "build":
                text = store.add_text("source", str(draw.randint(0, 9)))
                a = instantiate(name="a", system="builtin", builder="builtin:make", sources=[text],
                                env={"needs": str(text), "n": str(draw.randint(0, 99))})
                b = instantiate(name="b", system="builtin", builder="builtin:make", inputs=[a],
                                env={"needs": str(a.out)})
                # Nix's collector removes a path with all that refers to it, but marks only one of them at a time as
                # about to go (gc.cc, `pending`): of the others, one made a root in between goes all the same.
                try:
                    build(store, [b], builders={"builtin:make": make}, jobs=2)
                except (AniccaError, FileNotFoundError) as error:
                    if text.basename not in str(error):
                        raise
            elif what == "gc":
                collect(store, max_freed_bytes=draw.choice([None, 100_000]))
            elif what == "optimise":
                optimise(store)
            else:
                some = store.add_text("exported", str(draw.random()))
                content = b"".join(export(store, [some]))
                import_(store, iter([content]))
        print("round", flush=True)
"""


def assert_true(store: LocalStore) -> None:
    assert store.verify(check_contents=True) == []
    db = store.reading()
    assert db is not None
    assert db.check() == []


def assert_no_leftovers(root: Path) -> None:
    with LocalStore.open(root, durable=False) as store:
        collect(store)
        valid = {p.basename for p in store.all_valid()}
    assert {p.name for p in (root / "nix" / "store").iterdir()} - {".links"} == valid


def test_a_session_that_makes_a_root_and_ends_while_a_collector_looks(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalStore.open(root, durable=False) as store, LocalStore.open(root, durable=False) as other:
        made = other.add_text("made", "made")
        looked = holders.held

        def ends_meanwhile(state_dir: str, store_dir: str, *, tidy: bool = False) -> Iterator[tuple[str, str]]:
            yield from looked(state_dir, store_dir, tidy=tidy)
            other.add_root("made", made)
            other.close()

        monkeypatch.setattr(holders, "held", ends_meanwhile)
        collect(store)
        assert store.is_valid(made)


@pytest.mark.parametrize(
    "kills", [pytest.param(10, id="some"), pytest.param(200, id="many", marks=pytest.mark.nightly)]
)
def test_kill_at_any_moment(root: Path, tmp_path: Path, kills: int) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    with LocalStore.open(root, durable=False) as store:
        kept = store.add_text("kept", "kept")
        store.add_root("kept", kept)
    draw = random.Random(4711)
    rounds = 0
    for seed in range(kills):
        log = tmp_path / f"log-{seed}"
        child = process.start(
            [sys.executable, tmp_path / "worker.py", root, tmp_path / "scratch", str(seed)], output=log
        )
        deadline = time.monotonic() + 30
        while "ready" not in (log.read_text() if log.exists() else "") and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(draw.uniform(0.05, 1.2))
        assert child.poll() is None, log.read_text()
        child.kill()
        rounds += log.read_text().count("round")
        with LocalStore.open(root, durable=False) as store:
            assert_true(store)
            assert store.is_valid(kept)
    assert rounds > 0
    assert_no_leftovers(root)


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    directory.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory])
    try:
        yield directory
    finally:
        process.run(["umount", "-l", directory])


def fill_up(store: LocalStore, source: Path) -> None:
    for number in range(100):
        (source / "file").write_bytes(os.urandom(1_000_000))
        store.add_path(f"big-{number}", source)


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "24m") as disk:
        source = tmp_path / "source"
        source.mkdir()
        with LocalStore.open(disk) as store:
            kept = store.add_text("kept", "kept")
            store.add_root("kept", kept)
            with pytest.raises(AniccaError, match=r"no space left|full") as caught:
                fill_up(store, source)
            assert "gc" in (caught.value.faults[0].hint or "")

            def fill(context: BuildContext) -> None:
                context.outputs["out"].write_bytes(bytes(10_000_000))

            big = instantiate(name="big", system="builtin", builder="builtin:fill")
            with pytest.raises(AniccaError, match=r"[Nn]o space left|full"):
                build(store, [big], builders={"builtin:fill": fill})
            assert_true(store)
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        with LocalStore.open(disk) as store:
            # To the last block: a collection has what it needs in reserve.
            freed = collect(store)
            assert freed.freed_bytes > 5_000_000
            assert store.all_valid() == [kept]
            (disk / "filler").unlink()
            store.add_path("fits-again", source)
            assert_true(store)


def test_a_read_only_store_can_be_read_and_says_that_it_cannot_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "24m") as disk:
        with LocalStore.open(disk) as store:
            path = store.add_text("x", "x")
        process.run(["mount", "-o", "remount,ro", disk])
        with LocalStore.open(disk) as store:
            assert store.info(path).nar_size > 0
            assert store.closure([path]) == {path}
            assert_true(store)
            with pytest.raises(AniccaError, match="read-only"):
                store.add_text("y", "y")


def test_a_lost_database_is_not_taken_for_an_empty_store(store: LocalStore, nix: Nix) -> None:
    text = store.add_text("text", "text")
    refers = store.add_text("refers", f"{text}", [text])
    fixed = instantiate(
        name="f",
        system="builtin",
        builder="builtin:make",
        fixed=hash_bytes(b"f"),
    )
    plain = instantiate(name="p", system="builtin", builder="builtin:make", inputs=[fixed])

    def make(context: BuildContext) -> None:
        context.outputs["out"].write_text("f")

    build(store, [fixed, plain], builders={"builtin:make": make})
    store.close()
    shutil.rmtree(store.state_dir / "db")
    with pytest.raises(AniccaError, match="lost, though the store has objects") as caught:
        store.add_text("new", "new")
    assert "rebuild-db" in (caught.value.faults[0].hint or "")
    with pytest.raises(AniccaError, match="lost"):
        collect(store)
    assert store.physical(plain.out).exists()
    rebuilt = rebuild_database(store)
    assert set(rebuilt.valid) == {text, refers, fixed.path, fixed.out, plain.path}
    assert rebuilt.unproven == (plain.out,)
    assert store.info(refers).references == {text}
    assert_true(store)
    store.close()
    nix("nix-store", "--verify", "--check-contents")
    build(store, [plain], builders={"builtin:make": make})
    assert store.is_valid(plain.out)


def damage(store: LocalStore, path: StorePath) -> None:
    file = store.physical(path)
    file.chmod(0o644)
    file.write_text("damaged")
    file.chmod(0o444)
    os.utime(file, (1, 1))


def test_damage_is_found_named_and_repaired(store: LocalStore, tmp_path: Path) -> None:
    script = "echo whole > $out"
    item = instantiate(name="x", system="x86_64-linux", builder="/bin/sh", args=["-c", script])
    build(store, [item])
    text = store.add_text("text", "whole")
    cache = BinaryCache.open(f"file://{tmp_path}/cache", compression="none")
    copy(store, cache, [item.out, text])
    for path in (item.out, text):
        damage(store, path)
    found = store.verify(check_contents=True)
    assert sorted(line.split(":")[0] for line in found) == sorted(map(str, (item.out, text)))
    assert store.verify() == []
    with pytest.raises(AniccaError, match="in no cache"):
        repair(store, text)
    repair(store, text, caches=[cache])
    repair(store, item.out)
    assert_true(store)
    assert store.physical(item.out).read_text() == "whole\n"
    damage(store, text)
    # A damaged object does not spread.
    with pytest.raises(AniccaError, match=r"must not spread|instead of"):
        copy(store, BinaryCache.open(f"file://{tmp_path}/other"), [text])
    with LocalStore.open(tmp_path / "other-store", durable=False) as other, pytest.raises(AniccaError, match="hash"):
        copy(store, other, [text])


def test_a_missing_object_is_named(store: LocalStore) -> None:
    path = store.add_text("x", "x")
    store.physical(path).unlink()
    assert store.verify() == [f"{path}: is registered, but not there"]


EXPRESSION = """
{ n }: derivation { name = "n${n}"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo ${n} > $out" ]; }
"""
ADDERS = {
    "nix-add": "while :; do head -c 20000 /dev/urandom > $S/n; nix-store --store $R --add $S/n > /dev/null; done",
    # Nix's collector keeps its callers' threads by descriptor, after starting them: where one has hung up before that,
    # the next of the same number aborts the collector (134). To the store that is a crash like any other.
    # By the same `pending` as in the worker it may want to remove what is referred to by now, and gives up.
    "nix-gc": (
        "while :; do nix-store --store $R --gc > /dev/null 2> $S/gc || [ $? = 134 ]"
        " || grep 'because it is in use by' $S/gc || { cat $S/gc; exit 1; }; sleep 0.3; done"
    ),
    "nix-build": (
        "n=0; while :; do n=$((n + 1)); nix-build --store $R --no-out-link --argstr n $n $S/t.nix > /dev/null; done"
    ),
    "nix-optimise": "while :; do nix-store --store $R --optimise; sleep 0.7; done",
}


@BOTH
@pytest.mark.parametrize(
    "seconds", [pytest.param(6, id="short"), pytest.param(60, id="minute", marks=pytest.mark.nightly)]
)
def test_nix_and_anicca_at_once(root: Path, nix: Nix, tmp_path: Path, seconds: int) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    with LocalStore.open(root, durable=False) as store:
        kept = [store.add_text(f"kept-{n}", "kept") for n in range(5)]
        for path in kept:
            store.add_root(path.name, path)
    (tmp_path / "t.nix").write_text(EXPRESSION)
    env = {**os.environ, **nix.env, "R": str(root), "S": str(tmp_path)}
    logs = {name: tmp_path / f"log-{name}" for name in [*ADDERS, "anicca-1", "anicca-2"]}
    children = {
        name: process.start(["sh", "-ec", script], output=logs[name], env=env) for name, script in ADDERS.items()
    }
    for seed in (1, 2):
        name = f"anicca-{seed}"
        children[name] = process.start(
            [sys.executable, tmp_path / "worker.py", root, tmp_path / f"scratch-{seed}", str(seed)],
            output=logs[name],
            env=env,
        )
    try:
        time.sleep(seconds)
        ended = {name: logs[name].read_text()[-2000:] for name, child in children.items() if child.poll() is not None}
        assert not ended, "\n".join(ended.values())
    finally:
        for child in children.values():
            child.kill()
    assert "round" in logs["anicca-1"].read_text()
    with LocalStore.open(root, durable=False) as store:
        assert_true(store)
        assert store.valid(kept) == set(kept)
    nix("nix-store", "--verify", "--check-contents")
    assert_no_leftovers(root)
