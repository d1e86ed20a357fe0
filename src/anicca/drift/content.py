"""The digest of a file's content: quick for holes, honest about files that change while they are read.

`md5`, `sha256` and so on are what everyone's tools say. `sha256-blocks` is ours, for files over 1 GiB: SHA-256 of the
size (8 bytes, little-endian) and of each block of 64 KiB that is not all zero, preceded by its number (8 bytes). It is
a function of the content alone, however the file lies on disk, and a terabyte of holes takes no time.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct

from anicca.drift.entry import CHANGING, UNREAD

SAME_AS = "same as "
"""Before the path of a file, instead of an algorithm: whether it has the same content, byte for byte."""
LARGE_BYTES = 1 << 30
CHUNK_BYTES = 1 << 18
BLOCK_BYTES = 1 << 16
ZEROS = bytes(BLOCK_BYTES)
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
TRIES = 2


def wanted_digest(digests: tuple[str, ...]) -> str:
    """What is to be read of a file of which these digests are as good; empty if nothing is."""
    if not digests or digests[0].startswith(SAME_AS):
        return digests[0] if digests else ""
    return digests[0].partition(":")[0]


def digest_file(name: bytes, directory: int, seen: os.stat_result, algorithm: str) -> tuple[str, str]:
    """The digest of the regular file `name` that `seen` describes, and flags. Raises `OSError`.

    A file that is not the one seen, or that changes each time it is read, has the flag CHANGING and no digest.
    """
    if algorithm.startswith(SAME_AS):
        return _digest_of_same(name, directory, seen, algorithm)
    if not seen.st_size:
        return f"{algorithm}:{hashlib.new(algorithm).hexdigest()}", ""
    fd = _open(name, directory)
    try:
        for _ in range(TRIES):
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode) or (before.st_ino, before.st_dev) != (seen.st_ino, seen.st_dev):
                break
            large = before.st_size > LARGE_BYTES
            if large and algorithm != "sha256" and before.st_blocks * 512 < before.st_size // 2:
                return "", UNREAD
            if large and algorithm == "sha256":
                found = f"sha256-blocks:{_blocks(fd, before.st_size)}"
            else:
                found = f"{algorithm}:{_whole(fd, algorithm, before.st_size)}"
            if _same(before, os.fstat(fd)) and _same(seen, before):
                return found, ""
            seen = os.fstat(fd)
            os.lseek(fd, 0, os.SEEK_SET)
    finally:
        os.close(fd)
    return "", CHANGING


def _digest_of_same(name: bytes, directory: int, seen: os.stat_result, wanted: str) -> tuple[str, str]:
    """`wanted` itself if the file has the content of the other, else its SHA-256: reading is cheaper than hashing."""
    try:
        other = os.open(os.fsencode(wanted[len(SAME_AS) :]), FLAGS)
    except OSError as error:
        # Not this file is gone: what it should be compared to is.
        raise OSError(errno.EIO, f"{wanted[len(SAME_AS) :]}: {error.strerror}") from error
    try:
        fd = _open(name, directory)
        try:
            left = seen.st_size
            while os.fstat(other).st_size == seen.st_size:
                # No more than there is to read: a buffer of the usual size costs more than a small file.
                size = min(left + 1, CHUNK_BYTES)
                one = os.read(fd, size)
                if one != os.read(other, size):
                    break
                left -= len(one)
                if len(one) < size:
                    return wanted, ""
        finally:
            os.close(fd)
    finally:
        os.close(other)
    return digest_file(name, directory, seen, "sha256")


def _open(name: bytes, directory: int) -> int:
    try:
        return os.open(name, FLAGS | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        # Others' files can be read, but not without a trace.
        return os.open(name, FLAGS, dir_fd=directory)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_size, one.st_mtime_ns, one.st_ctime_ns) == (other.st_size, other.st_mtime_ns, other.st_ctime_ns)


def _whole(fd: int, algorithm: str, size: int) -> str:
    state = hashlib.new(algorithm, usedforsecurity=False)
    left = size
    while chunk := os.read(fd, min(left + 1, CHUNK_BYTES)):
        state.update(chunk)
        # A file that grows as fast as it is read would never end.
        left -= len(chunk)
        if left < 0:
            break
    return state.hexdigest()


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
