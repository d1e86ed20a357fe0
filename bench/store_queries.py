"""Questions to a store of many small objects, anicca beside real Nix.

    python bench/store_queries.py [--paths 1000 50000] [--runs 5] [--directory DIR]

Three columns: a call of Nix's tool, a call of ours (Python's start included), and our library in a running process.
Seconds are CPU of the whole process, or of the call; medians. Needs root and nix-bin.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import fs, process
from anicca.store import LocalStore, StorePath
from anicca.store.gc import dead_paths
from anicca.store.path import make_text_path
from anicca.store.registration import dump_registration
from anicca.store.roots import find_roots

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 5_000


def cpu(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def measure(work: Callable[[], object], who: int, runs: int) -> float:
    costs = []
    for _ in range(runs):
        before = cpu(who)
        work()
        costs.append(cpu(who) - before)
    return statistics.median(costs)


def make_store(root: Path, count: int) -> list[StorePath]:
    """`count` texts, each of which refers to three before it; the first half is rooted by one of them."""
    made: list[StorePath] = []
    with LocalStore.open(root, durable=False) as store:
        texts: dict[StorePath, tuple[bytes, frozenset[StorePath]]] = {}
        for number in range(count):
            known = len(made)
            references = frozenset({made[known - 1], made[known // 2], made[known // 3]}) if known else frozenset()
            content = f"{number}\n{' '.join(map(str, sorted(references)))}".encode()
            path = make_text_path(f"text-{number}", content, references)
            texts[path] = (content, references)
            made.append(path)
            if len(texts) == BATCH:
                store.add_texts(texts)
                texts = {}
        store.add_texts(texts)
        store.add_root("half", made[count // 2])
    return made


def run(directory: Path, count: int, runs: int) -> None:
    root = directory / f"store-{count}"
    paths = make_store(root, count)
    top, first = str(paths[-1]), str(paths[0])
    some = [str(p) for p in paths[:1000]]
    (directory / "nix.conf").write_text("build-users-group =\nsubstituters =\nexperimental-features = nix-command\n")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"NIX_CONF_DIR": str(directory), "HOME": str(directory), "PYTHONPYCACHEPREFIX": str(directory / "bytecode")}
    store = LocalStore.open(root, durable=False)
    wanted = paths[:1000]
    questions: list[tuple[str, list[str], Callable[[], object]]] = [
        ("-q --references", ["-q", "--references", top], lambda: store.info(paths[-1]).references),
        ("-qR of all", ["-qR", top], lambda: store.closure([paths[-1]])),
        ("-q --referrers-closure", ["-q", "--referrers-closure", first], lambda: _referrers(store, paths[0])),
        ("--check-validity of 1000", ["--check-validity", *some], lambda: store.valid(wanted)),
        ("-q --hash of 1000", ["-q", "--hash", *some], lambda: store.infos(wanted)),
        ("--dump-db", ["--dump-db"], lambda: list(dump_registration(store.infos().values()))),
        ("--gc --print-roots", ["--gc", "--print-roots"], lambda: find_roots(store)),
        ("--gc --print-dead", ["--gc", "--print-dead"], lambda: dead_paths(store)),
        ("--verify", ["--verify"], store.verify),
    ]
    print(f"\n{count} paths{'':<22}     nix  anicca   ratio  library   ratio")
    for what, words, library in questions:
        nix: list[str | Path] = ["nix-store", "--store", root, *words]
        anicca: list[str | Path] = [sys.executable, "-m", "anicca", "--store", root, "store", *words]
        theirs = measure(partial(process.run, nix, env=env), resource.RUSAGE_CHILDREN, runs)
        ours = measure(partial(process.run, anicca, env=env), resource.RUSAGE_CHILDREN, runs)
        inside = measure(library, resource.RUSAGE_SELF, runs)
        ratios = f"{ours / theirs:6.2f}x {inside:8.4f} {inside / theirs:6.2f}x"
        print(f"{what:<30} {theirs:7.3f} {ours:7.3f} {ratios}", flush=True)
    store.close()
    fs.remove_tree(root)


def _referrers(store: LocalStore, path: StorePath) -> object:
    db = store.reading()
    assert db is not None
    return db.closure([path], referrers=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, nargs="+", default=[1_000, 50_000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        for count in options.paths:
            run(Path(name), count, options.runs)


if __name__ == "__main__":
    main()
