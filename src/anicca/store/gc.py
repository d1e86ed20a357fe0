"""Collecting garbage: what no root reaches is removed, while others may go on adding (nix `gc.cc`).

The collector holds `gc.lock`. Whoever adds meanwhile tells it through `gc-socket/socket` which paths to leave alone.
An object becomes invalid first and is then moved away in one rename, so that a cut leaves nothing half there.
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from anicca import fs
from anicca.errors import AniccaError
from anicca.events import Advanced, Finished, Started, ignore
from anicca.store import locks
from anicca.store.graph import topological
from anicca.store.path import StorePath
from anicca.store.roots import find_roots, temporary_roots

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from anicca.events import Report
    from anicca.store.db import Database
    from anicca.store.local import LocalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection removed."""

    paths: tuple[StorePath, ...]
    freed_bytes: int


def live_paths(
    store: LocalStore, *, keep_derivations: bool = True, keep_outputs: bool = False, without: Collection[str] = ()
) -> set[StorePath]:
    """What the roots reach. With `keep_derivations`, also what live outputs were built from.

    `without` names roots (links) that are to be taken for gone.
    """
    db = store.reading()
    if db is None:
        return set()
    found = find_roots(store)
    roots = {path for path, sources in found.items() if sources - set(without)} | temporary_roots(store.state_dir)
    return _live(db, roots, keep_derivations=keep_derivations, keep_outputs=keep_outputs)


def _live(db: Database, roots: Iterable[StorePath], *, keep_derivations: bool, keep_outputs: bool) -> set[StorePath]:
    live = db.closure(roots)
    if not keep_derivations and not keep_outputs:
        return live
    outputs_of: dict[StorePath, list[StorePath]] = {}
    for drv, out in db.all_derivation_outputs():
        outputs_of.setdefault(drv, []).append(out)
    deriver = {path: info.deriver for path, info in db.infos({o for all_ in outputs_of.values() for o in all_}).items()}
    while True:
        more: set[StorePath] = set()
        for drv, outputs in outputs_of.items():
            if keep_derivations and drv not in live and any(o in live and deriver.get(o) == drv for o in outputs):
                more.add(drv)
            if keep_outputs and drv in live:
                more.update(o for o in outputs if o in deriver and o not in live)
        if not more:
            return live
        live |= db.closure(more)


def dead_paths(
    store: LocalStore, *, keep_derivations: bool = True, keep_outputs: bool = False, without: Collection[str] = ()
) -> set[StorePath]:
    """The valid objects that no root reaches, or none but those of `without`."""
    return set(store.all_valid()) - live_paths(
        store, keep_derivations=keep_derivations, keep_outputs=keep_outputs, without=without
    )


def collect(
    store: LocalStore,
    *,
    max_freed_bytes: int | None = None,
    only: Collection[StorePath] | None = None,
    ignore_liveness: bool = False,
    keep_derivations: bool = True,
    keep_outputs: bool = False,
    report: Report = ignore,
) -> Collected:
    """Remove what no root reaches, until so many bytes are free; leftovers of interrupted work too.

    `only`: remove exactly these, AniccaError if one is in use (`ignore_liveness`: only if something refers to it).
    """
    db = store.writing()
    store.workspace()
    gc_fd = locks.open_lock(store.state_dir / "gc.lock")
    try:
        locks.lock(gc_fd, exclusive=True)
        with _Server(store.state_dir, db) as server:
            roots = set(find_roots(store, tidy=True))
            temporary = temporary_roots(store.state_dir)
            server.keep |= _live(db, roots | temporary, keep_derivations=keep_derivations, keep_outputs=keep_outputs)
            server.parts |= {p.hash_part for p in temporary}
            # Everything that the socket heard of before is in `keep` already.
            collection = _Collection(store=store, db=db, server=server, limit=max_freed_bytes, report=report)
            if only is None:
                collection.registered(sorted(set(db.all_valid()) - server.keep))
                collection.leftovers()
                collection.links()
            else:
                if not ignore_liveness:
                    _refuse_live(db, only, server.keep)
                else:
                    server.keep -= set(only)
                    server.parts -= {p.hash_part for p in only}
                _refuse_referred(db, only)
                collection.registered(sorted(only))
            return Collected(paths=tuple(collection.paths), freed_bytes=collection.freed)
    finally:
        os.close(gc_fd)


def _refuse_live(db: Database, only: Collection[StorePath], keep: set[StorePath]) -> None:
    valid = db.valid(only)
    for path in sorted(only):
        if path in keep:
            raise AniccaError(
                f"{path}: in use, so it was not deleted",
                hint=f"anicca store query --roots {path} shows why",
            )
        if path not in valid:
            raise AniccaError(f"{path}: not valid in this store")


