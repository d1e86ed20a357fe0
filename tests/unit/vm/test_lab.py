from __future__ import annotations

import stat
import struct

from anicca.vm.cpio import CpioEntry, directory, file, write_cpio
from anicca.vm.lab import is_static_elf


def read_cpio(archive: bytes) -> list[tuple[str, int, bytes]]:
    found: list[tuple[str, int, bytes]] = []
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = archive[at + 110 : at + 110 + fields[11] - 1].decode()
        data_at = (at + 110 + fields[11] + 3) & ~3
        if name == "TRAILER!!!":
            assert data_at == len(archive)
            return found
        found.append((name, fields[1], archive[data_at : data_at + fields[6]]))
        at = (data_at + fields[6] + 3) & ~3


def test_cpio_holds_what_was_put_in() -> None:
    entries = [
        directory("bin"),
        file("bin/a", b"12345", executable=True),
        CpioEntry(path="l", mode=stat.S_IFLNK | 0o777, content=b"bin/a"),
        file("empty", b""),
    ]
    assert read_cpio(write_cpio(entries)) == [
        ("bin", 0o40755, b""),
        ("bin/a", 0o100755, b"12345"),
        ("l", 0o120777, b"bin/a"),
        ("empty", 0o100644, b""),
    ]


def elf(*types: int) -> bytes:
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, len(types))
    return bytes(head) + b"".join(struct.pack("<I", kind).ljust(56, b"\0") for kind in types)


def test_a_program_with_an_interpreter_is_not_static() -> None:
    assert is_static_elf(elf(1, 1))
    assert not is_static_elf(elf(1, 3))
    assert not is_static_elf(b"#!/bin/sh\n")
    assert not is_static_elf(b"")
