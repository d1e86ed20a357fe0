"""Nix's store in Python: its formats to the byte, a local store, a builder, binary caches.

Usable alone: it knows nothing of Debian, hosts or declarations. Names are fetched from their modules when first
used, so that importing one thing drags nothing else in. docs/internals/store.md has the formats and the order of
writes.
"""

from __future__ import annotations

# Without `typing` and `importlib`, which take longer to import than most questions take to answer.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from anicca.store.cache import BinaryCache
    from anicca.store.context import BuildContext, Builtin
    from anicca.store.copying import copy, substitute
    from anicca.store.derivation import Derivation, Instantiated, Output, instantiate
    from anicca.store.gc import collect
    from anicca.store.hashes import Hash
    from anicca.store.info import PathInfo
    from anicca.store.interface import Store
    from anicca.store.local import LocalStore, source_path_of
    from anicca.store.path import StorePath, make_fixed_path, make_output_path, make_source_path, make_text_path
    from anicca.store.running import Limits
    from anicca.store.signature import PublicKey, SecretKey

# No name that a module has too, such as `build`: the import system would put the module in its place.
_HOME = {
    "BinaryCache": "cache",
    "BuildContext": "context",
    "Builtin": "context",
    "Derivation": "derivation",
    "Hash": "hashes",
    "Instantiated": "derivation",
    "Limits": "running",
    "LocalStore": "local",
    "Output": "derivation",
    "PathInfo": "info",
    "PublicKey": "signature",
    "SecretKey": "signature",
    "Store": "interface",
    "StorePath": "path",
    "collect": "gc",
    "copy": "copying",
    "instantiate": "derivation",
    "make_fixed_path": "path",
    "make_output_path": "path",
    "make_source_path": "path",
    "make_text_path": "path",
    "source_path_of": "local",
    "substitute": "copying",
}

__all__ = [
    "BinaryCache",
    "BuildContext",
    "Builtin",
    "Derivation",
    "Hash",
    "Instantiated",
    "Limits",
    "LocalStore",
    "Output",
    "PathInfo",
    "PublicKey",
    "SecretKey",
    "Store",
    "StorePath",
    "collect",
    "copy",
    "instantiate",
    "make_fixed_path",
    "make_output_path",
    "make_source_path",
    "make_text_path",
    "source_path_of",
    "substitute",
]


def __getattr__(name: str) -> object:
    """Fetch a name from its module at first use."""
    from importlib import import_module  # noqa: PLC0415 (as above)

    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"anicca.store.{home}"), name)
    globals()[name] = found
    return found
