"""Asking the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anicca.cli.store_commands.paths import lines, resolve, resolve_all
from anicca.errors import AniccaError, UsageError
from anicca.store.graph import topological

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from anicca.cli.context import Context
    from anicca.store import LocalStore
    from anicca.store.db import Database
    from anicca.store.nar_reader import Listing
    from anicca.store.path import StorePath

PATHS = click.argument("texts", metavar="PATH...", nargs=-1)
ASKED = {
    "outputs": ("--outputs",),
    "requisites": ("-R", "--requisites"),
    "references": ("--references",),
    "referrers": ("--referrers",),
    "referrers_closure": ("--referrers-closure",),
    "deriver": ("-d", "--deriver"),
    "valid_derivers": ("--valid-derivers",),
    "hash": ("--hash",),
    "size": ("--size",),
    "tree": ("--tree",),
    "graph": ("--graph",),
    "roots": ("--roots",),
    "resolve": ("--resolve",),
}


def _question_options(command: Callable[..., None]) -> Callable[..., None]:
    for what, names in reversed(ASKED.items()):
        command = click.option(*names, "question", flag_value=what, help=f"Print {what.replace('_', ' ')}.")(command)
    return command


@click.command()
@_question_options
@click.option("-b", "--binding", metavar="NAME", help="Print a variable of derivations' environments.")
@click.option("-u", "--use-output", is_flag=True, help="Ask about a derivation's outputs instead of itself.")
@click.option("--include-outputs", is_flag=True, help="With --requisites: the outputs of derivations too.")
@PATHS
@click.pass_obj
def query(
    context: Context,
    *,
    question: str | None,
    binding: str | None,
    use_output: bool,
    include_outputs: bool,
    texts: tuple[str, ...],
) -> None:
    """Ask about objects: what they refer to, what refers to them, what they were made from, what keeps them."""
    if (question is None) == (binding is None):
        raise UsageError("say one thing to ask, such as --references or --requisites")
    with context.open_store() as store:
        paths = resolve_all(store, texts)
        if use_output:
            paths = [p for path in paths for p in _outputs(store, path)]
        if question != "outputs":
            _refuse_invalid(store, paths)
        found = (
            [store.read_derivation(p).env.get(binding, "") for p in paths]
            if binding is not None
            else list(map(str, _answer(store, question or "", paths, include_outputs=include_outputs)))
        )
    context.print(found, lines(found))


def _refuse_invalid(store: LocalStore, paths: Sequence[StorePath]) -> None:
    valid = store.valid(paths)
    for path in paths:
        if path not in valid:
            raise AniccaError(f"{path}: not valid in this store")


def _outputs(store: LocalStore, path: StorePath) -> list[StorePath]:
    return sorted(store.read_derivation(path).output_paths.values()) if path.is_derivation else [path]


def _answer(  # noqa: C901 (one case for each question)
    store: LocalStore, question: str, paths: list[StorePath], *, include_outputs: bool
) -> Iterable[object]:
    """What is printed, in `nix-store`'s order."""
    db = store.reading()
    if db is None:
        return []
    infos = store.infos(paths) if question in ("deriver", "hash", "size") else {}
    match question:
        case "outputs":
            return [o for path in paths for o in _outputs(store, path)]
        case "requisites":
            closure = store.closure(paths)
            if include_outputs:
                outputs = [o for p in closure if p.is_derivation for o in db.derivation_outputs(p).values()]
                closure |= store.closure(store.valid(outputs))
            return store.sorted_by_need(closure)
        case "references":
            return store.sorted_by_need({r for of in db.needs(paths).values() for r in of})
        case "referrers":
            return store.sorted_by_need({r for p in paths for r in db.referrers(p)})
        case "referrers_closure":
            return store.sorted_by_need(db.closure(paths, referrers=True))
        case "deriver":
            return [infos[p].deriver or "unknown-deriver" for p in paths]
        case "valid_derivers":
            return [d for p in paths for d in sorted(db.derivers(p))]
        case "hash":
            return [infos[p].nar_hash for p in paths]
        case "size":
            return [infos[p].nar_size for p in paths]
        case "roots":
            return _roots(store, db, paths)
        case "tree":
            return [line for p in paths for line in _tree(store, p)]
        case "graph":
            return ["digraph G {", *_graph(store, paths), "}"]
        case _:
            return paths