def _refuse_referred(db: Database, only: Collection[StorePath]) -> None:
    for path in sorted(only):
        others = db.referrers(path) - set(only)
        if others:
            raise AniccaError(f"{path}: {min(others)} refers to it, so it was not deleted")


@dataclass(slots=True, kw_only=True)
class _Collection:
    """One collection under way."""

    store: LocalStore
    db: Database
    server: _Server
    limit: int | None
    report: Report
    paths: list[StorePath] = field(default_factory=list)
    freed: int = 0

    @property
    def _enough(self) -> bool:
        return self.limit is not None and self.freed >= self.limit

    def registered(self, dead: list[StorePath]) -> None:
        """Remove valid objects, those that refer to others before the others."""
        infos = self.db.infos(dead)
        order = topological({path: infos[path].references if path in infos else () for path in dead})
        self.report(Started(task="gc", total=len(order), unit="objects"))
        for path in reversed(order):
            if self._enough:
                return
            with self.server.lock:
                if path in self.server.keep or path.hash_part in self.server.parts:
                    continue
                self.db.invalidate((path,))
                moved = self._move(self.store.physical(path))
            self.paths.append(path)
            self.freed += 0 if moved is None else fs.remove_tree(moved)
            self.report(Advanced(task="gc", done=len(self.paths)))
        self.report(Finished(task="gc"))

    def leftovers(self) -> None:
        """Remove what lies in the store unregistered and is nobody's work under way."""
        if not self.store.store_dir.exists():
            return
        for name in sorted(os.listdir(self.store.store_dir)):  # noqa: PTH208 (names are what is needed)
            if self._enough:
                return
            if name == ".links":
                continue
            try:
                path = StorePath.parse(name)
            except ValueError:
                path = None
            if path is not None and self.db.valid((path,)):
                continue
            with self.server.lock:
                part = name[:32]
                if part in self.server.parts or (path is not None and self.db.valid((path,))):
                    continue
                moved = self._move(self.store.store_dir / name)
            if path is not None:
                self.paths.append(path)
            self.freed += 0 if moved is None else fs.remove_tree(moved)

    def links(self) -> None:
        """Remove the optimiser's links that no object uses any more."""
        directory = os.fsencode(self.store.store_dir / ".links")
        if not os.path.isdir(directory):  # noqa: PTH112 (bytes)
            return
        for name in os.listdir(directory):  # noqa: PTH208 (bytes)
            file = directory + b"/" + name
            status = os.lstat(file)
            if status.st_nlink == 1:
                os.unlink(file)  # noqa: PTH108 (bytes)
                self.freed += status.st_blocks * 512

    def _move(self, lying: Path) -> Path | None:
        """Move something out of the way in one step; where it is now."""
        try:
            status = lying.lstat()
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(status.st_mode) and os.geteuid() != 0:
            lying.chmod(0o755)
        target = self.store.workspace() / f"dead-{lying.name}"
        lying.rename(target)
        return target


class _Server:
    """Listens for temporary roots made while the collector runs; each is kept with all that it refers to."""

    def __init__(self, state_dir: Path, db: Database) -> None:
        self._file = state_dir / "gc-socket" / "socket"
        self._db = db
        self.lock = threading.Lock()
        self._callers: list[socket.socket] = []
        self.keep: set[StorePath] = set()
        self.parts: set[str] = set()

    def __enter__(self) -> Self:
        import socket  # noqa: PLC0415 (only while collecting)

        self._file.parent.mkdir(exist_ok=True)
        self._file.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        # The path of a socket is at most 107 bytes long: bind by a name relative to a directory we hold.
        fd = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._listener.bind(f"/proc/self/fd/{fd}/socket")
        finally:
            os.close(fd)
        self._file.chmod(0o666)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, name="gc-socket", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        import socket  # noqa: PLC0415 (only while collecting)

        self._file.unlink(missing_ok=True)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        # Who is told of the end asks the next collector; this one would promise what nobody keeps.
        for caller in self._callers:
            with suppress(OSError):
                caller.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                channel, _address = self._listener.accept()
            except OSError:
                return
            self._callers.append(channel)
            threading.Thread(target=self._serve, args=(channel,), daemon=True).start()

    def _serve(self, channel: socket.socket) -> None:
        with suppress(OSError), channel, channel.makefile("rwb") as lines:
            for line in lines:
                try:
                    path = StorePath.parse(line.decode().rstrip("\n"))
                except ValueError:
                    return
                with self.lock:
                    self.parts.add(path.hash_part)
                    self.keep |= self._db.closure((path,)) | {path}
                lines.write(b"1")
                lines.flush()
