"""Collecting garbage, as text: what no root reaches is removed, while others may go on adding (nix `gc.cc`).

The collector holds `gc.lock`. Whoever adds meanwhile tells it through `gc-socket/socket` which paths to leave alone.
An object becomes invalid first and is then moved away in one rename, so that a cut leaves nothing half there.

Light, as `spelling` is: `gc` gives it a typed face.
"""

from __future__ import annotations

import os
import stat
import threading

from anicca import fs
from anicca.store import holders, locks, rows
from anicca.store.graph import topological
from anicca.store.spelling import HASH_LENGTH, STORE_DIR, is_basename, is_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Iterable
    from typing import Self

    from anicca.errors import AniccaError
    from anicca.store.rows import Ask
    from anicca.store.session import Session

    Watch = Callable[[int, int], None]

_PART = slice(len(STORE_DIR) + 1, len(STORE_DIR) + 1 + HASH_LENGTH)
"""Where a path has its hash part."""


def free_reserve(state_dir: str) -> None:
    """Give up the room that a store keeps for this: on a full disk not even the database could be written."""
    locks.remove(f"{state_dir}/db/reserved")


def reached(ask: Ask, roots: Iterable[str], *, keep_derivations: bool, keep_outputs: bool) -> set[str]:
    """The valid paths that `roots` reach. With `keep_derivations`, also what live outputs were built from."""
    live = set(rows.closure(ask, roots))
    if not keep_derivations and not keep_outputs:
        return live
    outputs_of: dict[str, list[tuple[str, bool]]] = {}
    for drv, output, built_by in rows.outputs(ask):
        outputs_of.setdefault(drv, []).append((output, built_by == drv))
    while True:
        more: set[str] = set()
        for drv, outputs in outputs_of.items():
            if keep_derivations and drv not in live and any(built and out in live for out, built in outputs):
                more.add(drv)
            if keep_outputs and drv in live:
                more.update(out for out, _built in outputs if out not in live)
        more = set(rows.valid(ask, more))
        if not more:
            return live
        live.update(rows.closure(ask, more))


class Collector:
    """Removes objects of one store, from `__enter__`, where it waits for others that collect, to `__exit__`.

    `ask` must be safe to share between threads. With `limit`, it stops when so many bytes are free. `watch` is called
    with how many of how many objects are gone.
    """

    def __init__(
        self,
        *,
        session: Session,
        ask: Ask,
        store_dir: str,
        state_dir: str,
        limit: int | None = None,
        watch: Watch = lambda _done, _total: None,
    ) -> None:
        self._session = session
        self._ask = ask
        self._store_dir = store_dir
        self._state_dir = state_dir
        self._limit = limit
        self._watch = watch
        self._server = _Server(state_dir, ask)
        self._gc_fd = -1
        self.paths: list[str] = []
        self.freed = 0

    def __enter__(self) -> Self:
        free_reserve(self._state_dir)
        # Made before: while we collect, nobody could be told of it.
        self._session.workspace()
        self._gc_fd = locks.open_lock(f"{self._state_dir}/gc.lock")
        try:
            locks.lock(self._gc_fd, exclusive=True)
            self._server.start()
        except BaseException:
            os.close(self._gc_fd)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._server.stop()
        finally:
            os.close(self._gc_fd)

    def _find_live(self, *, keep_derivations: bool, keep_outputs: bool) -> set[str]:
        temporary, held = holders.read_roots(self._state_dir, self._store_dir, tidy=True)
        roots = temporary.union(path for _source, path in held)
        live = reached(self._ask, roots, keep_derivations=keep_derivations, keep_outputs=keep_outputs)
        with self._server.lock:
            # What the socket heard of before is in `keep` already.
            self._server.keep |= live
            self._server.parts.update(path[_PART] for path in temporary)
            return set(self._server.keep)

    def everything(self, *, keep_derivations: bool, keep_outputs: bool) -> None:
        """Remove all that no root reaches, until enough bytes are free; leftovers of interrupted work too."""
        live = self._find_live(keep_derivations=keep_derivations, keep_outputs=keep_outputs)
        # After `live`: what was added meanwhile and let go refers to what is removed, so it goes first.
        valid = rows.all_valid(self._ask)
        for path in valid:
            # What such a row once named would be taken for a leftover.
            if not isinstance(path, str) or not is_path(path):
                raise _error(f"the store's database is damaged: {path!r} is not a path of {STORE_DIR}")
        self._registered([path for path in valid if path not in live])
        self._leftovers()
        self._links()

    def exactly(
        self, paths: Collection[str], *, ignore_liveness: bool, keep_derivations: bool, keep_outputs: bool
    ) -> None:
        """Remove these. AniccaError if one is in use; with `ignore_liveness`, only if something refers to it."""
        live = self._find_live(keep_derivations=keep_derivations, keep_outputs=keep_outputs)
        valid = set(rows.valid(self._ask, paths))
        for path in sorted(paths):
            if not ignore_liveness and path in live:
                raise _error(f"{path}: in use, so it was not deleted", f"anicca store query --roots {path} shows why")
            if not ignore_liveness and path not in valid:
                raise _error(f"{path}: not valid in this store")
            others = set(rows.referrers(self._ask, path)) - set(paths)
            if others:
                raise _error(f"{path}: {min(others)} refers to it, so it was not deleted")
        if ignore_liveness:
            with self._server.lock:
                self._server.keep -= set(paths)
                self._server.parts -= {path[_PART] for path in paths}
        self._registered(sorted(paths))

    @property
    def _enough(self) -> bool:
        return self._limit is not None and self.freed >= self._limit

    def _registered(self, dead: list[str]) -> None:
        """Remove valid objects, those that refer to others before the others."""
        needs = rows.needs(self._ask, dead)
        order = topological({path: needs.get(path, []) for path in dead})
        self._watch(0, len(order))
        for path in reversed(order):
            if self._enough:
                return
            with self._server.lock:
                if path in self._server.keep or path[_PART] in self._server.parts:
                    continue
                rows.invalidate(self._ask, path)
                moved = self._move(path[len(STORE_DIR) + 1 :])
            self.paths.append(path)
            self.freed += fs.remove_tree(moved)
            self._watch(len(self.paths), len(order))

    def _leftovers(self) -> None:
        """Remove what lies in the store unregistered and is nobody's work under way."""
        valid = set(rows.all_valid(self._ask))
        for name in sorted(os.listdir(self._store_dir)):  # noqa: PTH208 (names are what is needed)
            if self._enough:
                return
            path = f"{STORE_DIR}/{name}" if is_basename(name) else None
            if name == ".links" or path in valid:
                continue
            with self._server.lock:
                # Whoever adds an object protects it first: then it is among `parts`, or was added meanwhile.
                if name[:HASH_LENGTH] in self._server.parts or (path is not None and rows.valid(self._ask, (path,))):
                    continue
                moved = self._move(name)
            if path is not None:
                self.paths.append(path)
            self.freed += fs.remove_tree(moved)

    def _links(self) -> None:
        """Remove the optimiser's links that no object uses any more."""
        directory = f"{self._store_dir}/.links"
        if not os.path.isdir(directory):  # noqa: PTH112 (text)
            return
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(fd):  # noqa: PTH208 (text)
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if status.st_nlink == 1:
                    os.unlink(name, dir_fd=fd)
                    self.freed += status.st_blocks * 512
        finally:
            os.close(fd)

    def _move(self, name: str) -> str:
        """Move something of the store out of the way in one step; where it is now, if it was there."""
        lying, target = f"{self._store_dir}/{name}", f"{self._session.workspace()}/dead-{name}"
        try:
            if os.geteuid() != 0 and stat.S_ISDIR(os.lstat(lying).st_mode):
                os.chmod(lying, 0o755)  # noqa: PTH101, S103 (what directories of the store are)
            os.rename(lying, target)  # noqa: PTH104 (text)
        except FileNotFoundError:
            pass
        return target


