"""What is in files: their digests and attributes. Quick for holes, honest about files that change while they are read.

`md5`, `sha256` and so on are what everyone's tools say. `sha256-blocks` is ours, for files over 1 GiB: SHA-256 of the
size (8 bytes, little-endian) and of each block of 64 KiB that is not all zero, preceded by its number (8 bytes). It is
a function of the content alone, however the file lies on disk, and a terabyte of holes takes no time.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from functools import partial
from operator import attrgetter
from typing import Any

from anicca.drift.entry import CHANGING, UNREAD

SAME_AS = "same as "
"""Before the path of a file, instead of an algorithm: whether it has the same content, byte for byte."""
LARGE_BYTES = 1 << 30
CHUNK_BYTES = 1 << 18
BLOCK_BYTES = 1 << 16
ZEROS = bytes(BLOCK_BYTES)
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
TRIES = 2
HASHES: dict[str, Any] = {"md5": partial(hashlib.md5, usedforsecurity=False), "sha256": hashlib.sha256}
"""The short way to these: `hashlib.new` takes six times as long, as long as it takes to read a small file."""
_changes = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns")
"""As long as these are the same, the content is."""


def wanted_digest(digests: tuple[str, ...]) -> str:
    """What is to be read of a file of which these digests are as good; empty if nothing is."""
    if not digests or digests[0].startswith(SAME_AS):
        return digests[0] if digests else ""
    return digests[0].partition(":")[0]


def open_file(name: bytes, directory: int) -> int:
    """Open a regular file of an open directory, its access time left alone where we may. Raises `OSError`."""
    try:
        return os.open(name, FLAGS | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        # Others' files can be read, but not without a trace.
        return os.open(name, FLAGS, dir_fd=directory)


def digest_of(fd: int, seen: os.stat_result, algorithm: str) -> tuple[str, str, os.stat_result]:
    """The digest of a file that was just opened, flags, and its status now. Raises `OSError`.

    One that changes each time it is read has the flag CHANGING and no digest.
    """
    for _ in range(TRIES):
        size = seen.st_size
        if algorithm.startswith(SAME_AS):
            found = _compared(fd, size, algorithm)
        elif not size:
            return f"{algorithm}:{_hash(algorithm)().hexdigest()}", "", seen
        elif size <= LARGE_BYTES:
            found = f"{algorithm}:{_whole(fd, algorithm, size)}"
        elif algorithm == "sha256":
            found = f"sha256-blocks:{_blocks(fd, size)}"
        elif seen.st_blocks * 512 < size // 2:
            return "", UNREAD, seen
        else:
            found = f"{algorithm}:{_whole(fd, algorithm, size)}"
        after = os.fstat(fd)
        if _changes(after) == _changes(seen):
            return found, "", after
        seen = after
        os.lseek(fd, 0, os.SEEK_SET)
    return "", CHANGING, seen


def _hash(algorithm: str) -> Any:
    return HASHES.get(algorithm) or partial(hashlib.new, algorithm, usedforsecurity=False)


def _compared(fd: int, size: int, wanted: str) -> str:
    """`wanted` itself if the file has the content of the other, else its SHA-256: reading is cheaper than hashing."""
    try:
        other = os.open(wanted[len(SAME_AS) :], FLAGS)
    except OSError as error:
        # Not this file is gone: what it should be compared to is.
        raise OSError(errno.EIO, f"{wanted[len(SAME_AS) :]}: {error.strerror}") from error
    try:
        left = size
        while left >= 0:
            # No more than there is to read, and one byte: a buffer of the usual size costs more than a small file.
            some = min(left + 1, CHUNK_BYTES)
            one = os.read(fd, some)
            if one != os.read(other, some):
                break
            left -= len(one)
            if len(one) < some:
                return wanted
    finally:
        os.close(other)
    os.lseek(fd, 0, os.SEEK_SET)
    return f"sha256:{_whole(fd, 'sha256', size)}"


def _whole(fd: int, algorithm: str, size: int) -> str:
    # No more than there is to read, and one byte, by which its end is seen.
    chunk = os.read(fd, min(size + 1, CHUNK_BYTES))
    state = _hash(algorithm)(chunk)
    left = size - len(chunk)
    # A file that grows as fast as it is read would never end.
    while left > 0 and (chunk := os.read(fd, min(left + 1, CHUNK_BYTES))):
        state.update(chunk)
        left -= len(chunk)
    found: str = state.hexdigest()
    return found


def _blocks(fd: int, size: int) -> str:
    state = hashlib.sha256(struct.pack("<Q", size))
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            if error.errno != errno.EINVAL:
                raise
            start = position
        start -= start % BLOCK_BYTES
        position = max(start, position - position % BLOCK_BYTES)
        try:
            end = min(os.lseek(fd, position, os.SEEK_HOLE), size)
        except OSError:
            end = size
        end = max(end, position + 1)
        while position < end:
            block = os.pread(fd, BLOCK_BYTES, position)
            if not block:
                return state.hexdigest()
            if block != ZEROS[: len(block)]:
                state.update(struct.pack("<Q", position // BLOCK_BYTES))
                state.update(block)
            position += BLOCK_BYTES
    return state.hexdigest()
