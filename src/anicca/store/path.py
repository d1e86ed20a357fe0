"""Store paths: `/nix/store/<32 characters>-<name>`, and how each kind is computed (nix `store-path.md`).

The logical store is always `/nix/store`, wherever it lies physically, so that paths mean the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from anicca.store import base32, spelling
from anicca.store.hashes import Hash, compress
from anicca.store.spelling import HASH_LENGTH, MAX_NAME_LENGTH, is_basename, is_name

if TYPE_CHECKING:
    from collections.abc import Iterable

STORE_DIR = spelling.STORE_DIR
Method = Literal["flat", "recursive"]
"""What a fixed hash is over: a plain file's contents, or the NAR."""


@dataclass(frozen=True, slots=True, order=True)
class StorePath:
    """The name of an object in the store. Ordered as Nix orders: by hash part, then name."""

    hash_part: str
    name: str

    def __str__(self) -> str:
        return f"{STORE_DIR}/{self.hash_part}-{self.name}"

    @property
    def basename(self) -> str:
        """`<hash>-<name>` without the store's directory."""
        return f"{self.hash_part}-{self.name}"

    @property
    def is_derivation(self) -> bool:
        """Whether this names a `.drv`."""
        return self.name.endswith(".drv")

    @classmethod
    def parse(cls, text: str) -> StorePath:
        """Read `/nix/store/<hash>-<name>` or `<hash>-<name>`. Raises ValueError with the reason."""
        base = text.removeprefix(STORE_DIR + "/")
        if not is_basename(base):
            raise ValueError(f"{text!r} is not a path of {STORE_DIR}")
        return cls(base[:HASH_LENGTH], base[HASH_LENGTH + 1 :])

    @classmethod
    def within(cls, text: str) -> StorePath:
        """The store path that `text` is, or that it lies in. Raises ValueError."""
        if not text.startswith(STORE_DIR + "/"):
            raise ValueError(f"{text!r} is not in {STORE_DIR}")
        return cls.parse(text[len(STORE_DIR) + 1 :].split("/", 1)[0])


def check_name(name: str) -> None:
    """Raise ValueError unless `name` can end a store path."""
    if not is_name(name):
        raise ValueError(
            f"{name!r} is not a store path's name: 1 to {MAX_NAME_LENGTH} of A-Z a-z 0-9 + - . _ ? =,"
            " not '.' and '..', nor with a dash after them"
        )


def make_path(kind: str, inner: str, name: str) -> StorePath:
    """The path of `kind` whose inner digest is `inner` (base 16 of a SHA-256)."""
    check_name(name)
    outer = sha256(f"{kind}:sha256:{inner}:{STORE_DIR}:{name}".encode()).digest()
    return StorePath(base32.encode(compress(outer)), name)


def _with_references(kind: str, references: Iterable[StorePath], *, self_reference: bool = False) -> str:
    return ":".join([kind, *(str(p) for p in sorted(references)), *(["self"] if self_reference else [])])


def make_text_path(name: str, content: bytes, references: Iterable[StorePath] = ()) -> StorePath:
    """The path of a flat file written by us, such as a `.drv`."""
    return make_path(_with_references("text", references), sha256(content).hexdigest(), name)


def make_source_path(
    name: str, nar_hash: Hash, references: Iterable[StorePath] = (), *, self_reference: bool = False
) -> StorePath:
    """The path of a tree addressed by its NAR's SHA-256."""
    if nar_hash.algorithm != "sha256":
        raise ValueError(f"a source path needs a sha256 hash, not {nar_hash.algorithm}")
    return make_path(_with_references("source", references, self_reference=self_reference), nar_hash.hex, name)


def make_fixed_path(
    name: str, method: Method, content: Hash, references: Iterable[StorePath] = (), *, self_reference: bool = False
) -> StorePath:
    """The path of an object whose content's hash was given beforehand."""
    if method == "recursive" and content.algorithm == "sha256":
        return make_source_path(name, content, references, self_reference=self_reference)
    if self_reference or tuple(references):
        raise ValueError(f"{name!r}: only a recursive sha256 path can have references")
    marker = "r:" if method == "recursive" else ""
    inner = sha256(f"fixed:out:{marker}{content.algorithm}:{content.hex}:".encode()).hexdigest()
    return make_path("output:out", inner, name)


def make_output_path(drv_name: str, output: str, modulo_hex: str) -> StorePath:
    """The path of output `output` of a derivation whose masked modulo hash is `modulo_hex`."""
    return make_path(f"output:{output}", modulo_hex, output_name(drv_name, output))


def output_name(drv_name: str, output: str) -> str:
    """The name of a derivation's output: the derivation's own for `out`."""
    return drv_name if output == "out" else f"{drv_name}-{output}"


def content_address(method: Literal["text", "flat", "recursive"], content: Hash) -> str:
    """The `ca` field of databases and narinfo files: `text:sha256:…`, `fixed:sha1:…`, `fixed:r:sha256:…`."""
    return {"text": "text:", "flat": "fixed:", "recursive": "fixed:r:"}[method] + str(content)
