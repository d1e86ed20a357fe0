"""What is in files: their digests and attributes. Quick for holes, honest about files that change while they are read.

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
from typing import TYPE_CHECKING

from anicca.drift.descent import Descent
from anicca.drift.entry import CHANGING, UNREAD

if TYPE_CHECKING:
    from anicca.drift.entry import Xattrs

    Identity = tuple[int, int, int, int, int]
    """Inode, device, size, mtime and ctime: as long as they are the same, the content is."""
    File = tuple[bytes, str, int, int, int, int, int]
    """A file to read: its name, the algorithm (nothing: only its attributes), and its identity when it was seen."""
    Piece = tuple[bytes, bool, list[File]]
    """Files of one directory, and whether it is the one of that path that lies beneath a mount."""
    Answer = tuple[Xattrs, str, str, str] | None
    """Attributes, digest, flags and error; None if the file is gone."""

SAME_AS = "same as "
"""Before the path of a file, instead of an algorithm: whether it has the same content, byte for byte."""
LARGE_BYTES = 1 << 30
CHUNK_BYTES = 1 << 18
BLOCK_BYTES = 1 << 16
ZEROS = bytes(BLOCK_BYTES)
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
TRIES = 2
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
NO_ATTRIBUTES = frozenset({errno.ENOTSUP, errno.ENODATA, errno.EPERM})


def wanted_digest(digests: tuple[str, ...]) -> str:
    """What is to be read of a file of which these digests are as good; empty if nothing is."""
    if not digests or digests[0].startswith(SAME_AS):
        return digests[0] if digests else ""
    return digests[0].partition(":")[0]


class Reader:
    """Reads files that a walk has seen in a tree; its directories at `tops` are open.

    In a process that was made later the current directory is its own to change.
    """

    def __init__(self, tops: dict[bytes, int], *, xattrs: bool) -> None:
        self._descents = Descent(tops), Descent({b"/": tops[b"/"]})
        self._xattrs = xattrs
        self._made_in = os.getpid()

    def close(self) -> None:
        """Close the directories that were opened."""
        for descent in self._descents:
            descent.close()

    def read(self, pieces: list[Piece]) -> list[Answer]:
        """What is in the files, in their order."""
        found: list[Answer] = []
        private = os.getpid() != self._made_in
        for directory, beneath, files in pieces:
            try:
                fd = self._descents[beneath].enter(directory)
                if private and self._xattrs:
                    # Names alone are the shortest way to attributes.
                    os.fchdir(fd)
            except OSError as error:
                found += [_failed(error)] * len(files)
                continue
            prefix = b"" if private else b"/proc/self/fd/%d/" % fd
            found += [self._read(file, fd, prefix) for file in files]
        return found

    def _read(self, file: File, directory: int, prefix: bytes) -> Answer:
        name, algorithm, size = file[0], file[1], file[4]
        attributes: Xattrs = ()
        try:
            if not algorithm or (not size and not algorithm.startswith(SAME_AS)):
                digest = f"{algorithm}:{hashlib.new(algorithm).hexdigest()}" if algorithm else ""
                return read_attributes(prefix + name) if self._xattrs else (), digest, "", ""
            try:
                fd = _open(name, directory)
            except PermissionError:
                attributes = read_attributes(prefix + name) if self._xattrs else ()
                raise
            try:
                if self._xattrs:
                    attributes = read_attributes(fd)
                digest, flags = _digest(fd, file)
            finally:
                os.close(fd)
        except OSError as error:
            return _failed(error, attributes)
        return attributes, digest, flags, ""


def _failed(error: OSError, attributes: Xattrs = ()) -> Answer:
    return None if error.errno in GONE else (attributes, "", "", error.strerror or str(error))


def read_attributes(place: bytes | int) -> Xattrs:
    """The extended attributes of what is open, or is at a path and may be a link. Raises `OSError`."""
    try:
        if isinstance(place, int):
            found = os.listxattr(place)
            return tuple((name, os.getxattr(place, name)) for name in sorted(found)) if found else ()
        found = os.listxattr(place, follow_symlinks=False)
        if not found:
            return ()
        return tuple((name, os.getxattr(place, name, follow_symlinks=False)) for name in sorted(found))
    except OSError as error:
        if error.errno in NO_ATTRIBUTES:
            return ()
        raise


def _digest(fd: int, file: File) -> tuple[str, str]:
    """The digest of an open file, and flags. Raises `OSError`.

    One that is not the file that was seen, or that changes each time it is read, has the flag CHANGING and no digest.
    """
    algorithm, identity = file[1], file[2:]
    for _ in range(TRIES):
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode) or (before.st_ino, before.st_dev) != identity[:2]:
            break
        size = before.st_size
        if algorithm.startswith(SAME_AS):
            found = _compared(fd, size, algorithm)
        elif size <= LARGE_BYTES:
            found = f"{algorithm}:{_whole(fd, algorithm, size)}"
        elif algorithm == "sha256":
            found = f"sha256-blocks:{_blocks(fd, size)}"
        elif before.st_blocks * 512 < size // 2:
            return "", UNREAD
        else:
            found = f"{algorithm}:{_whole(fd, algorithm, size)}"
        after = os.fstat(fd)
        now = (after.st_ino, after.st_dev, after.st_size, after.st_mtime_ns, after.st_ctime_ns)
        if now == identity:
            return found, ""
        identity = now
        os.lseek(fd, 0, os.SEEK_SET)
    return "", CHANGING


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


def _open(name: bytes, directory: int) -> int:
    try:
        return os.open(name, FLAGS | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        # Others' files can be read, but not without a trace.
        return os.open(name, FLAGS, dir_fd=directory)


def _whole(fd: int, algorithm: str, size: int) -> str:
    # No more than there is to read, and one byte, by which its end is seen.
    chunk = os.read(fd, min(size + 1, CHUNK_BYTES))
    state = hashlib.new(algorithm, chunk, usedforsecurity=False)
    left = size - len(chunk)
    # A file that grows as fast as it is read would never end.
    while left > 0 and (chunk := os.read(fd, min(left + 1, CHUNK_BYTES))):
        state.update(chunk)
        left -= len(chunk)
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
