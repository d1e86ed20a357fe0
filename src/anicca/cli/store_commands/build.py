"""Building derivations, their logs, what they say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.cli.store_commands.paths import LINK_EQUAL, lines, resolve, resolve_all
from anicca.errors import UsageError

if TYPE_CHECKING:
    from anicca.cli.context import Context
    from anicca.store import LocalStore
    from anicca.store.path import StorePath
    from anicca.store.signature import PublicKey

PATHS = click.argument("texts", metavar="PATH...", nargs=-1, required=True)


@click.command()
@PATHS
@click.option("--dry-run", is_flag=True, help="Print what would be built; build nothing.")
@click.option("-K", "--keep-failed", is_flag=True, help="Keep the directory of a build that fails.")
@click.option("-k", "--keep-going", is_flag=True, help="Go on with what does not need the one that failed.")
@click.option("-j", "--jobs", default=1, show_default=True, help="Build so many at once.")
@click.option("--cores", default=0, help="Tell builders to use so many cores; 0: all.")
@click.option("--check", is_flag=True, help="Build again what is valid, and compare.")
@click.option("--timeout", type=float, help="End builders after so many seconds.")
@click.option("--max-silent-time", type=float, help="End builders that print nothing for so many seconds.")
@click.option("--add-root", type=click.Path(path_type=Path), help="Make a link to the result that keeps it.")
@click.option("--indirect", is_flag=True, hidden=True)
@click.option("--substituter", "substituters", multiple=True, metavar="URL", help="Ask this binary cache first.")
@click.option("--trusted-key", "trusted_keys", multiple=True, metavar="KEY", help="Trust what this key signed.")
@click.option("--no-check-signatures", is_flag=True, help="Take unsigned objects from caches.")
@LINK_EQUAL
@click.pass_obj
def realise(
    context: Context,
    *,
    texts: tuple[str, ...],
    dry_run: bool,
    keep_failed: bool,
    keep_going: bool,
    jobs: int,
    cores: int,
    check: bool,
    timeout: float | None,
    max_silent_time: float | None,
    add_root: Path | None,
    indirect: bool,
    substituters: tuple[str, ...],
    trusted_keys: tuple[str, ...],
    no_check_signatures: bool,
    link_equal: bool,
) -> None:
    """Make paths valid: build derivations, fetch other objects from caches. Print the outputs."""
    from anicca.store.build import build, load, plan  # noqa: PLC0415 (where used)
    from anicca.store.cache import BinaryCache  # noqa: PLC0415
    from anicca.store.copying import substitute  # noqa: PLC0415
    from anicca.store.running import Limits  # noqa: PLC0415
    from anicca.store.signature import keyring  # noqa: PLC0415

    del indirect
    keys: dict[str, PublicKey] | None = None if no_check_signatures else keyring(trusted_keys)
    caches = [BinaryCache.open(url) for url in substituters]
    with context.open_store(link_equal=link_equal) as store:

        def fetch(paths: set[StorePath]) -> set[StorePath]:
            return substitute(store, caches, paths, keys=keys, report=context.report)

        paths = resolve_all(store, texts)
        plain = [p for p in paths if not p.is_derivation]
        missing = set(plain) - store.valid(plain)
        if missing and not dry_run:
            missing -= fetch(missing)
        if missing:
            raise UsageError(f"{min(missing)}: not valid, no derivation, and in no cache that was given")
        fetch_first = {p for p in paths if p.is_derivation} - store.valid(p for p in paths if p.is_derivation)
        if fetch_first and caches:
            fetch(fetch_first)
        goals = load(store, [p for p in paths if p.is_derivation])
        if dry_run:
            todo = sorted(plan(store, goals))
            context.print([str(p) for p in todo], lines(todo))
            return
        build(
            store,
            goals,
            report=context.report,
            jobs=jobs,
            cores=cores,
            keep_failed=keep_failed,
            keep_going=keep_going,
            check=check,
            limits=Limits(total_seconds=timeout or None, silent_seconds=max_silent_time or None),
            substitute=fetch if caches else None,
        )
        outputs = {goal.path: sorted(goal.outputs.values()) for goal in goals}
        found = [o for path in paths for o in outputs.get(path, [path])]
        printed = _rooted(store, found, add_root) if add_root is not None else [str(p) for p in found]
    context.print(printed, lines(printed))


def _rooted(store: LocalStore, found: list[StorePath], link: Path) -> list[str]:
    """Links that keep what was found: the first as given, others with a number."""
    links = [link if not n else link.with_name(f"{link.name}-{n + 1}") for n in range(len(found))]
    for place, path in zip(links, found, strict=True):
        store.add_indirect_root(place, path)
    return [str(place) for place in links]


@click.command()
@PATHS
@click.pass_obj
def log(context: Context, *, texts: tuple[str, ...]) -> None:
    """Print the log of building a derivation or an output; with `anicca --json`, the text by derivation."""
    from anicca.store.logs import read_log  # noqa: PLC0415 (where used)

    logs = {}
    with context.open_store() as store:
        for text in texts:
            path = resolve(store, text)
            drv = path if path.is_derivation else store.info(path).deriver
            if drv is None:
                raise UsageError(f"{path}: was not built here")
            chunks = read_log(store.log_dir, drv)
            if context.json:
                logs[str(drv)] = b"".join(chunks).decode("utf-8", "surrogateescape")
            else:
                sys.stdout.buffer.writelines(chunks)
    sys.stdout.buffer.flush()
    if context.json:
        context.print(logs, "")


@click.command()
@click.option("-r", "--recursive", is_flag=True, help="Those that they need too.")
@PATHS
@click.pass_obj
def show_derivation(context: Context, *, recursive: bool, texts: tuple[str, ...]) -> None:
    """Print derivations as JSON, as `nix derivation show` does; of an output, the one it was built by."""
    import json  # noqa: PLC0415 (where used)

    from anicca.store.json_forms import derivation_json  # noqa: PLC0415

    found = {}
    with context.open_store() as store:
        todo = [p if p.is_derivation else store.info(p).deriver for p in resolve_all(store, texts)]
        while todo:
            path = todo.pop()
            if path is None:
                raise UsageError("an object that was not built has no derivation")
            if str(path) in found:
                continue
            drv = store.read_derivation(path)
            found[str(path)] = derivation_json(drv)
            if recursive:
                todo += drv.input_derivations
    click.echo(json.dumps(dict(sorted(found.items())), indent=2))


@click.command()
@click.argument("text", metavar="DRV")
@click.pass_obj
def print_env(context: Context, *, text: str) -> None:
    """Print a derivation's environment, and its builder's arguments, as shell commands."""
    with context.open_store() as store:
        drv = store.read_derivation(resolve(store, text))
    env = dict(sorted(drv.env.items()))
    text_lines = [f"export {name}; {name}={_quoted(value)}" for name, value in env.items()]
    arguments = " ".join(map(_quoted, drv.args))
    context.print({"env": env, "args": list(drv.args)}, lines([*text_lines, f"export _args; _args='{arguments}'"]))


def _quoted(text: str) -> str:
    """Text that a shell takes as it is, as `nix-store` quotes it."""
    return "'" + text.replace("'", "'\\''") + "'"