def _roots(store: LocalStore, db: Database, paths: Sequence[StorePath]) -> list[str]:
    from anicca.store.roots import find_roots  # noqa: PLC0415 (where used)

    users = db.closure(paths, referrers=True)
    return sorted(f"{s} -> {p}" for p, sources in find_roots(store).items() if p in users for s in sources)


def _tree(store: LocalStore, top: StorePath) -> Iterator[str]:
    """References as a tree; what was shown before is only named."""
    infos = store.infos(store.closure([top]))
    shown: set[StorePath] = set()

    def walk(path: StorePath, first: str, rest: str) -> Iterator[str]:
        if path in shown:
            yield f"{first}{path} [...]"
            return
        shown.add(path)
        yield f"{first}{path}"
        children = topological({r: infos[r].references for r in sorted(infos[path].references) if r != path})
        for child in children:
            last = child == children[-1]
            yield from walk(child, rest + ("└───" if last else "├───"), rest + ("    " if last else "│   "))

    yield from walk(top, "", "")


def _graph(store: LocalStore, paths: Sequence[StorePath]) -> Iterator[str]:
    for path, info in sorted(store.infos(store.closure(paths)).items()):
        yield f'"{path.basename}" [label = "{path.name}", shape = box];'
        for reference in sorted(info.references):
            if reference != path:
                yield f'"{reference.basename}" -> "{path.basename}";'


@click.command()
@click.option("--print-invalid", is_flag=True, help="Print those that are not valid instead of failing.")
@PATHS
@click.pass_obj
def check_validity(context: Context, *, print_invalid: bool, texts: tuple[str, ...]) -> None:
    """Fail unless all paths are valid."""
    with context.open_store() as store:
        paths = resolve_all(store, texts)
        valid = store.valid(paths)
    invalid = [p for p in paths if p not in valid]
    if print_invalid or not invalid:
        context.print([str(p) for p in invalid], lines(invalid))
    else:
        raise AniccaError(f"{invalid[0]}: not valid in this store")


@click.command()
@click.option("-r", "--recursive", is_flag=True, help="Everything they refer to as well.")
@click.option("-S", "--closure-size", is_flag=True, help="Show the bytes of all they refer to.")
@click.option("-s", "--size", is_flag=True, help="Show the bytes of their NARs.")
@click.option("--sigs", is_flag=True, help="Show who signed them.")
@click.option("--all", "everything", is_flag=True, help="All valid objects.")
@PATHS
@click.pass_obj
def path_info(
    context: Context,
    *,
    recursive: bool,
    closure_size: bool,
    size: bool,
    sigs: bool,
    everything: bool,
    texts: tuple[str, ...],
) -> None:
    """Print what is known of objects; with `anicca --json`, all of it, as Nix does."""
    from anicca.store.json_forms import path_info_json  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        wanted = None if everything else resolve_all(store, texts)
        if wanted is not None:
            store.closure(wanted)
        paths = store.all_valid() if wanted is None else sorted(store.closure(wanted)) if recursive else wanted
        infos = store.infos(paths)
        sizes = _closure_sizes(store, paths) if closure_size else {}
    record = {str(p): path_info_json(infos[p], closure_size=sizes.get(p)) for p in paths}
    rows = []
    for path in paths:
        columns = [str(path)]
        columns += [str(infos[path].nar_size)] if size else []
        columns += [str(sizes[path])] if closure_size else []
        columns += list(infos[path].signatures) if sigs else []
        rows.append("\t".join(columns))
    context.print(record, lines(rows))


