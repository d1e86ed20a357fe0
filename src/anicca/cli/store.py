"""`anicca store`: a verb for each thing that a store can do, and `nix-store`'s short names for those that it has."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

VERBS = {
    "add": ("add", "add files and trees, addressed by their content"),
    "add-fixed": ("add", "add files or trees, addressed by a hash of your choice"),
    "add-text": ("add", "add what stdin has as one file"),
    "address": ("move", "give closures paths that follow from their content"),
    "cat": ("query", "print a file of an object"),
    "check-validity": ("query", "fail unless all paths are valid"),
    "copy": ("move", "copy closures to or from a binary cache or another store"),
    "delete": ("maintain", "delete objects that nothing needs"),
    "dump": ("move", "write the NAR of a file or tree to stdout"),
    "dump-db": ("maintain", "print what the database knows, as text"),
    "export": ("move", "write objects with their references to stdout"),
    "gc": ("maintain", "delete what no root reaches"),
    "hash": ("query", "print the hash of a file or of a tree's NAR"),
    "import": ("move", "add what `export` wrote, from stdin"),
    "key": ("move", "make a pair of signing keys"),
    "load-db": ("maintain", "register what `dump-db` printed, from stdin"),
    "log": ("build", "print the log of a build"),
    "ls": ("query", "list what an object holds"),
    "optimise": ("maintain", "make equal files one file"),
    "path-info": ("query", "print what is known of objects"),
    "print-env": ("build", "print a derivation's environment as shell commands"),
    "profile": ("profile", "set, list, roll back and delete generations"),
    "query": ("query", "ask about references, derivers, roots"),
    "realise": ("build", "build derivations, or fetch them from caches"),
    "rebuild-db": ("maintain", "make a lost database anew from what is provably whole"),
    "register-validity": ("maintain", "register objects that lie in the store"),
    "repair-path": ("maintain", "replace damaged objects by good ones"),
    "restore": ("move", "lay out a NAR from stdin"),
    "root": ("maintain", "keep an object through collections"),
    "serve": ("move", "serve this store as a binary cache"),
    "show-derivation": ("build", "print derivations as JSON"),
    "sign": ("move", "sign objects"),
    "verify": ("maintain", "check the store, and repair it"),
    "verify-path": ("maintain", "check that objects are what they were"),
}
"""Each verb's module in `store_commands`, and its help."""

SHORT = {
    "-q": "query",
    "-r": "realise",
    "-l": "log",
    "--realize": "realise",
    "--optimize": "optimise",
    "--read-log": "log",
    "--generate-binary-cache-key": "key",
} | {
    f"--{verb}": verb
    for verb in (
        "add",
        "add-fixed",
        "check-validity",
        "delete",
        "dump",
        "dump-db",
        "export",
        "gc",
        "import",
        "load-db",
        "optimise",
        "print-env",
        "query",
        "realise",
        "register-validity",
        "repair-path",
        "restore",
        "verify",
        "verify-path",
    )
}
"""How `nix-store` calls them."""


class Verbs(click.Group):
    """A group whose verbs are imported when used, under our names and `nix-store`'s."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn a leading `-q`, `-qR`, `--gc` into the verb that it means."""
        if args and args[0] in SHORT:
            args = [SHORT[args[0]], *args[1:]]
        elif args and args[0].startswith(("-q", "-r")) and not args[0].startswith("--"):
            args = [SHORT[args[0][:2]], f"-{args[0][2:]}", *args[1:]]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The verbs' names."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The verb of that name."""
        if cmd_name not in VERBS:
            return None
        module = import_module(f"anicca.cli.store_commands.{VERBS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        found: Any = getattr(module, f"{name}_" if name == "import" else name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list for `--help`, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, VERBS[verb][1]) for verb in sorted(VERBS)])


@click.group(cls=Verbs)
def store() -> None:
    """Look into the store, add to it, build in it, move objects, check it, collect its garbage.

    What `nix-store` calls `-q`, `-qR`, `-r`, `--gc`, `--verify`, … is understood as well and prints the same.
    """
