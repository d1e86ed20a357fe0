"""Objects on their way: NARs, exports, binary caches, signatures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anicca.cli.store_commands.paths import LINK_EQUAL, lines, resolve_all
from anicca.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from anicca.cli.context import Context
    from anicca.store.signature import PublicKey, SecretKey

PATHS = click.argument("texts", metavar="PATH...", nargs=-1, required=True)
CHUNK_BYTES = 1 << 18
KEY_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def _secret(file: Path | None) -> SecretKey | None:
    from anicca.store.signature import parse_secret_key  # noqa: PLC0415 (where used)

    return None if file is None else parse_secret_key(file.read_text())


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.pass_obj
def dump(context: Context, *, path: Path) -> None:
    """Write the NAR of a file or tree, anywhere, to stdout."""
    from anicca.store.nar import watched  # noqa: PLC0415 (where used)
    from anicca.store.nar_fill import fill, give  # noqa: PLC0415

    for view in watched(fill(path), "dump", context.report):
        sys.stdout.buffer.write(view)
        give(view)
    sys.stdout.buffer.flush()


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def restore(path: Path) -> None:
    """Lay out a NAR from stdin at PATH, which must not exist."""
    from anicca.store.nar import restore as lay_out  # noqa: PLC0415 (where used)

    if path.is_symlink() or path.exists():
        raise UsageError(f"{path}: exists; it was left alone")
    lay_out(_chunks(sys.stdin.buffer), path)


@click.command()
@PATHS
@click.pass_obj
def export(context: Context, *, texts: tuple[str, ...]) -> None:
    """Write objects (not what they refer to) with their references to stdout, for `import`."""
    from anicca.store.export import export as chunks  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        for chunk in chunks(store, resolve_all(store, texts), report=context.report):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@click.command("import")
@LINK_EQUAL
@click.pass_obj
def import_(context: Context, *, link_equal: bool) -> None:
    """Add what `export` wrote, from stdin. It carries no signatures: import only what you trust."""
    from anicca.store.export import import_ as add_all  # noqa: PLC0415 (where used)

    with context.open_store(link_equal=link_equal) as store:
        added = add_all(store, _chunks(sys.stdin.buffer), report=context.report)
    context.print([str(p) for p in added], lines(added))


@click.command()
@PATHS
@click.option("--to", "target", metavar="URL", help="Where to: file://…, or the root of another store.")
@click.option("--from", "source", metavar="URL", help="Where from: file://…, http(s)://…, or another store's root.")
@click.option("--compression", default="xz", type=click.Choice(["none", "xz", "bzip2", "zstd"]), show_default=True)
@click.option("--listings", is_flag=True, help="Put a list of what it holds beside each object of a cache.")
@click.option("--secret-key", type=KEY_FILE, help="Sign what is put into a cache.")
@click.option("--trusted-key", "trusted_keys", multiple=True, metavar="KEY", help="Trust what this key signed.")
@click.option("--no-check-signatures", is_flag=True, help="Take unsigned objects.")
@click.option("--no-recursive", is_flag=True, help="Leave out what they refer to.")
@click.option("-j", "--jobs", default=2, show_default=True, help="Send so many at once.")
@click.pass_obj
def copy(
    context: Context,
    *,
    texts: tuple[str, ...],
    target: str | None,
    source: str | None,
    compression: str,
    listings: bool,
    secret_key: Path | None,
    trusted_keys: tuple[str, ...],
    no_check_signatures: bool,
    no_recursive: bool,
    jobs: int,
) -> None:
    """Copy closures to or from a binary cache or another store; only what is missing is sent. Print what was."""
    from anicca.store.cache import BinaryCache  # noqa: PLC0415 (where used)
    from anicca.store.copying import copy as send  # noqa: PLC0415
    from anicca.store.local import LocalStore  # noqa: PLC0415
    from anicca.store.signature import keyring  # noqa: PLC0415

    if (target is None) == (source is None):
        raise UsageError("say either --to or --from")
    url = target or source or ""
    keys: dict[str, PublicKey] | None = None if no_check_signatures or target is not None else keyring(trusted_keys)
    with context.open_store() as store:
        paths = resolve_all(store, texts)
        end: LocalStore | BinaryCache
        if "://" in url:
            end = BinaryCache.open(url, compression=compression, secret_key=_secret(secret_key), listings=listings)
        else:
            end = LocalStore.open(Path(url))
        reading, writing = (store, end) if target is not None else (end, store)
        try:
            sent = send(
                reading, writing, paths, keys=keys, recursive=not no_recursive, jobs=jobs, report=context.report
            )
        finally:
            if isinstance(end, LocalStore):
                end.close()
    context.print([str(p) for p in sent], lines(sent))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, help="The port to listen on; 0: any that is free.")
@click.option("--secret-key", "secret_keys", multiple=True, type=KEY_FILE, help="Sign what is served.")
@click.pass_obj
def serve(context: Context, *, host: str, port: int, secret_keys: tuple[Path, ...]) -> None:
    """Serve this store as a binary cache over HTTP until interrupted. Anyone who can connect can read it all."""
    from anicca.store.serve import CacheServer  # noqa: PLC0415 (where used)

    keys = [key for file in secret_keys if (key := _secret(file)) is not None]
    with context.open_store() as store:
        server = CacheServer(store, (host, port), keys=keys)
        context.print({"url": server.url}, server.url)
        sys.stdout.flush()
        server.run()


@click.command()
@PATHS
@click.option("-k", "--key-file", required=True, type=KEY_FILE, help="The secret key.")
@click.option("-r", "--recursive", is_flag=True, help="What they refer to as well.")
@click.pass_obj
def sign(context: Context, *, texts: tuple[str, ...], key_file: Path, recursive: bool) -> None:
    """Sign objects; print those that got a new signature."""
    key = _secret(key_file)
    assert key is not None
    signed = []
    with context.open_store() as store:
        paths = resolve_all(store, texts)
        db = store.writing()
        for path in sorted(store.closure(paths) if recursive else paths):
            info = store.info(path)
            signature = key.sign(info.fingerprint)
            if signature not in info.signatures:
                db.set_signatures(path, (*info.signatures, signature))
                signed.append(path)
    context.print([str(p) for p in signed], lines(signed))


@click.command()
@click.argument("name")
@click.argument("secret_file", type=click.Path(path_type=Path))
@click.argument("public_file", type=click.Path(path_type=Path))
@click.pass_obj
def key(context: Context, *, name: str, secret_file: Path, public_file: Path) -> None:
    """Make a pair of signing keys called NAME. Files that exist are left alone."""
    import os  # noqa: PLC0415 (where used)

    from anicca.store.signature import generate  # noqa: PLC0415

    for file in (secret_file, public_file):
        if file.exists():
            raise UsageError(f"{file}: exists; it was left alone")
    made = generate(name)
    with os.fdopen(os.open(secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as secret:
        secret.write(made.text)
    public_file.write_text(str(made.public))
    if context.json:
        context.print({"public": str(made.public), "secret_file": str(secret_file)}, "")


@click.command()
@PATHS
@click.pass_obj
def address(context: Context, *, texts: tuple[str, ...]) -> None:
    """Give closures paths that follow from their content, so that no signature is needed; print old and new."""
    from anicca.store.addressing import make_content_addressed  # noqa: PLC0415 (where used)

    with context.open_store() as store:
        moved = make_content_addressed(store, resolve_all(store, texts))
    record = {str(old): str(new) for old, new in sorted(moved.items())}
    context.print(record, lines(f"{old} -> {new}" for old, new in record.items()))
