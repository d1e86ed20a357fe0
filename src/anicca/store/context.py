"""How to build, and what builders within this program are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.store.path import StorePath
from anicca.store.running import Cancelled, Limits

if TYPE_CHECKING:
    from pathlib import Path

    from anicca.events import Report
    from anicca.store.derivation import Derivation
    from anicca.store.local import LocalStore
    from anicca.store.running import Cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """What a builtin builder is given."""

    env: Mapping[str, str]
    outputs: Mapping[str, Path]
    """Where to make each output: a path that does not exist yet. Metadata becomes canonical afterwards."""
    store: LocalStore
    inputs: frozenset[StorePath]
    """The closure of the inputs: all that may be read."""
    drv: Derivation
    scratch: Path
    """An empty directory on the store's filesystem, removed afterwards."""
    report: Report
    log: Callable[[str], None]
    """Write a line to the build's log."""
    cancel: Cancel

    def physical(self, path: StorePath | str) -> Path:
        """Where an input lies on disk. AniccaError if it is none."""
        wanted = StorePath.parse(path) if isinstance(path, str) else path
        if wanted not in self.inputs:
            raise AniccaError(f"{wanted}: is no input of {self.drv.name}")
        return self.store.physical(wanted)

    def checkpoint(self) -> None:
        """Raise if the build was called off: to be called now and then by what takes long."""
        if self.cancel.asked:
            raise Cancelled


Builtin = Callable[[BuildContext], None]
"""A builder within this program. It raises AniccaError to fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to build."""

    builders: Mapping[str, Builtin] = field(default_factory=dict)
    """Builders within this program, by `builtin:NAME`."""
    cores: int = 0
    """What builders are told to use (NIX_BUILD_CORES); 0: all."""
    keep_failed: bool = False
    check: bool = False
    """Build again what is valid, and compare."""
    repair: StorePath | None = None
    """With `check`: an output to be replaced by what was built, which must be what is registered."""
    limits: Limits = field(default_factory=Limits)
