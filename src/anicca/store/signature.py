"""Signing keys and signatures of store objects: ed25519, `<name>:<base 64>` (nix `signature/local-keys.cc`)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anicca.store.info import PathInfo

_SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What signatures named `name` are checked with."""

    name: str
    raw: bytes

    def __str__(self) -> str:
        return f"{self.name}:{base64.b64encode(self.raw).decode()}"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """What makes signatures named `name`. Never shown by accident: only `text` gives it."""

    name: str
    seed: bytes = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """The key that checks its signatures."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 (slow import)

        return PublicKey(self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    @property
    def text(self) -> str:
        """The key as key files hold it: seed and public key."""
        return f"{self.name}:{base64.b64encode(self.seed + self.public.raw).decode()}"

    def sign(self, message: str) -> str:
        """The signature of a text, such as a fingerprint."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 (slow import)

        raw = Ed25519PrivateKey.from_private_bytes(self.seed).sign(message.encode())
        return f"{self.name}:{base64.b64encode(raw).decode()}"


def _split(text: str, what: str, sizes: tuple[int, ...]) -> tuple[str, bytes]:
    name, colon, body = text.strip().partition(":")
    try:
        raw = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise AniccaError(f"not a {what}: {error}") from error
    if not colon or not name or len(raw) not in sizes:
        raise AniccaError(f"not a {what}: <name>:<base 64 of {sizes[0]} bytes> expected")
    return name, raw


def parse_public_key(text: str) -> PublicKey:
    """Read a public key. Raises AniccaError."""
    return PublicKey(*_split(text, "public key", (_SEED_BYTES,)))


def parse_secret_key(text: str) -> SecretKey:
    """Read a key file's content. Raises AniccaError, which never shows the key."""
    name, raw = _split(text, "secret key", (2 * _SEED_BYTES,))
    return SecretKey(name, raw[:_SEED_BYTES])


def generate(name: str) -> SecretKey:
    """A new key."""
    import os  # noqa: PLC0415 (the rest of this module only computes)

    if not name or ":" in name or any(c.isspace() for c in name):
        raise AniccaError(f"{name!r} cannot be a key's name")
    return SecretKey(name, os.urandom(_SEED_BYTES))


def keyring(texts: Iterable[str]) -> dict[str, PublicKey]:
    """Public keys by name."""
    keys = [parse_public_key(text) for text in texts]
    return {key.name: key for key in keys}


def good_signatures(info: PathInfo, keys: Mapping[str, PublicKey]) -> list[str]:
    """The names of those keys that signed `info` truly."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 (slow import)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    good = []
    for text in info.signatures:
        name, _colon, body = text.partition(":")
        key = keys.get(name)
        if key is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(
                base64.b64decode(body, validate=True), info.fingerprint.encode()
            )
        except (InvalidSignature, binascii.Error, ValueError):
            continue
        good.append(name)
    return good
