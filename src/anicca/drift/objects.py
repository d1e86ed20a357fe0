"""A store object read once: for the hash by which it was registered, and for the mounted files that show its content.

While a file of the object is in memory to be hashed, the mounted one is read and compared to it; where both are the
same pages, as with an overlay, that costs a copy. What is not found to be the same is left for others to look at.

`store.nar_fill` has a NAR in buffers that go elsewhere; here two files are read side by side, and both go nowhere.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any

from anicca.drift.content import CHUNK_BYTES, open_file
from anicca.drift.descent import Descent, open_directory
from anicca.drift.reader import IS_DIRECTORY, IS_FILE
from anicca.drift.walk import tagged_names
from anicca.store.hashes import Hash
from anicca.store.nar_fill import (
    CLOSE,
    DIRECTORY,
    ENTRY,
    EXECUTABLE,
    MAGIC,
    NODE,
    REGULAR,
    SYMLINK,
    refused,
    shrank,
    string,
)

SMALL_BYTES = 1 << 15
"""Contents up to here are put together with what is around them: a copy costs less than a call."""


class Mounted:
    """Files that should have the content of an object's files at the same paths: `left`. Those that have it go.

    They lie below a directory that is open as `top`, and has this `name` in the object.
    """

    def __init__(self, top: int, name: bytes, left: set[bytes]) -> None:
        self.left = left
        self._name = name
        self._descent = Descent({b"/": top})
        self._directory: tuple[bytes, int] = b"", -1

    def close(self) -> None:
        """Close the directories that were opened."""
        self._descent.close()

    def open(self, directory: bytes, name: bytes) -> int:
        """The file of that name, if it is one of ours and can be opened, else -1."""
        if directory + name not in self.left:
            return -1
        try:
            if directory != self._directory[0]:
                self._directory = directory, self._descent.enter(directory[len(self._name) : -1] or b"/")
            return open_file(name, self._directory[1])
        except OSError:
            # Who looks at what is left says why.
            self._directory = b"", -1
            return -1

    @staticmethod
    def read(fd: int, size: int) -> bytes | None:
        """Some of a mounted file; None where it cannot be read: who looks at what is left says why."""
        try:
            return os.read(fd, size)
        except OSError:
            return None


def hash_object(path: bytes, mounted: Mounted) -> tuple[Hash, int]:
    """The hash and the size of an object's NAR (store/nar.py). Raises `OSError` and `AniccaError`."""
    reading = _Reading(path, mounted)
    status = os.lstat(path)
    reading.put(MAGIC)
    if stat.S_ISDIR(status.st_mode):
        reading.tree()
    elif stat.S_ISREG(status.st_mode):
        reading.file(b"", path, -1)
    else:
        reading.link(b"", path, -1)
    return reading.result()


class _Reading:
    """One object as it is read. What the NAR has between contents is gathered, and hashed with the next of them."""

    def __init__(self, path: bytes, mounted: Mounted) -> None:
        self._path = path
        self._mounted = mounted
        self._state: Any = hashlib.sha256()
        self._size = 0
        self._texts: list[bytes] = []

    def put(self, *texts: bytes) -> None:
        """What comes next."""
        self._texts += texts

    def result(self) -> tuple[Hash, int]:
        """The hash and the size of all that came."""
        self._update(b"")
        return Hash("sha256", self._state.digest()), self._size

    def _update(self, content: bytes) -> None:
        if len(content) < SMALL_BYTES:
            self._texts.append(content)
            content = b"".join(self._texts)
        elif self._texts:
            self._update(b"")
        self._state.update(content)
        self._size += len(content)
        self._texts.clear()

    def _place(self, directory: bytes, name: bytes) -> bytes:
        return self._path + directory + name if directory else self._path

    def tree(self) -> None:
        """The directory that the object is."""
        top = open_directory(self._path, -1)
        descent = Descent({b"/": top})
        try:
            self.put(DIRECTORY)
            levels = [(b"/", iter(tagged_names(top)))]
            while levels:
                directory, names = levels[-1]
                here = descent.here()
                for tagged in names:
                    name, tag = tagged[:-2], tagged[-1]
                    self.put(ENTRY, string(name), NODE)
                    if tag == IS_DIRECTORY:
                        below = descent.down(name)
                        self.put(DIRECTORY)
                        levels.append((directory + name + b"/", iter(tagged_names(below))))
                        break
                    if tag == IS_FILE:
                        self.file(directory, name, here)
                    else:
                        self.link(directory, name, here)
                    self.put(CLOSE)
                else:
                    self.put(CLOSE)
                    levels.pop()
                    if levels:
                        self.put(CLOSE)
                        descent.up()
        finally:
            descent.close()
            os.close(top)

    def link(self, directory: bytes, name: bytes, here: int) -> None:
        """A symbolic link; all else that is no file and no directory is refused."""
        mode = os.stat(name, dir_fd=here, follow_symlinks=False).st_mode
        if not stat.S_ISLNK(mode):
            raise refused(self._place(directory, name), mode)
        self.put(SYMLINK, string(os.readlink(name, dir_fd=here)), CLOSE)

    def file(self, directory: bytes, name: bytes, here: int) -> None:
        """A file, compared to the mounted one as it is read."""
        fd = open_file(name, here)
        other = -1
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise refused(self._place(directory, name), status.st_mode)
            left = size = status.st_size
            self.put(EXECUTABLE if status.st_mode & stat.S_IXUSR else REGULAR, size.to_bytes(8, "little"))
            other = self._mounted.open(directory, name)
            same = other >= 0
            while left:
                content = os.read(fd, min(left, CHUNK_BYTES))
                if not content:
                    raise shrank(self._place(directory, name))
                left -= len(content)
                # At the end one byte more is asked for, which is not to be there.
                same = same and self._mounted.read(other, len(content) + (not left)) == content
                self._update(content)
            if same and (size or self._mounted.read(other, 1) == b""):
                self._mounted.left.discard(directory + name)
            self.put(bytes(-size % 8), CLOSE)
        finally:
            os.close(fd)
            if other >= 0:
                os.close(other)
