"""Random trees, texts and derivation graphs: the same paths and bytes as real Nix.

Hypothesis draws them, and makes what fails small; some at once, as each call of Nix takes longer than drawing.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.store.trixie import BOTH

from anicca import fs
from anicca.store import Instantiated, StorePath, instantiate
from anicca.store.export import export, import_
from anicca.store.hashes import hash_bytes
from anicca.store.local import LocalStore, source_path_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.store.conftest import Nix

pytestmark = pytest.mark.integration

NAME = "abcXYZ019+-._?="
WEIRD = ["\n", "\t", "\r", '"', "\\", "$", "${", "'", "''", "é", "😀", "", " ", "a", "bc"]
many = pytest.mark.parametrize(
    "cases", [pytest.param(50, id="some"), pytest.param(500, id="many", marks=pytest.mark.nightly)]
)


AT_ONCE = 10


def examine(tmp_path: Path, cases: int, work: Callable[[random.Random, Path], None]) -> None:
    """Do `work` with so many cases in all: it takes `AT_ONCE` of them from the source it is given, in a new place."""
    number = itertools.count()
    whole: list[Path] = []

    @settings(
        max_examples=cases // AT_ONCE, derandomize=cases < 100, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(draw=st.randoms(use_true_random=False))
    def examples(draw: random.Random) -> None:
        place = tmp_path / f"example-{next(number)}"
        (place / "store").mkdir(parents=True)
        try:
            work(draw, place)
            whole.append(place)
        finally:
            fs.remove_tree(place)

    examples()
    assert len(whole) * AT_ONCE >= cases


def name(draw: random.Random) -> str:
    return draw.choice("abcXYZ019") + "".join(draw.choices(NAME, k=draw.randint(0, 12)))


def file_name(draw: random.Random) -> str:
    while True:
        text = "".join(draw.choice(["a", "B", ".", " ", "é", "\n", "~", "-", "0"]) for _ in range(draw.randint(1, 6)))
        if text not in (".", ".."):
            return text


def make_tree(draw: random.Random, path: Path, depth: int) -> None:
    kind = draw.random()
    if kind < 0.5 or depth == 0:
        # Few draws for many bytes: what they are does not matter.
        content = random.Random(draw.getrandbits(16))
        path.write_bytes(content.randbytes(draw.choice([0, 1, 7, 8, 9, 4096, 100_000])))
        path.chmod(draw.choice([0o644, 0o755, 0o600, 0o700, 0o4755, 0o655]))
    elif kind < 0.65:
        path.symlink_to(draw.choice(["x", "/nowhere", "../..", "é" * 30]))
    else:
        path.mkdir()
        for _ in range(draw.randint(0, 5)):
            child = path / file_name(draw)
            if not child.is_symlink() and not child.exists():
                make_tree(draw, child, depth - 1)


@many
@BOTH
def test_trees(nix: Nix, tmp_path: Path, cases: int) -> None:
    examine(tmp_path, cases, lambda draw, place: trees_are_alike(draw, place, nix))


def trees_are_alike(draw: random.Random, place: Path, nix: Nix) -> None:
    trees = []
    for number in range(AT_ONCE):
        tree = place / f"{number}-{name(draw)}"
        make_tree(draw, tree, 4)
        trees.append(tree)
    there = nix.at(place / "there")
    with LocalStore.open(place / "store", durable=False) as store:
        ours = [store.add_path(tree.name, tree) for tree in trees]
        assert ours == [source_path_of(tree.name, tree) for tree in trees]
        assert there("nix-store", "--add", *trees).split() == list(map(str, ours))
        theirs = there("nix-store", "-q", "--hash", *map(str, ours)).split()
        assert theirs == [str(store.info(p).nar_hash) for p in ours]
        nix.at(store.root)("nix-store", "--verify", "--check-contents")
        # What Nix exports of all is what we export of all, and goes in again.
        content = b"".join(export(store, sorted(set(ours))))
    assert there.raw("nix-store", "--export", *map(str, sorted(set(ours)))) == content
    with LocalStore.open(place / "again", durable=False) as again:
        assert import_(again, iter([content])) == sorted(set(ours))


def text(draw: random.Random) -> str:
    return "".join(draw.choices(WEIRD, k=draw.randint(0, 8)))


def quoted(value: str) -> str:
    special = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "$": "\\$"}
    return '"' + "".join(special.get(c, c) for c in value) + '"'


@many
@BOTH
def test_graphs_of_derivations(nix: Nix, tmp_path: Path, cases: int) -> None:
    def work(draw: random.Random, place: Path) -> None:
        with LocalStore.open(place / "store", durable=False) as store:
            graphs_are_alike(draw, place, store, nix.at(store.root))

    examine(tmp_path, cases, work)


def graphs_are_alike(draw: random.Random, place: Path, store: LocalStore, there: Nix) -> None:
    made: list[Instantiated] = []
    lines = []
    sources = [store.add_text(f"source-{n}", str(n)) for n in range(5)]
    for number in range(AT_ONCE):
        needs = draw.sample(made, min(len(made), draw.randint(0, 4)))
        wanted = {need: draw.sample(sorted(need.outputs), draw.randint(1, len(need.outputs))) for need in needs}
        used = draw.sample(sources, draw.randint(0, 2))
        fixed = hash_bytes(str(number).encode(), draw.choice(["sha256", "sha1"])) if draw.random() < 0.2 else None
        recursive = draw.random() < 0.5
        outputs = ["out"] if fixed is not None else draw.choice([["out"], ["out", "dev"], ["lib", "out", "a"], ["bin"]])
        env = {f"v{n}": text(draw) for n in range(draw.randint(0, 4))}
        refers = " ".join([*(str(n.outputs[o]) for n, names in wanted.items() for o in names), *map(str, used)])
        args = [text(draw) for _ in range(draw.randint(0, 3))]
        drv_name = name(draw)
        item = instantiate(
            name=drv_name,
            system="x86_64-linux",
            builder="/bin/sh",
            args=args,
            env={**env, "refers": refers},
            inputs=wanted,
            sources=used,
            outputs=outputs,
            fixed=fixed,
            recursive=recursive,
        )
        terms = [f"{quoted(k)} = {quoted(v)};" for k, v in env.items()]
        parts = [
            *(f"${{d{made.index(n)}.{o}}}" for n, names in wanted.items() for o in names),
            *(f"${{builtins.storePath {s}}}" for s in used),
        ]
        terms.append(f'refers = "{" ".join(parts)}";')
        if outputs != ["out"]:
            terms.append(f"outputs = [ {' '.join(map(quoted, outputs))} ];")
        if fixed is not None:
            terms.append(f'outputHash = "{fixed.hex}"; outputHashAlgo = "{fixed.algorithm}";')
            terms.append(f'outputHashMode = "{"recursive" if recursive else "flat"}";')
        lines.append(
            f'd{number} = derivation {{ name = {quoted(drv_name)}; system = "x86_64-linux"; builder = "/bin/sh";'
            f" args = [ {' '.join(map(quoted, args))} ]; {' '.join(terms)} }};"
        )
        made.append(item)
    body = "\n".join(lines)
    all_ = " ".join(f"d{n}" for n in range(AT_ONCE))
    (place / "t.nix").write_text(f"let {body}\nin [ {all_} ]")
    store.close()
    theirs = there("nix-instantiate", place / "t.nix").split()
    drvs = [t.split("!")[0] for t in theirs]
    assert drvs == [str(i.path) for i in made]
    for item in made:
        assert store.physical(item.path).read_bytes() == item.content
        assert store.info(StorePath.parse(str(item.path))).references == item.drv.references
