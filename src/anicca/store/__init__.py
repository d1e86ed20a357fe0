"""Nix's store in Python: its formats to the byte, a local store, a builder, binary caches.

Usable alone: it knows nothing of Debian, hosts or declarations. Names are fetched from their modules when first
used, so that importing one thing drags nothing else in. docs/internals/store.md has the formats and the order of
writes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anicca.store.build import build
    from anicca.store.context import BuildContext, Builtin
    from anicca.store.derivation import Derivation, Instantiated, Output, instantiate
    from anicca.store.hashes import Hash
    from anicca.store.info import PathInfo
    from anicca.store.local import LocalStore, source_path_of
    from anicca.store.path import StorePath, make_fixed_path, make_output_path, make_source_path, make_text_path

_HOME = {
    "BuildContext": "context",
    "Builtin": "context",
    "Derivation": "derivation",
    "Hash": "hashes",
    "Instantiated": "derivation",
    "LocalStore": "local",
    "Output": "derivation",
    "PathInfo": "info",
    "StorePath": "path",
    "build": "build",
    "instantiate": "derivation",
    "make_fixed_path": "path",
    "make_output_path": "path",
    "make_source_path": "path",
    "make_text_path": "path",
    "source_path_of": "local",
}

__all__ = [
    "BuildContext",
    "Builtin",
    "Derivation",
    "Hash",
    "Instantiated",
    "LocalStore",
    "Output",
    "PathInfo",
    "StorePath",
    "build",
    "instantiate",
    "make_fixed_path",
    "make_output_path",
    "make_source_path",
    "make_text_path",
    "source_path_of",
]


def __getattr__(name: str) -> object:
    """Fetch a name from its module at first use."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"anicca.store.{home}"), name)
    globals()[name] = found
    return found
