"""Making equal files one file: hard links through `.links/<hash of the file's NAR>`, as Nix does.

Light, as `spelling` is: `optimise` gives it a typed face.
"""

from __future__ import annotations

import errno
import os
import stat

from anicca import fs
from anicca.store import base32, rows
from anicca.store.nar_fill import (
    BUFFER_BYTES,
    CLOSE,
    EXECUTABLE,
    MAGIC,
    MTIME_NANOSECONDS,
    REGULAR,
    digest,
    fill,
    shrank,
)
from anicca.store.spelling import STORE_DIR, is_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anicca.store.rows import Ask
    from anicca.store.session import Session

_BATCH = 256
"""So many files are hashed, then linked."""
_OBJECTS = 64
"""So many objects are protected and looked for at a time."""


class Links:
    """The directory of links, and which inodes are in it already. `files` and `size_bytes` are what linking saved."""

    def __init__(self, store_dir: str) -> None:
        self._top = os.fsencode(store_dir)
        self._directory = self._top + b"/.links"
        os.makedirs(self._directory, exist_ok=True)  # noqa: PTH103 (bytes)
        with os.scandir(self._directory) as entries:
            self._inodes = {entry.inode() for entry in entries}
        self._number = 0
        self.files = self.size_bytes = 0

    def objects(
        self, paths: list[str], session: Session, ask: Ask, watch: Callable[[int], None] = lambda _done: None
    ) -> None:
        """Link all files of those of `paths` that are valid; `watch` is called with how many objects were done."""
        for first in range(0, len(paths), _OBJECTS):
            batch = paths[first : first + _OBJECTS]
            session.protect(batch)
            for path in rows.valid(ask, batch):
                if is_path(path):
                    self._tree(self._top + path[len(STORE_DIR) :].encode())
            watch(first + len(batch))

    def _tree(self, path: bytes) -> None:
        """Link all files below `path`."""
        found: list[tuple[bytes, os.stat_result]] = []
        for file in self._unlinked(path):
            found.append(file)
            if len(found) == _BATCH:
                self._files(found)
                found.clear()
        self._files(found)

    def _unlinked(self, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        """What is not in the directory of links yet, with its status."""
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            if status.st_ino not in self._inodes:
                yield path, status
            return
        todo = [path]
        while todo:
            with os.scandir(todo.pop()) as entries:
                found = list(entries)
            for entry in found:
                # What the directory says of an entry is enough where it was linked before.
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif entry.inode() not in self._inodes:
                    yield entry.path, os.lstat(entry.path)

    def _files(self, files: list[tuple[bytes, os.stat_result]]) -> None:
        # Not canonical is not ours to share.
        ours = [(p, s) for p, s in files if not (stat.S_ISREG(s.st_mode) and s.st_mode & stat.S_IWUSR)]
        for (path, status), name in zip(ours, fs.in_two(_name, ours), strict=True):
            self._file(path, status, self._directory + b"/" + name)

    def _file(self, path: bytes, status: os.stat_result, link: bytes) -> None:
        if status.st_ino in self._inodes:
            return
        try:
            os.link(path, link, follow_symlinks=False)
        except FileExistsError:
            try:
                known = os.lstat(link)
            except FileNotFoundError:
                return  # A collector took it, as nothing used it.
        except OSError as error:
            if error.errno not in (errno.EMLINK, errno.ENOSPC):
                raise
            return
        else:
            self._inodes.add(status.st_ino)
            return
        if known.st_ino == status.st_ino:
            self._inodes.add(status.st_ino)
            return
        if known.st_size != status.st_size:
            os.unlink(link)  # noqa: PTH108 (bytes; a damaged link, which the next run makes anew)
            return
        self._replace(path, link, status)

    def _replace(self, path: bytes, link: bytes, status: os.stat_result) -> None:
        """Put a link to the known file in the place of `path`."""
        parent = os.path.dirname(path)  # noqa: PTH120 (bytes)
        self._number += 1
        temporary = self._top + f"/.tmp-link-{os.getpid()}-{self._number}".encode()
        try:
            os.link(link, temporary, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.EMLINK, errno.ENOENT):
                return
            raise
        writable = os.geteuid() == 0 or parent == self._top
        if not writable:
            os.chmod(parent, 0o755)  # noqa: PTH101, S103 (bytes; what directories of the store are)
        try:
            os.rename(temporary, path)  # noqa: PTH104 (bytes)
        except OSError as error:
            os.unlink(temporary)  # noqa: PTH108 (bytes)
            if error.errno != errno.EMLINK:
                raise
            return
        finally:
            if parent != self._top:
                if not writable:
                    os.chmod(parent, 0o555)  # noqa: PTH101, S103 (as above)
                os.utime(parent, ns=(MTIME_NANOSECONDS, MTIME_NANOSECONDS))
        self.files += 1
        self.size_bytes += status.st_size


def _name(file: tuple[bytes, os.stat_result]) -> bytes:
    """The link's name: the hash of the file's NAR."""
    from hashlib import sha256  # noqa: PLC0415 (where all is linked, nothing is hashed)

    path, status = file
    size = status.st_size
    if not stat.S_ISREG(status.st_mode) or size > BUFFER_BYTES:
        found = digest(fill(path), "sha256")[0]
    else:
        # No `open`: for files as small as most are, that takes longer than reading.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            content = os.read(fd, size)
        finally:
            os.close(fd)
        if len(content) != size:
            raise shrank(path)
        kind = EXECUTABLE if status.st_mode & stat.S_IXUSR else REGULAR
        found = sha256(b"".join((MAGIC, kind, size.to_bytes(8, "little"), content, bytes(-size % 8), CLOSE))).digest()
    return base32.encode(found).encode()