class _Server:
    """Listens for temporary roots made while the collector runs; each is kept with all that it refers to."""

    def __init__(self, state_dir: str, ask: Ask) -> None:
        self._directory = f"{state_dir}/gc-socket"
        self._file = f"{self._directory}/socket"
        self._ask = ask
        self._callers: list[socket.socket] = []
        self.lock = threading.Lock()
        self.keep: set[str] = set()
        self.parts: set[str] = set()

    def start(self) -> None:
        """Listen."""
        import socket  # noqa: PLC0415 (only while collecting)

        os.makedirs(self._directory, exist_ok=True)  # noqa: PTH103 (text, as all below)
        locks.remove(self._file)
        self._listener = socket.socket(socket.AF_UNIX)
        # The path of a socket is at most 107 bytes long: bind by a name relative to a directory we hold.
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._listener.bind(f"/proc/self/fd/{fd}/socket")
        finally:
            os.close(fd)
        os.chmod(self._file, 0o666)  # noqa: PTH101, S103 (Nix's mode: whoever adds must be heard)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, name="gc-socket", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hang up."""
        import socket  # noqa: PLC0415 (only while collecting)

        locks.remove(self._file)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        # Who is told of the end asks the next collector; this one would promise what nobody keeps.
        for caller in self._callers:
            try:
                caller.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _accept(self) -> None:
        while True:
            try:
                channel, _address = self._listener.accept()
            except OSError:
                return
            self._callers.append(channel)
            threading.Thread(target=self._serve, args=(channel,), daemon=True).start()

    def _serve(self, channel: socket.socket) -> None:
        try:
            with channel, channel.makefile("rwb") as lines:
                for line in lines:
                    path = line.decode(errors="replace").rstrip("\n")
                    if not is_path(path):
                        return
                    with self.lock:
                        self.parts.add(path[_PART])
                        self.keep.add(path)
                        self.keep.update(rows.closure(self._ask, (path,)))
                    lines.write(b"1")
                    lines.flush()
        except OSError:
            return


def _error(message: str, hint: str | None = None) -> AniccaError:
    from anicca.errors import AniccaError  # noqa: PLC0415 (slow import, and rare)

    return AniccaError(message, hint=hint)
