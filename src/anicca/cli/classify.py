"""`anicca classify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.errors import UsageError

if TYPE_CHECKING:
    from anicca.cli.context import Context

READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command
@click.argument("files", nargs=-1, type=READABLE, metavar="FIRST LATER...")
@click.option("--disturbed", is_flag=True, help="Something was changed on purpose between the observations.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="CLASS",
    help="Leave differences of this class out (log, cache, lock, temporary, …); may be given several times.",
)
@click.pass_obj
def classify(context: Context, *, files: tuple[Path, ...], disturbed: bool, ignore: tuple[str, ...]) -> None:
    """Say whether a host is divergent, convergent or congruent.

    FIRST and LATER are baselines in the order in which they were taken; the first is what was intended.
    """
    from anicca.drift.baseline import open_baseline  # noqa: PLC0415
    from anicca.drift.classify import Observed, render, to_record  # noqa: PLC0415
    from anicca.drift.classify import classify as measure  # noqa: PLC0415
    from anicca.drift.examine import compare_baselines  # noqa: PLC0415
    from anicca.drift.rules import CLASSES  # noqa: PLC0415

    if len(files) < 2:  # noqa: PLR2004 (then and now)
        raise UsageError("two baselines at least: what was intended, and a later one")
    unknown = sorted(set(ignore) - set(CLASSES))
    if unknown:
        raise UsageError(f"no class is called {', '.join(unknown)}", hint=f"they are {', '.join(CLASSES)}")
    opened = [open_baseline(file) for file in files]
    observed = [Observed(files[0].name, opened[0].seal.entries, frozenset())]
    for file, later in zip(files[1:], opened[1:], strict=True):
        found = compare_baselines(opened[0], later).found
        differences = {
            (one.drift.path, one.drift.kind, one.drift.digest or one.drift.now)
            for one in found
            if one.judgement.name not in ignore
        }
        observed.append(Observed(file.name, later.seal.entries, frozenset(differences)))
    verdict = measure(observed, disturbed=disturbed)
    context.print(to_record(verdict), "\n".join(render(verdict, [one.name for one in observed])))
