"""Keeping the store whole and small."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from anicca.cli.quick_work import collected_text, linked_text
from anicca.cli.store_commands.paths import lines, resolve, resolve_all
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from anicca.cli.context import Context
    from anicca.store.gc import Collected
    from anicca.store.path import StorePath

SUBSTITUTERS = click.option(
    "--substituter",
    "substituters",
    multiple=True,
    metavar="URL",
    help="Ask this binary cache. What has the registered hash needs no signature.",
)
PATHS = click.argument("texts", metavar="PATH...", nargs=-1, required=True)


@click.command()
@click.option("--print-roots", "show", flag_value="roots", help="Print the roots; delete nothing.")
@click.option("--print-live", "show", flag_value="live", help="Print what they reach; delete nothing.")
@click.option("--print-dead", "show", flag_value="dead", help="Print what they do not reach; delete nothing.")
@click.option("--dry-run", "show", flag_value="dead", help="The same as --print-dead.")
@click.option("--max-freed", type=int, metavar="BYTES", help="Stop when so many bytes are free.")
@click.option("--keep-outputs", is_flag=True, help="Keep the outputs of derivations that are kept.")
@click.option("--no-keep-derivations", is_flag=True, help="Do not keep what live outputs were built from.")
@click.pass_obj
def gc(
    context: Context, *, show: str | None, max_freed: int | None, keep_outputs: bool, no_keep_derivations: bool
) -> None:
    """Delete what no root reaches, and leftovers of interrupted work."""
    from anicca.store import gc as collector  # noqa: PLC0415 (where used)
    from anicca.store.roots import find_roots  # noqa: PLC0415

    keep_derivations = not no_keep_derivations
    with context.open_store() as store:
        if show == "roots":
            found = sorted(f"{s} -> {p}" for p, sources in find_roots(store).items() for s in sources)
            context.print(found, lines(found))
        elif show is not None:
            some = collector.live_paths if show == "live" else collector.dead_paths
            paths = sorted(some(store, keep_derivations=keep_derivations, keep_outputs=keep_outputs))
            context.print([str(p) for p in paths], lines(paths))
        else:
            collected = collector.collect(
                store,
                max_freed_bytes=max_freed,
                keep_derivations=keep_derivations,
                keep_outputs=keep_outputs,
                report=context.report,
            )
            _print_collected(context, collected)


def _print_collected(context: Context, collected: Collected) -> None:
    record = {"paths": [str(p) for p in collected.paths], "freed": collected.freed_bytes}
    context.print(record, collected_text(len(collected.paths), collected.freed_bytes))


@click.command()
@click.option("--ignore-liveness", is_flag=True, help="Delete it even if a root reaches it.")
@PATHS
@click.pass_obj
def delete(context: Context, *, ignore_liveness: bool, texts: tuple[str, ...]) -> None:
    """Delete objects that nothing needs."""
    from anicca.store.gc import collect  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        paths = resolve_all(store, texts)
        collected = collect(store, only=paths, ignore_liveness=ignore_liveness, report=context.report)
    _print_collected(context, collected)


@click.command()
@click.pass_obj
def optimise(context: Context) -> None:
    """Make equal files one file."""
    from anicca.store.optimise import optimise as link  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        saved = link(store, report=context.report)
    context.print({"files": saved.files, "bytes": saved.size_bytes}, linked_text(saved.files, saved.size_bytes))


@click.command()
@click.option("--check-contents", is_flag=True, help="Hash every object again.")
@click.option("--repair", is_flag=True, help="Replace what is damaged, from caches or by building it again.")
@SUBSTITUTERS
@click.pass_obj
def verify(
    context: Context,
    *,
    check_contents: bool,
    repair: bool,
    substituters: tuple[str, ...],
) -> None:
    """Check that every registered object is there and, with --check-contents, is what it was."""
    from anicca.store.verify import verify as check  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        damages = check(store, check_contents=check_contents, report=context.report)
        left = [str(d) for d in damages]
        if repair:
            paths = [d.path for d in damages if d.path is not None]
            left = [str(d) for d in damages if d.path is None]
            left += _repair(context, paths, substituters)
    context.print({"damaged": left}, lines(left))
    if left:
        raise AniccaError(f"{len(left)} objects of the store are damaged")


def _repair(context: Context, paths: list[StorePath], substituters: tuple[str, ...]) -> list[str]:
    """Repair what can be; a sentence for each that cannot."""
    from anicca.store.cache import BinaryCache  # noqa: PLC0415 (where used)
    from anicca.store.repair import repair  # noqa: PLC0415

    caches = [BinaryCache.open(url) for url in substituters]
    left = []
    with context.open_store() as store:
        for path in paths:
            try:
                repair(store, path, caches=caches, report=context.report)
            except AniccaError as error:
                left.append(str(error))
    return left


@click.command()
@PATHS
@click.option(
    "--trusted-key", "trusted_keys", multiple=True, metavar="KEY", help="Each must be signed by this key too."
)
@click.pass_obj
def verify_path(context: Context, *, texts: tuple[str, ...], trusted_keys: tuple[str, ...]) -> None:
    """Fail unless all these objects are what they were when they were registered.

    With keys, each must be signed by one of them, or be named by its content.
    """
    from anicca.store.signature import keyring  # noqa: PLC0415 (where used)
    from anicca.store.verify import damage_of, unsigned  # noqa: PLC0415

    with context.open_store() as store:
        infos = [store.info(p) for p in resolve_all(store, texts)]
        found = [d for info in infos if (d := damage_of(store, info)) is not None]
        if trusted_keys:
            found += unsigned(infos, keyring(trusted_keys))
    context.print({"damaged": [str(d) for d in found]}, lines(found))
    if found:
        raise AniccaError(f"{len(found)} objects are damaged")


@click.command()
@PATHS
@SUBSTITUTERS
@click.pass_obj
def repair_path(context: Context, *, texts: tuple[str, ...], substituters: tuple[str, ...]) -> None:
    """Replace damaged objects by good ones, from caches or by building them again."""
    with context.open_store() as store:
        paths = resolve_all(store, texts)
    left = _repair(context, paths, substituters)
    if left:
        raise AniccaError(left[0], detail="\n".join(left[1:]) or None)


@click.command()
@click.pass_obj
def dump_db(context: Context) -> None:
    """Print what the database knows, as text for `load-db`."""
    from anicca.store.json_forms import path_infos_json  # noqa: PLC0415
    from anicca.store.registration import dump_registration  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        infos = store.infos()
        if context.json:
            context.print(path_infos_json(infos), "")
            return
        sys.stdout.writelines(f"{line}\n" for line in dump_registration(infos[p] for p in sorted(infos)))


@click.command()
@click.pass_obj
def load_db(context: Context) -> None:
    """Register what `dump-db` printed, from stdin; the objects must lie in the store and be what it says."""
    from anicca.store.registration import parse_registration, register_in_place  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        count = register_in_place(store, parse_registration(line.rstrip("\n") for line in sys.stdin))
    context.print({"registered": count}, "")


@click.command()
@click.option(
    "--hash-given", is_flag=True, help="Each path is followed by its hash and size, as `dump-db` prints them."
)
@click.option("--reregister", is_flag=True, hidden=True)
@click.pass_obj
def register_validity(context: Context, *, hash_given: bool, reregister: bool) -> None:
    """Register objects that lie in the store: path, deriver, number of references, references, a line each."""
    from anicca.store.nar import hash_path  # noqa: PLC0415 (where used)
    from anicca.store.registration import parse_registration, register_in_place  # noqa: PLC0415

    del reregister  # What is valid already gets what is said of it now, as with Nix's flag.
    with context.open_store() as store:
        read = parse_registration(
            (line.rstrip("\n") for line in sys.stdin),
            measure=None if hash_given else lambda path: hash_path(store.physical(path)),
        )
        count = register_in_place(store, read)
    context.print({"registered": count}, "")


@click.command()
@click.pass_obj
def rebuild_db(context: Context) -> None:
    """Make a lost database anew from what is provably whole: objects named by their content. Print them."""
    from anicca.store.rebuild import rebuild_database  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        result = rebuild_database(store, report=context.report)
    record = {"valid": [str(p) for p in result.valid], "unproven": [str(p) for p in result.unproven]}
    context.print(record, lines(result.valid))


@click.command()
@click.argument("name")
@click.argument("text", metavar="PATH")
@click.pass_obj
def root(context: Context, *, name: str, text: str) -> None:
    """Keep an object through collections, under the name NAME; print the link."""
    with context.open_store() as store:
        path = resolve(store, text)
        store.info(path)
        link = store.add_root(name, path)
    context.print(str(link), str(link))
