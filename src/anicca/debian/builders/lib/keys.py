"""What looks like a private key. The store is readable by everyone, so it must never hold one."""

from __future__ import annotations

import re

_PRIVATE_KEY = re.compile(
    # A header alone is what programs search for; only with a body (or RFC 1421's headers) after it is it a key.
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\s*\n(?:[A-Za-z-]+: [^\n]*\n|\s)*[A-Za-z0-9+/=]{16,}"
    rb"|^PuTTY-User-Key-File-\d+: "
    rb"|^AGE-SECRET-KEY-1[0-9A-Z]{20,}",
    re.MULTILINE,
)
_WORDS = (b"PRIVATE KEY", b"PuTTY-User-Key-File", b"AGE-SECRET-KEY")
REFUSAL = "looks like a private key, which must never be in the store"


def looks_private(content: bytes) -> bool:
    """Whether `content` has a private key in one of the text forms: PEM, OpenSSH, OpenPGP, PuTTY, age."""
    # Looking for words first is many times faster than the expression is on large files.
    return any(word in content for word in _WORDS) and _PRIVATE_KEY.search(content) is not None
