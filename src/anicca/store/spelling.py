"""Whether text spells a store path, told without regular expressions and value types.

For those who only ask: a program that imports no more than this, `rows` and `holders` starts in half the time that
`re`, `dataclasses` and `typing` take.
"""

from __future__ import annotations

STORE_DIR = "/nix/store"
HASH_LENGTH = 32
MAX_NAME_LENGTH = 211
_HASH = "0123456789abcdfghijklmnpqrsvwxyz"
NAME = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?="
_PREFIX = STORE_DIR + "/"


def is_name(text: str) -> bool:
    """Whether `text` can end a store path. Not `.` and `..`, alone or before a dash: Nix refuses those too."""
    if not 0 < len(text) <= MAX_NAME_LENGTH or text.strip(NAME):
        return False
    return text[0] != "." or not (text in (".", "..") or text.startswith((".-", "..-")))


def is_basename(text: str) -> bool:
    """Whether `text` is `<hash>-<name>`."""
    return (
        text[HASH_LENGTH : HASH_LENGTH + 1] == "-"
        and not text[:HASH_LENGTH].strip(_HASH)
        and is_name(text[HASH_LENGTH + 1 :])
    )


def is_path(text: str) -> bool:
    """Whether `text` is `/nix/store/<hash>-<name>`."""
    return text.startswith(_PREFIX) and is_basename(text[len(_PREFIX) :])


def path_around(text: str) -> str | None:
    """The store path that `text` is or lies in; None if it is nothing of a store."""
    if not text.startswith(_PREFIX):
        return None
    base = text[len(_PREFIX) :].split("/", 1)[0]
    return _PREFIX + base if is_basename(base) else None
