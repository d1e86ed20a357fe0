"""Directories opened one from another, so that neither a link nor the length of a path leads astray."""

from __future__ import annotations

import os

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
KEPT_OPEN = 64
"""How many directories of the way down stay open."""


class Descent:
    """A way down from the top of a tree. `tops` are directories that are open already, by path; `/` is among them."""

    def __init__(self, tops: dict[bytes, int]) -> None:
        self._tops = tops
        self._not_ours = frozenset(tops.values())
        self._names: list[bytes] = []
        self._fds: list[int | None] = [tops[b"/"]]
        self._last_names = {path.rsplit(b"/", 1)[1] for path in tops if path != b"/"}

    def enter(self, path: bytes) -> int:
        """Go to a directory; its file descriptor, ours to keep. Raises `OSError`."""
        names = path.split(b"/")[1:] if path != b"/" else []
        common = 0
        for mine, wanted in zip(self._names, names):  # noqa: B905 (the shorter counts)
            if mine != wanted:
                break
            common += 1
        while len(self._names) > common:
            self.up()
        for name in names[common:]:
            self.down(name)
        return self.here()

    def down(self, name: bytes) -> int:
        """Go to a directory of this one; its file descriptor, ours to keep. Raises `OSError`, and stays."""
        found = self._open(len(self._names), name, self.here())
        self._fds.append(found)
        self._names.append(name)
        if len(self._fds) > KEPT_OPEN:
            self._close(len(self._fds) - KEPT_OPEN)
        return found

    def up(self) -> None:
        """Go back to the directory above."""
        self._close(len(self._names))
        del self._fds[-1], self._names[-1]

    def here(self) -> int:
        """The file descriptor of where we are, ours to keep. Raises `OSError`."""
        found = self._fds[-1]
        return self._reopened() if found is None else found

    def close(self) -> None:
        """Close all but the tops."""
        while self._names:
            self.up()

    def _close(self, index: int) -> None:
        fd = self._fds[index]
        if index and fd is not None:
            if fd not in self._not_ours:
                os.close(fd)
            self._fds[index] = None

    def _reopened(self) -> int:
        depth = len(self._names)
        start = max(index for index in range(depth) if self._fds[index] is not None)
        for index in range(start, depth):
            current = self._fds[index]
            assert current is not None
            self._fds[index + 1] = self._open(index, self._names[index], current)
            if start < index <= depth - KEPT_OPEN:
                self._close(index)
        found = self._fds[-1]
        assert found is not None
        return found

    def _open(self, depth: int, name: bytes, directory: int) -> int:
        if name in self._last_names:
            top = self._tops.get(b"/" + b"/".join([*self._names[:depth], name]))
            if top is not None:
                return top
        return open_directory(name, directory)


def open_directory(name: bytes, directory: int) -> int:
    """Open a directory by name, not through a link, its access time left alone where we may. Raises `OSError`."""
    try:
        return os.open(name, DIRECTORY | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        return os.open(name, DIRECTORY, dir_fd=directory)
