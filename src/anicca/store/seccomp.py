"""A filter for builders: no setuid or setgid bits, no extended attributes; both would not survive anyway.

The classic BPF of seccomp(2), as Nix's sandbox has it, made here by hand: a comparison for each call.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _FAIL, _SETID = 0x7FFF0000, 0x00050000, 0o6000
_NUMBER_OFFSET, _MACHINE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16


@dataclass(frozen=True, slots=True)
class _Machine:
    """A kernel's interface: its audit number, calls with the place of their mode, calls that set attributes."""

    audit: int
    modes: dict[int, int]
    attributes: tuple[int, ...]


_MACHINES = {
    # chmod, fchmod, fchmodat, fchmodat2; setxattr, lsetxattr, fsetxattr, setxattrat
    "x86_64": _Machine(0xC000003E, {90: 1, 91: 1, 268: 2, 452: 2}, (188, 189, 190, 463)),
    # fchmod, fchmodat, fchmodat2; setxattr, lsetxattr, fsetxattr, setxattrat
    "aarch64": _Machine(0xC00000B7, {52: 1, 53: 2, 452: 2}, (5, 6, 7, 463)),
}


def builder_filter(machine: str | None = None) -> bytes | None:
    """The program for this machine; None where we do not know its calls."""
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _MACHINE_OFFSET),
        (_EQUAL, 1, 0, known.audit),
        # Calls of another interface (32 bits): what they set is undone when outputs become canonical.
        (_RETURN, 0, 0, _ALLOW),
    ]
    for number, place in known.modes.items():
        code += [
            (_LOAD, 0, 0, _NUMBER_OFFSET),
            (_EQUAL, 0, 3, number),
            (_LOAD, 0, 0, _ARGUMENTS_OFFSET + 8 * place),
            (_ANY_BIT, 0, 1, _SETID),
            (_RETURN, 0, 0, _FAIL | errno.EPERM),
        ]
    for number in known.attributes:
        code += [
            (_LOAD, 0, 0, _NUMBER_OFFSET),
            (_EQUAL, 0, 1, number),
            (_RETURN, 0, 0, _FAIL | errno.ENOTSUP),
        ]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
