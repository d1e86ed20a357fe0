"""Files of a root that is not ours: links in it lead to what they mean there, never out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import IO, TYPE_CHECKING

from anicca.drift.entry import join, parent

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_LINKS = 40


class Root:
    """A directory taken as `/`. Paths are absolute bytes within it. Methods raise `OSError`."""

    def __init__(self, top: bytes) -> None:
        self.top = b"" if top == b"/" else top.rstrip(b"/")
        self._real: dict[bytes, bytes] = {b"/": b"/"}

    def lstat(self, path: bytes) -> os.stat_result:
        """What is at a path whose directory is real already."""
        return os.lstat(self.top + path)

    def readlink(self, path: bytes) -> bytes | None:
        """The target of a link, None if the path is anything else or nothing."""
        try:
            return os.readlink(self.top + path)  # noqa: PTH115 (bytes)
        except OSError:
            return None

    def real(self, path: bytes) -> bytes:
        """Where a path leads within the root; what does not exist is taken to be no link."""
        return self._resolve(path, MOST_LINKS)

    def _resolve(self, path: bytes, links: int) -> bytes:
        if path in self._real:
            return self._real[path]
        directory, name = self._resolve(parent(path), links), path.rsplit(b"/", 1)[1]
        found = join(directory, name)
        target = self.readlink(found)
        if target is not None:
            if links == 0:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            at = b"/" if target.startswith(b"/") else directory
            for part in target.split(b"/"):
                if part == b"..":
                    at = parent(at)
                elif part not in (b"", b"."):
                    at = self._resolve(join(at, part), links - 1)
            found = at
        self._real[path] = found
        return found

    def exists(self, path: bytes) -> bool:
        """Whether there is something at the end of a path's links."""
        try:
            self.lstat(self.real(path))
        except OSError:
            return False
        return True

    def read(self, path: bytes) -> bytes:
        """The content of a regular file."""
        with self._regular(path) as file:
            return file.read()

    def lines(self, path: bytes) -> Iterator[bytes]:
        """The lines of a regular file, which may be too long to be held."""
        with self._regular(path) as file:
            yield from file

    @contextlib.contextmanager
    def _regular(self, path: bytes) -> Iterator[IO[bytes]]:
        fd = self._open(path, os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            yield file

    def read_if_there(self, path: bytes) -> bytes:
        """The content of a regular file, empty where there is none."""
        try:
            return self.read(path)
        except FileNotFoundError:
            return b""

    def names(self, path: bytes) -> list[bytes]:
        """The names in a directory, sorted; none where there is no such directory."""
        try:
            fd = self._open(path, os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return sorted(map(os.fsencode, os.listdir(fd)))  # noqa: PTH208 (no path)
        finally:
            os.close(fd)

    def _open(self, path: bytes, flags: int) -> int:
        where = self.top + self.real(path)
        flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(where, flags | os.O_NOATIME)
        except PermissionError:
            # Others' files can be read, but not without a trace.
            return os.open(where, flags)