def _closure_sizes(store: LocalStore, paths: Iterable[StorePath]) -> dict[StorePath, int]:
    sizes = {}
    wanted = list(paths)
    infos = store.infos(store.closure(wanted))
    for path in wanted:
        seen = {path}
        todo = [path]
        while todo:
            more = infos[todo.pop()].references - seen
            seen |= more
            todo += more
        sizes[path] = sum(infos[p].nar_size for p in seen)
    return sizes


@click.command()
@click.option("--type", "algorithm", default="sha256", type=click.Choice(["md5", "sha1", "sha256", "sha512"]))
@click.option("--flat", is_flag=True, help="Hash a file's content instead of the NAR.")
@click.option("--base32", "base", flag_value="base32", help="Print it in Nix's base 32.")
@click.option("--base16", "base", flag_value="base16", default=True, help="Print it in base 16.")
@click.option("--sri", "base", flag_value="sri", help="Print it as <algorithm>-<base 64>.")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.pass_obj
def hash(context: Context, *, algorithm: str, flat: bool, base: str, file: Path) -> None:  # noqa: A001
    """Print the hash of a tree's NAR or of a file."""
    from anicca.store.hashes import Hash, hasher  # noqa: PLC0415 (where used)
    from anicca.store.nar import hash_views, watched  # noqa: PLC0415
    from anicca.store.nar_fill import fill  # noqa: PLC0415

    if flat:
        state = hasher(algorithm)
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 18):
                state.update(chunk)
        found = Hash(algorithm, state.digest())
    else:
        found, _size = hash_views(watched(fill(file), "hash", context.report), algorithm)
    text = {"base32": found.nix32, "sri": found.sri}.get(base, found.hex)
    context.print({"hash": found.sri}, text)


def _inside(store: LocalStore, text: str) -> Path:
    """Where a file of an object lies, links followed within the store as a process would see them."""
    path = resolve(store, text)
    store.info(path)
    inner = Path(text)
    for top in (Path("/nix/store"), store.store_dir):
        if inner.absolute().is_relative_to(top):
            return store.store_dir / inner.absolute().relative_to(top)
    return store.physical(path)


@click.command()
@click.argument("text", metavar="PATH")
@click.pass_obj
def cat(context: Context, *, text: str) -> None:
    """Print a file of an object; with `anicca --json`, as text where it is UTF-8, else in base 64."""
    with context.open_store() as store:
        file = _inside(store, text)
        try:
            if context.json:
                context.print(_content_json(file.read_bytes()), "")
                return
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 18):
                    sys.stdout.buffer.write(chunk)
        except OSError as error:
            raise AniccaError(f"{text}: {error.strerror}") from error


def _content_json(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        from base64 import b64encode  # noqa: PLC0415 (where used)

        return {"base64": b64encode(content).decode()}


@click.command()
@click.option("-R", "--recursive", is_flag=True, help="Directories within it too.")
@click.option("-l", "--long", is_flag=True, help="Show kind, size and targets.")
@click.argument("text", metavar="PATH")
@click.pass_obj
def ls(context: Context, *, recursive: bool, long: bool, text: str) -> None:
    """List what an object holds."""
    from anicca.store.nar import dump, listing  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        top = listing(dump(_inside(store, text)))
    context.print(top, lines(_listed(top, "", recursive=recursive, long=long)))


def _listed(node: Listing, name: str, *, recursive: bool, long: bool) -> Iterator[str]:
    entries: Any = node.get("entries")
    if entries is None:
        yield _row(node, name or ".", long=long)
        return
    for child, below in entries.items():
        path = f"{name}/{child}" if name else f"./{child}"
        if below["type"] == "directory" and recursive:
            yield _row(below, path, long=long)
            yield from _listed(below, path, recursive=True, long=long)
        else:
            yield _row(below, path, long=long)


def _row(node: Listing, path: str, *, long: bool) -> str:
    if not long:
        return path
    mode = {"directory": "dr-xr-xr-x", "symlink": "lrwxrwxrwx"}.get(
        str(node["type"]), "-r-xr-xr-x" if node.get("executable") else "-r--r--r--"
    )
    target = f" -> {node['target']}" if "target" in node else ""
    return f"{mode} {node.get('size', 0):>20} {path}{target}"
