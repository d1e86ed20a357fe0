"""What somebody who writes to a store holds meanwhile: temporary roots, and a directory for what is under way.

Light, as `spelling` is: `local.LocalStore` has one, and so has the command line's short way to collect garbage.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from anicca import fs
from anicca.store import base32
from anicca.store.spelling import STORE_DIR
from anicca.store.temproots import TempRoots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Session:
    """Holds nothing until it is asked to. Safe to share between threads; may be used again after `close`."""

    def __init__(self, store_dir: str, state_dir: str) -> None:
        self._store_dir = store_dir
        self._roots = TempRoots(state_dir)
        self._lock = allocate_lock()
        self._workspace: str | None = None

    def protect(self, paths: Iterable[object]) -> None:
        """Keep store paths from every garbage collector until `close`, valid already or not."""
        self._roots.add(map(str, paths))

    def workspace(self) -> str:
        """A directory on the store's filesystem, removed by `close`.

        It lies in the store's directory under a name that a temporary root protects: the one place from which a
        rename into the store always works and which real Nix's collector leaves alone while we run.
        """
        with self._lock:
            if self._workspace is None:
                name = f"{base32.encode(os.urandom(20))}-anicca-work"
                self.protect((f"{STORE_DIR}/{name}",))
                place = f"{self._store_dir}/{name}"
                os.mkdir(place, 0o700)  # noqa: PTH102 (text)
                self._workspace = place
            return self._workspace

    def close(self) -> None:
        """Remove the directory, protect nothing any more."""
        with self._lock:
            if self._workspace is not None:
                fs.remove_tree(self._workspace)
                self._workspace = None
        self._roots.close()
