"""Which libraries an ELF program asks for, and where it looks for them (elf(5), ld.so(8)). Touches nothing."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 0, 1, 5, 15, 29


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a program needs before it runs."""

    interpreter: str | None = None
    libraries: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    """Its own search path, `$ORIGIN` not yet replaced."""


def read_needs(content: bytes) -> Needs | None:
    """The needs of a 64-bit little-endian ELF file; None for anything else, damaged ones too."""
    if content[:6] != b"\x7fELF\x02\x01":
        return None
    try:
        return _read(content)
    except (struct.error, IndexError):
        return None


def read_interpreter(content: bytes) -> str | None:
    """The program that a script names on its first line; what `env` would find is not looked for."""
    if content[:2] != b"#!":
        return None
    words = content[2:256].split(b"\n", 1)[0].split()
    return words[0].decode("utf-8", "replace") if words else None


def _read(content: bytes) -> Needs:
    (start,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    loads: list[tuple[int, int, int]] = []
    dynamic = interpreter = None
    for number in range(count):
        kind, _flags, offset, address, _physical, length = struct.unpack_from("<IIQQQQ", content, start + number * size)
        if kind == PT_LOAD:
            loads.append((address, offset, length))
        elif kind == PT_DYNAMIC:
            dynamic = (offset, length)
        elif kind == PT_INTERP:
            interpreter = content[offset : offset + length].rstrip(b"\0").decode("utf-8", "replace")
    if dynamic is None:
        return Needs(interpreter=interpreter)
    tags = [struct.unpack_from("<QQ", content, at) for at in range(dynamic[0], dynamic[0] + dynamic[1], 16)]
    strings = _offset(next((value for tag, value in tags if tag == DT_STRTAB), 0), loads)
    libraries, search = [], []
    for tag, value in tags:
        if tag == DT_NULL:
            break
        if tag == DT_NEEDED:
            libraries.append(_string(content, strings + value))
        elif tag in (DT_RPATH, DT_RUNPATH):
            search += _string(content, strings + value).split(":")
    return Needs(interpreter=interpreter, libraries=tuple(libraries), search=tuple(search))


def _offset(address: int, loads: list[tuple[int, int, int]]) -> int:
    """Where in the file what is loaded at an address lies."""
    for start, offset, length in loads:
        if start <= address < start + length:
            return address - start + offset
    return address


def _string(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode("utf-8", "replace")
