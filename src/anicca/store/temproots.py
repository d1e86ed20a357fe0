"""Temporary roots: paths that this process works on, protected from every garbage collector, Nix's too.

The file `temproots/<pid>-<n>` holds them, NUL-terminated; we hold a lock on it as long as they count. While a
collector runs it is told of new ones through its socket (nix `gc.cc`).
"""

from __future__ import annotations

import itertools
import os
import time
from _thread import allocate_lock

from anicca.store.locks import lock, open_lock, remove, unlock

# Light, as `spelling` is.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

_COUNTER = itertools.count()


class TempRoots:
    """The temporary roots of one open store. Safe to share between threads."""

    def __init__(self, state_dir: str) -> None:
        self._state = state_dir
        self._lock = allocate_lock()
        self._known: set[str] = set()
        self._pid = 0
        self._fd = -1
        self._gc_fd = -1
        self._file: str | None = None
        self._collector: socket.socket | None = None

    def add(self, paths: Iterable[str]) -> None:
        """Protect `paths`, valid already or not, until `close`. Returns when every collector knows."""
        with self._lock:
            if self._pid != os.getpid():
                # A fork: what is open belongs to the process that we came from.
                self._hang_up()
                self._open()
            fresh = [p for p in paths if p not in self._known]
            if not fresh:
                return
            # Written before it is told: a collector that begins between the two must see it.
            os.write(self._fd, b"".join([p.encode() + b"\0" for p in fresh]))
            while not self._announce(fresh):
                time.sleep(0.05)
            self._known.update(fresh)

    def close(self) -> None:
        """Protect nothing any more."""
        with self._lock:
            if self._pid == os.getpid():
                if self._file is not None:
                    remove(self._file)
                os.close(self._fd)
                os.close(self._gc_fd)
                self._hang_up()
            self._pid = 0
            self._known.clear()

    def _open(self) -> None:
        """Make our file; a collector that finds it before it is locked deletes it, so look again."""
        self._known.clear()
        self._pid = os.getpid()
        self._gc_fd = open_lock(f"{self._state}/gc.lock")
        while True:
            file = f"{self._state}/temproots/{self._pid}-{next(_COUNTER)}"
            remove(file)
            fd = open_lock(file)
            lock(fd, exclusive=True)
            status = os.fstat(fd)
            if status.st_size == 0 and status.st_nlink > 0:
                self._file, self._fd = file, fd
                return
            os.close(fd)

    def _announce(self, paths: list[str]) -> bool:
        """Make sure that a running collector, if any, knows. False: it ended or began meanwhile, try again."""
        if lock(self._gc_fd, exclusive=False, wait=False):
            # No collector runs, and the next one reads our file.
            unlock(self._gc_fd)
            self._hang_up()
            return True
        # One call for all that we have to tell: Nix's collector may abort when somebody calls and hangs up at once.
        import socket  # noqa: PLC0415 (only while a collector runs)

        try:
            if self._collector is None:
                self._collector = socket.socket(socket.AF_UNIX)
                # A socket's path is at most 107 bytes long: name it by a directory that we hold.
                directory = os.open(f"{self._state}/gc-socket", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    self._collector.connect(f"/proc/self/fd/{directory}/socket")
                finally:
                    os.close(directory)
            for path in paths:
                self._collector.sendall(f"{path}\n".encode())
                if self._collector.recv(1) != b"1":
                    self._hang_up()
                    return False
        except (FileNotFoundError, ConnectionError):
            self._hang_up()
            return False
        return True

    def _hang_up(self) -> None:
        if self._collector is not None:
            self._collector.close()
            self._collector = None
