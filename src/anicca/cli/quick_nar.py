"""The short way, as `quick`, to hash and dump trees: a start, and the loop of `nar_fill`.

On a terminal the long way is taken, which draws how far it is.
"""

from __future__ import annotations

import errno
import os
import sys

from anicca.store.nar_fill import digest, fill, give, write_all

_HEX = {"--base16": 16, "--base32": 32}
_STDOUT, _STDERR = 1, 2


def done(words: list[str]) -> bool:
    """Whether `words`, from the verb on, were to hash a tree or to dump it, and that is done."""
    verb, *rest = words
    if len(rest) == 0 or rest[-1].startswith("-") or os.isatty(_STDERR):
        return False
    if verb == "hash" and set(rest[:-1]) <= _HEX.keys():
        return _hash(rest[-1], base=_HEX[rest[-2]] if len(rest) > 1 else 16)
    if verb in ("dump", "--dump") and len(rest) == 1:
        return _dump(rest[0])
    return False


def _hash(path: str, *, base: int) -> bool:
    try:
        found, _size = digest(fill(os.fsencode(path)), "sha256")
    except Exception:  # noqa: BLE001 (the long way says what it is)
        return False
    if base == 16:  # noqa: PLR2004 (a base is a number)
        text = found.hex()
    else:
        from anicca.store.base32 import encode  # noqa: PLC0415 (where used)

        text = encode(found)
    sys.stdout.write(text + "\n")
    return True


def _send(fd: int, size: int) -> int:
    """Have the kernel write a file to stdout, which needs no copy in memory; how many bytes it did."""
    sent = 0
    try:
        while sent < size and (more := os.sendfile(_STDOUT, fd, sent, size - sent)):
            sent += more
    except OSError as error:
        # It cannot write so to everything, such as what is opened for appending.
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
    return sent


def _dump(path: str) -> bool:
    views = fill(os.fsencode(path), send=_send)
    written = 0
    try:
        for view in views:
            write_all(_STDOUT, view)
            written += len(view)
            give(view)
    except BrokenPipeError:
        # Who read our output has seen enough.
        sys.exit(1)
    except Exception as error:
        if not written:
            return False
        from anicca.cli.render import show_error  # noqa: PLC0415 (rare)
        from anicca.errors import AniccaError  # noqa: PLC0415

        if isinstance(error, OSError):
            error = AniccaError(f"{error.filename or 'the output'}: {error.strerror}")
        if not isinstance(error, AniccaError):
            raise
        show_error(error)
        sys.exit(error.exit_status)
    return True
