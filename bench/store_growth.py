"""Adding, optimising and collecting as a store grows, anicca beside real Nix: wall and CPU seconds, and CPU per path.

    python -m bench.store_growth [--paths 1000 10000 50000] [--directory DIR]

Each store is made of so many small files, a tenth of them equal to another; half are rooted when garbage is collected.
Linear is: what a path costs does not grow with their number. Needs root and nix-bin.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from bench.store_bulk import Bench, Cost, timed

from anicca import fs
from anicca.store import StorePath

CALL = 10_000
"""So many files are added by one call: a command line has a longest length."""
SIDES = ("nix", "anicca")


def make_files(directory: Path, count: int) -> list[Path]:
    directory.mkdir()
    made = [directory / f"file-{number}" for number in range(count)]
    for number, file in enumerate(made):
        file.write_text(f"{number if number % 10 else 0}\n" * 20)
    return made


def root_half(root: Path, names: list[str]) -> None:
    """Every second path, by links that both know."""
    gcroots = root / "nix/var/nix/gcroots/half"
    gcroots.mkdir(parents=True)
    for name in names[::2]:
        (gcroots / name).symlink_to(f"/nix/store/{name}")


def measure(bench: Bench, side: str, files: list[Path]) -> dict[str, Cost]:
    root = bench.fresh(side)

    def run(verb: str, *words: Path) -> None:
        if side == "nix":
            bench.nix("nix-store", root, f"--{verb}", *words)
        else:
            bench.ours(root, verb, *words)

    def add() -> None:
        for first in range(0, len(files), CALL):
            run("add", *files[first : first + CALL])

    found = {"add": timed(add), "optimise": timed(lambda: run("optimise"))}
    found["optimise again"] = timed(lambda: run("optimise"))
    names = sorted(entry.name for entry in os.scandir(root / "nix/store") if entry.name != ".links")
    assert len(names) == len(files), "every file is an object of its own"
    assert str(StorePath.parse(names[0])) == f"/nix/store/{names[0]}"
    root_half(root, names)
    found["gc of half"] = timed(lambda: run("gc"))
    left = [entry.name for entry in os.scandir(root / "nix/store") if entry.name != ".links"]
    assert sorted(left) == names[::2], "what is rooted stays, all else goes"
    fs.remove_tree(root)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    print(f"{'':<26} wall     nix  anicca  ratio   cpu     nix  anicca  ratio   cpu/path µs     nix  anicca")
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        bench = Bench(directory, directory, 1)
        for count in options.paths:
            files = make_files(directory / "files", count)
            costs = {side: measure(bench, side, files) for side in SIDES}
            for what, nix in costs["nix"].items():
                ours = costs["anicca"][what]
                print(
                    f"{count:>6} {what:<19} wall {nix.wall:7.2f} {ours.wall:7.2f} {ours.wall / nix.wall:5.2f}x"
                    f"   cpu {nix.cpu:7.2f} {ours.cpu:7.2f} {ours.cpu / nix.cpu:5.2f}x"
                    f"               {nix.cpu / count * 1e6:7.0f} {ours.cpu / count * 1e6:7.0f}",
                    flush=True,
                )
            fs.remove_tree(directory / "files")


if __name__ == "__main__":
    main()
