"""Bulk work on one tree, anicca beside real Nix: wall and CPU seconds, medians, ratios.

    python bench/store_bulk.py [--files 10000] [--megabytes 300] [--runs 5] [--directory DIR]

Both are whole processes on the same data in the same run, turn and turn about. Needs root, nix-bin and busybox.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import fs, process
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Callable

ANICCA = [sys.executable, "-m", "anicca"]


@dataclass(frozen=True, slots=True)
class Cost:
    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Cost:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    work()
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def make_tree(directory: Path, files: int, megabytes: int) -> Path:
    """A tree with a fifth of duplicates; the same for the same numbers."""
    draw = random.Random(1)
    size = megabytes * 1_000_000 // files
    content = [draw.randbytes(max(1, int(draw.expovariate(1 / size)))) for _ in range(files // 5 * 4)]
    tree = directory / "tree"
    for number in range(files):
        folder = tree / f"{number % 97:02}" / f"{number % 13:02}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"file-{number}"
        file.write_bytes(content[number] if number < len(content) else content[number - len(content)])
        if number % 11 == 0:
            file.chmod(0o755)
    return tree


def environment(directory: Path) -> dict[str, str]:
    """Ours, with Nix's configuration, and with Python's bytecode kept as an installed program has it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **env,
        "NIX_CONF_DIR": str(directory),
        "HOME": str(directory),
        "PYTHONPYCACHEPREFIX": str(directory / "bytecode"),
    }


class Bench:
    def __init__(self, directory: Path, tree: Path, runs: int) -> None:
        self.directory = directory
        self.tree = tree
        self.runs = runs
        (directory / "nix.conf").write_text(
            "build-users-group =\nsubstituters =\nexperimental-features = nix-command\nsandbox = true\n"
        )
        self.env = environment(directory)

    def fresh(self, name: str) -> Path:
        root = self.directory / name
        fs.remove_tree(root)
        (root / "nix" / "var" / "nix").mkdir(parents=True)
        return root

    def nix(self, tool: str, root: Path, *words: str | Path) -> str:
        return process.run([tool, "--store", root, *words], env=self.env).text.strip()

    def ours(self, root: Path, *words: str | Path) -> str:
        return process.run([*ANICCA, "--store", root, "store", *words], env=self.env).text.strip()

    def compare(
        self, what: str, theirs: Callable[[], Callable[[], object]], ours: Callable[[], Callable[[], object]]
    ) -> None:
        """Each side prepares anew for each run, then is timed."""
        costs: dict[str, list[Cost]] = {"nix": [], "anicca": []}
        for _ in range(self.runs):
            for side, prepare in (("nix", theirs), ("anicca", ours)):
                work = prepare()
                # What was prepared is written before, not beside what is timed.
                os.sync()
                costs[side].append(timed(work))
        nix, anicca = (
            Cost(statistics.median(c.wall for c in costs[s]), statistics.median(c.cpu for c in costs[s]))
            for s in ("nix", "anicca")
        )
        print(
            f"{what:<28} wall {nix.wall:7.3f} {anicca.wall:7.3f}  {anicca.wall / nix.wall:5.2f}x"
            f"   cpu {nix.cpu:7.3f} {anicca.cpu:7.3f}  {anicca.cpu / nix.cpu:5.2f}x",
            flush=True,
        )


def run(bench: Bench) -> None:  # noqa: C901 (what is compared, one after the other)
    tree = bench.tree
    print(f"{'':<28} wall     nix  anicca  ratio   cpu     nix  anicca  ratio")
    quiet = ["sh", "-c", 'exec "$@" > /dev/null', "sh"]
    bench.compare(
        "hash",
        lambda: lambda: process.run(["nix-hash", "--type", "sha256", tree], env=bench.env),
        lambda: lambda: process.run([*ANICCA, "store", "hash", tree], env=bench.env),
    )
    bench.compare(
        "dump",
        lambda: (
            lambda: process.run([*quiet, "nix-store", "--store", bench.directory / "n", "--dump", tree], env=bench.env)
        ),
        lambda: lambda: process.run([*quiet, *ANICCA, "store", "dump", tree], env=bench.env),
    )

    def adds(side: str) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            root = bench.fresh(side)
            if side == "n":
                return lambda: bench.nix("nix-store", root, "--add", tree)
            return lambda: bench.ours(root, "add", tree)

        return prepare

    bench.compare("add, new", adds("n"), adds("a"))
    n, a = bench.directory / "n", bench.directory / "a"
    path = bench.nix("nix-store", n, "--add", tree)
    bench.compare(
        "add, valid already",
        lambda: lambda: bench.nix("nix-store", n, "--add", tree),
        lambda: lambda: bench.ours(a, "add", tree),
    )
    bench.compare(
        "verify --check-contents",
        lambda: lambda: bench.nix("nix-store", n, "--verify", "--check-contents"),
        lambda: lambda: bench.ours(a, "verify", "--check-contents"),
    )

    def caches(side: str) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            target = bench.directory / f"cache-{side}"
            fs.remove_tree(target)
            if side == "n":
                return lambda: process.run(
                    ["nix", "copy", "--store", n, "--to", f"file://{target}?compression=none", path], env=bench.env
                )
            return lambda: bench.ours(a, "copy", "--to", f"file://{target}", "--compression", "none", path)

        return prepare

    bench.compare("copy to a file cache (none)", caches("n"), caches("a"))

    def optimises(side: str) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            adds(side)()()
            if side == "n":
                return lambda: bench.nix("nix-store", n, "--optimise")
            return lambda: bench.ours(a, "optimise")

        return prepare

    bench.compare("optimise, first", optimises("n"), optimises("a"))
    bench.compare(
        "optimise, again",
        lambda: lambda: bench.nix("nix-store", n, "--optimise"),
        lambda: lambda: bench.ours(a, "optimise"),
    )

    def collects(side: str) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            adds(side)()()
            if side == "n":
                return lambda: bench.nix("nix-store", n, "--gc")
            return lambda: bench.ours(a, "gc")

        return prepare

    bench.compare("gc of the tree", collects("n"), collects("a"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        try:
            run(Bench(directory, make_tree(directory, options.files, options.megabytes), options.runs))
        except AniccaError as error:
            raise SystemExit(f"{error}\n{error.detail or ''}") from error
        finally:
            for side in "na":
                fs.remove_tree(directory / side)


if __name__ == "__main__":
    main()
