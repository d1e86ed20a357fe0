"""Adding to the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.cli.store_commands.paths import LINK_EQUAL, lines, resolve_all
from anicca.store.hashes import SIZES

if TYPE_CHECKING:
    from anicca.cli.context import Context

SOURCES = click.Path(exists=False, path_type=Path)


@click.command()
@click.argument("sources", nargs=-1, required=True, type=SOURCES)
@click.option("--name", help="Name the object so instead of like its source.")
@LINK_EQUAL
@click.pass_obj
def add(context: Context, *, sources: tuple[Path, ...], name: str | None, link_equal: bool) -> None:
    """Add files and trees, addressed by the SHA-256 of their NAR; print their paths."""
    with context.open_store(link_equal=link_equal) as store:
        added = [store.add_path(name or source.absolute().name, source, report=context.report) for source in sources]
    context.print([str(p) for p in added], lines(added))


@click.command()
@click.option("--recursive", is_flag=True, help="Hash the NAR instead of a file's content.")
@click.option("--name", help="Name the object so instead of like its source.")
@click.argument("algorithm", type=click.Choice(sorted(SIZES)))
@click.argument("sources", nargs=-1, required=True, type=SOURCES)
@click.pass_obj
def add_fixed(
    context: Context, *, recursive: bool, algorithm: str, sources: tuple[Path, ...], name: str | None
) -> None:
    """Add files or trees, addressed by a hash of the given kind; print their paths."""
    with context.open_store() as store:
        added = [
            store.add_path(
                name or source.absolute().name,
                source,
                method="recursive" if recursive else "flat",
                algorithm=algorithm,
            )
            for source in sources
        ]
    context.print([str(p) for p in added], lines(added))


@click.command()
@click.argument("name")
@click.option("--reference", "references", multiple=True, help="An object that the text refers to.")
@click.pass_obj
def add_text(context: Context, *, name: str, references: tuple[str, ...]) -> None:
    """Add what stdin has as one file; print its path."""
    with context.open_store() as store:
        path = store.add_text(name, sys.stdin.buffer.read(), resolve_all(store, references))
    context.print(str(path), str(path))
