"""Nix's base 32: its own alphabet, least significant bits last (nix `libutil/base-nix-32.cc`)."""

from __future__ import annotations

ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"
"""All digits and letters but e, o, u and t."""

_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_TO_PYTHON = str.maketrans(ALPHABET, _DIGITS)


def encoded_length(size_bytes: int) -> int:
    """Characters that `size_bytes` bytes take."""
    return (8 * size_bytes - 1) // 5 + 1 if size_bytes else 0


def encode(raw: bytes) -> str:
    """`raw` in Nix's base 32."""
    value = int.from_bytes(raw, "little")
    length = encoded_length(len(raw))
    # Two characters at a time: hashing a tree's files is not to wait for spelling their names.
    text = "".join([_PAIRS[value >> place & 1023] for place in range(10 * (-(-length // 2) - 1), -1, -10)])
    return text[length & 1 :]


def decode(text: str, size_bytes: int) -> bytes:
    """The `size_bytes` bytes that `text` spells. Raises ValueError as Nix does: length, alphabet, left-over bits."""
    if len(text) != encoded_length(size_bytes):
        raise ValueError(f"{text!r}: {len(text)} characters, {encoded_length(size_bytes)} expected")
    for offset, character in enumerate(text):
        if character not in _VALUE:
            raise ValueError(f"{text!r}: {character!r} at {offset} is not in Nix's base-32 alphabet")
    value = int(text.translate(_TO_PYTHON), 32) if text else 0
    if value >> 8 * size_bytes:
        raise ValueError(f"{text!r}: non-zero bits beyond the last byte")
    return value.to_bytes(size_bytes, "little")
