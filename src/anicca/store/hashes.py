"""Hashes in all of Nix's spellings: base 16, base 32, base 64, SRI, with or without the algorithm in front."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from anicca.store import base32

SIZES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
"""The algorithms of Nix's formats and the bytes of their digests."""


@dataclass(frozen=True, slots=True, order=True)
class Hash:
    """A digest and the algorithm that made it."""

    algorithm: str
    digest: bytes

    def __post_init__(self) -> None:
        if SIZES.get(self.algorithm) != len(self.digest):
            raise ValueError(f"a {self.algorithm} digest of {len(self.digest)} bytes does not exist")

    @property
    def hex(self) -> str:
        """Base 16 without the algorithm."""
        return self.digest.hex()

    @property
    def nix32(self) -> str:
        """Nix's base 32 without the algorithm."""
        return base32.encode(self.digest)

    @property
    def base64(self) -> str:
        """Base 64 without the algorithm."""
        return base64.b64encode(self.digest).decode()

    @property
    def sri(self) -> str:
        """`sha256-<base 64>`, as W3C's Subresource Integrity writes it."""
        return f"{self.algorithm}-{self.base64}"

    def __str__(self) -> str:
        """`sha256:<base 32>`, as narinfo files and content addresses write it."""
        return f"{self.algorithm}:{self.nix32}"

    @classmethod
    def parse(cls, text: str, algorithm: str | None = None) -> Hash:
        """Read any of Nix's spellings; `algorithm` is needed where the text has none. Raises ValueError."""
        body, named, sri = text, None, False
        if ":" in text:
            named, body = text.split(":", 1)
        elif "-" in text:
            named, body = text.split("-", 1)
            sri = True
        if named is not None and algorithm is not None and named != algorithm:
            raise ValueError(f"{text!r}: a {algorithm} hash was expected")
        kind = named or algorithm
        if kind is None:
            raise ValueError(f"{text!r}: does not say which algorithm")
        size = SIZES.get(kind)
        if size is None:
            raise ValueError(f"{text!r}: unknown hash algorithm {kind!r}")
        return cls(kind, _digest(body, size, sri=sri))


def _digest(body: str, size: int, *, sri: bool) -> bytes:
    """The digest that `body` spells; its length tells the base."""
    try:
        if not sri and len(body) == 2 * size:
            return binascii.unhexlify(body)
        if not sri and len(body) == base32.encoded_length(size):
            return base32.decode(body, size)
        if len(body) == (size + 2) // 3 * 4:
            raw = base64.b64decode(body, validate=True)
            if len(raw) == size:
                return raw
    except binascii.Error as error:
        raise ValueError(f"{body!r}: {error}") from error
    raise ValueError(f"{body!r}: wrong length for a hash of {size} bytes")


def hash_bytes(content: bytes, algorithm: str = "sha256") -> Hash:
    """The hash of bytes in memory."""
    return Hash(algorithm, hasher(algorithm, content).digest())


def hasher(algorithm: str = "sha256", initial: bytes = b"") -> Any:
    """An incremental hash object of `hashlib`. Raises ValueError on an algorithm that Nix does not know."""
    if algorithm not in SIZES:
        raise ValueError(f"unknown hash algorithm {algorithm!r}")
    return hashlib.new(algorithm, initial, usedforsecurity=False)


def compress(digest: bytes, size_bytes: int = 20) -> bytes:
    """`digest` folded to `size_bytes` bytes by exclusive or, as store paths do."""
    folded = bytearray(size_bytes)
    for place, byte in enumerate(digest):
        folded[place % size_bytes] ^= byte
    return bytes(folded)
