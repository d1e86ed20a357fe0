"""Questions to a store of many small objects, anicca beside real Nix.

    python bench/store_queries.py [--paths 1000 50000] [--runs 5] [--directory DIR]

Three columns: a call of Nix's tool, a call of ours (Python's start included), and our library in a running process.
Turn and turn about, medians of wall and CPU seconds. At the end, how each grew from the first number of paths to the
last. Needs root and nix-bin. On a busy machine only the CPU's ratios are steady.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
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

    from anicca.store.db import Database

BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Cost:
    wall: float
    cpu: float


def cost(work: Callable[[], object], who: int) -> Cost:
    before, started = resource.getrusage(who), time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, resource.getrusage(who)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def median(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs))


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


def show_import(env: dict[str, str], runs: int) -> None:
    """What `import anicca.store` costs, beside starting Python."""
    for statement in ("import anicca.store", "from anicca.store import LocalStore; LocalStore"):
        costs: tuple[list[Cost], list[Cost]] = ([], [])
        for _ in range(runs):
            for of, program in zip(costs, ("pass", statement), strict=True):
                work = partial(process.run, [sys.executable, "-c", program], env=env)
                of.append(cost(work, resource.RUSAGE_CHILDREN))
        bare, whole = map(median, costs)
        print(f"{statement}: {(whole.cpu - bare.cpu) * 1000:.1f} ms of CPU")


def questions(
    store: LocalStore, paths: list[StorePath]
) -> list[tuple[str, list[str], list[str], Callable[[], object]]]:
    """What is asked: a name, Nix's words, ours, and our library's call."""
    top, first, some, wanted = str(paths[-1]), str(paths[0]), [str(p) for p in paths[:1000]], paths[:1000]

    def same(what: str, *words: str) -> tuple[str, list[str], list[str], Callable[[], object]]:
        return what, ["nix-store", *words], list(words), library[what]

    library: dict[str, Callable[[], object]] = {
        "-q --references": lambda: store.info(paths[-1]).references,
        "-qR of all": lambda: store.closure([paths[-1]]),
        "-q --referrers": lambda: _db(store).referrers(paths[0]),
        "-q --referrers-closure": lambda: _db(store).closure([paths[0]], referrers=True),
        "-q --roots": lambda: (_db(store).closure([paths[0]], referrers=True), find_roots(store)),
        "--check-validity of 1000": lambda: store.valid(wanted),
        "-q --hash of 1000": lambda: store.infos(wanted),
        "--gc --print-roots": lambda: find_roots(store),
        "--gc --print-dead": lambda: dead_paths(store),
        "--dump-db": lambda: list(dump_registration(store.infos().values())),
        "--verify": store.verify,
    }
    return [
        same("-q --references", "-q", "--references", top),
        same("-qR of all", "-qR", top),
        same("-q --referrers", "-q", "--referrers", first),
        same("-q --referrers-closure", "-q", "--referrers-closure", first),
        same("-q --roots", "-q", "--roots", first),
        same("--check-validity of 1000", "--check-validity", *some),
        same("-q --hash of 1000", "-q", "--hash", *some),
        (
            "path-info -s of 1000",
            ["nix", "path-info", "-s", *some],
            ["path-info", "-s", *some],
            library["-q --hash of 1000"],
        ),
        ("path-info -r", ["nix", "path-info", "-r", top], ["path-info", "-r", top], lambda: store.infos(wanted)),
        same("--gc --print-roots", "--gc", "--print-roots"),
        same("--gc --print-dead", "--gc", "--print-dead"),
        same("--dump-db", "--dump-db"),
        same("--verify", "--verify"),
    ]


def run(directory: Path, count: int, runs: int) -> dict[str, tuple[Cost, Cost]]:
    """Make a store of `count` objects, ask, print; what each question cost Nix and us."""
    root = directory / f"store-{count}"
    paths = make_store(root, count)
    (directory / "nix.conf").write_text("build-users-group =\nsubstituters =\nexperimental-features = nix-command\n")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"NIX_CONF_DIR": str(directory), "HOME": str(directory), "PYTHONPYCACHEPREFIX": str(directory / "bytecode")}
    store = LocalStore.open(root, durable=False)
    show_import(env, runs)
    print(f"\n{count} paths{'':<18} wall   nix  anicca   ratio  cpu   nix  anicca   ratio  library (cpu)   ratio")
    found = {}
    for what, theirs, words, library in questions(store, paths):
        nix: list[str | Path] = [theirs[0], *theirs[1:], "--store", root]
        anicca: list[str | Path] = [sys.executable, "-m", "anicca", "--store", root, "store", *words]
        costs: tuple[list[Cost], list[Cost], list[Cost]] = ([], [], [])
        for _ in range(runs):
            costs[0].append(cost(partial(process.run, nix, env=env), resource.RUSAGE_CHILDREN))
            costs[1].append(cost(partial(process.run, anicca, env=env), resource.RUSAGE_CHILDREN))
            costs[2].append(cost(library, resource.RUSAGE_SELF))
        a, b, c = map(median, costs)
        wall = f"{a.wall:9.3f} {b.wall:7.3f} {b.wall / a.wall:6.2f}x"
        cpu = f"{a.cpu:9.3f} {b.cpu:7.3f} {b.cpu / a.cpu:6.2f}x"
        print(f"{what:<26} {wall} {cpu} {c.cpu:14.4f} {c.cpu / a.cpu:6.2f}x", flush=True)
        found[what] = (a, b)
    store.close()
    fs.remove_tree(root)
    return found


def show_growth(first: int, last: int, few: dict[str, tuple[Cost, Cost]], many: dict[str, tuple[Cost, Cost]]) -> None:
    """Linear is the ratio of the numbers of paths, or less: a call has costs of its own."""
    print(f"\nCPU, {last} paths over {first}: {last / first:g} times as many     nix   anicca")
    for what, (nix, anicca) in many.items():
        print(f"{what:<44} {nix.cpu / few[what][0].cpu:9.1f}x {anicca.cpu / few[what][1].cpu:7.1f}x")


def _db(store: LocalStore) -> Database:
    db = store.reading()
    assert db is not None
    return db


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, nargs="+", default=[1_000, 50_000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        found = {count: run(Path(name), count, options.runs) for count in options.paths}
    if len(found) > 1:
        first, last = min(found), max(found)
        show_growth(first, last, found[first], found[last])


if __name__ == "__main__":
    main()
