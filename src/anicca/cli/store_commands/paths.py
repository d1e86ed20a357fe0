"""How a person names store objects on the command line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.errors import UsageError
from anicca.store.path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anicca.store import LocalStore

_LINKS = 40
LINK_EQUAL = click.option("--link-equal", is_flag=True, help="Make files that are equal to ones of the store links.")


def resolve(store: LocalStore, text: str) -> StorePath:
    """`/nix/store/…`, a base name, a file within an object, where one lies physically, or links to any of these."""
    # The usual case first: thousands of them may come from another command.
    with suppress(ValueError):
        return StorePath.parse(text)
    current = Path(text).absolute()
    for _ in range(_LINKS):
        for top in (Path("/nix/store"), store.store_dir):
            if current.is_relative_to(top) and current != top:
                try:
                    return StorePath.parse(current.relative_to(top).parts[0])
                except ValueError as error:
                    raise UsageError(f"{text}: {error}") from error
        if not current.is_symlink():
            break
        current = current.parent / current.readlink()
    raise UsageError(f"{text}: neither a store path nor a link to one")


def resolve_all(store: LocalStore, texts: Iterable[str]) -> list[StorePath]:
    """Each of `texts`, in order."""
    return [resolve(store, text) for text in texts]


def lines(paths: Iterable[object]) -> str:
    """One per line."""
    return "\n".join(map(str, paths))
