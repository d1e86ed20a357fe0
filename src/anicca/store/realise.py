"""Building one derivation: run its builder, see that its outputs are what they should be, register them."""

from __future__ import annotations

import bz2
import os
import platform
import shutil
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca import fs
from anicca.errors import AniccaError
from anicca.events import Finished, LogLine, Started
from anicca.store import locks
from anicca.store.canonical import canonicalise
from anicca.store.checks import check_fixed, check_references
from anicca.store.context import BuildContext
from anicca.store.info import PathInfo
from anicca.store.logs import log_file
from anicca.store.path import StorePath, content_address
from anicca.store.running import Cancelled, run_builder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anicca.events import Report
    from anicca.store.context import Settings
    from anicca.store.derivation import Instantiated
    from anicca.store.local import LocalStore
    from anicca.store.running import Cancel

TAIL_LINES = 25
"""How many of a failed builder's last lines its error keeps."""


class _Log:
    """The log of one build, kept, shown, and its end remembered."""

    def __init__(self, file: Path, task: str, report: Report) -> None:
        fs.make_public_directory(file.parent)
        self._final = file
        self._staged = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        self._stream = bz2.BZ2File(self._staged, "wb")
        self._task = task
        self._report = report
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def line(self, raw: bytes) -> None:
        self._stream.write(raw + b"\n")
        text = raw.decode("utf-8", "replace")
        self.tail.append(text)
        self._report(LogLine(task=self._task, text=text))

    def text(self, line: str) -> None:
        self.line(line.encode("utf-8", "surrogateescape"))

    def close(self) -> None:
        try:
            self._stream.close()
            self._staged.rename(self._final)
        except OSError:
            # A full disk has ended the build already; that error is the one to tell.
            self._staged.unlink(missing_ok=True)


def realise(store: LocalStore, item: Instantiated, settings: Settings, report: Report, cancel: Cancel) -> None:
    """Make all outputs of `item` valid. Its `.drv` and its inputs are valid.

    Raises AniccaError with the derivation's name, the end of its log, and how to see all of it.
    """
    task = item.drv.name
    report(Started(task=task))
    store.protect((item.path, *item.outputs.values()))
    with locks.path_locks(store.physical(p) for p in item.outputs.values()):
        if settings.check or len(store.valid(item.outputs.values())) < len(item.outputs):
            _Build(store=store, item=item, settings=settings, report=report, cancel=cancel).whole()
    report(Finished(task=task))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """One build, from its inputs to registered outputs. The outputs' locks are held."""

    store: LocalStore
    item: Instantiated
    settings: Settings
    report: Report
    cancel: Cancel

    def whole(self) -> None:
        drv, path = self.item.drv, self.item.path
        log = _Log(log_file(self.store.log_dir, path), drv.name, self.report)
        hint = f"all of its log: anicca store log {path}"
        try:
            with self.store.scratch() as directory:
                try:
                    self._in(directory, log)
                except BaseException as error:
                    if self.settings.keep_failed and not isinstance(error, Cancelled | KeyboardInterrupt):
                        hint = f"its directory is kept: {_keep(self.store, directory, drv.name)}; {hint}"
                    raise
        except AniccaError as error:
            detail = "\n".join([*log.tail, *([error.detail] if error.detail else [])])
            hints = [h for h in (error.faults[0].hint, hint) if h]
            raise AniccaError(f"{path}: {error}", hint="; ".join(hints), detail=detail or None) from error
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise AniccaError(
                f"{path}: {where}{error.strerror or error}", hint=hint, detail="\n".join(log.tail) or None
            ) from error
        finally:
            log.close()

    def _in(self, directory: Path, log: _Log) -> None:
        """Build in `directory`, and install what came of it."""
        inputs = frozenset(self.store.closure(_input_paths(self.store, self.item)))
        if self.item.drv.builder.startswith("builtin:"):
            staged = self._builtin(directory, inputs, log)
        else:
            staged = self._sandboxed(directory, inputs, log)
        for name, path in self.item.outputs.items():
            if not staged[path].is_symlink() and not staged[path].exists():
                raise AniccaError(f"its builder did not make the output {name!r}")
        infos = _examine(self.store, self.item, staged, inputs)
        if self.settings.check:
            _compare(self.store, self.item, infos)
            if self.settings.repair in staged:
                self.store.put_in_place(staged.pop(self.settings.repair), self.settings.repair)
        done = self.store.valid(self.item.outputs.values())
        self.store.install(
            {p: s for p, s in staged.items() if p not in done},
            [i for i in infos if i.path not in done],
            locked=True,
        )

    def _builtin(self, directory: Path, inputs: frozenset[StorePath], log: _Log) -> dict[StorePath, Path]:
        """Run a builder within this program; where each output lies now."""
        drv = self.item.drv
        builtin = self.settings.builders.get(drv.builder)
        if builtin is None:
            raise AniccaError(f"needs the builder {drv.builder}, which is not known here")
        outputs = directory / "store"
        outputs.mkdir()
        scratch = directory / "scratch"
        scratch.mkdir()
        staged = {path: outputs / path.basename for path in self.item.outputs.values()}
        builtin(
            BuildContext(
                env=drv.env,
                outputs={name: staged[path] for name, path in self.item.outputs.items()},
                store=self.store,
                inputs=inputs,
                drv=drv,
                scratch=scratch,
                report=self.report,
                log=log.text,
                cancel=self.cancel,
            )
        )
        return staged

    def _sandboxed(self, directory: Path, inputs: frozenset[StorePath], log: _Log) -> dict[StorePath, Path]:
        """Run a program in the sandbox; where each output lies now."""
        from anicca.store.environment import surroundings  # noqa: PLC0415 (builtins need none of it)
        from anicca.store.sandbox import Sandbox, command, prepare, static_shell  # noqa: PLC0415

        drv = self.item.drv
        machine = f"{platform.machine()}-linux"
        if drv.system not in ("builtin", machine):
            raise AniccaError(f"is for {drv.system}, and this machine is {machine}")
        around = surroundings(self.store, drv, cores=self.settings.cores or os.cpu_count() or 1)
        root = drv.env.get("__root")
        sandbox = Sandbox(
            directory=directory,
            inputs=[self.store.physical(p) for p in sorted(inputs)],
            root=None if root is None else _root(self.store, root, inputs),
            privileged="uid-range" in drv.env.get("requiredSystemFeatures", "").split(),
            network=drv.is_fixed,
            shell=None if root is not None else static_shell(),
        )
        prepare(sandbox, around.files)
        argv = command(sandbox, around.env, [drv.builder, *around.args])
        ended = run_builder(argv, log.line, self.settings.limits, self.cancel)
        if ended.why is not None:
            raise AniccaError(f"its builder was ended {ended.why}")
        if ended.status < 0:
            raise AniccaError(f"its builder was killed by signal {-ended.status}")
        if ended.status != 0:
            raise AniccaError(f"its builder failed with status {ended.status}")
        return {path: sandbox.store / path.basename for path in self.item.outputs.values()}


def _input_paths(store: LocalStore, item: Instantiated) -> set[StorePath]:
    """The sources and the outputs that the derivation names."""
    wanted = set(item.drv.input_sources)
    known = {i.path: i.outputs for i in item.inputs}
    for path, names in item.drv.input_derivations.items():
        outputs = known.get(path) or store.read_derivation(path).output_paths
        wanted.update(outputs[name] for name in names)
    return wanted


def _root(store: LocalStore, text: str, inputs: frozenset[StorePath]) -> Path:
    path = StorePath.parse(text)
    if path not in inputs:
        raise AniccaError(f"{path}: is its __root, but no input of it")
    return store.physical(path)


def _examine(
    store: LocalStore, item: Instantiated, staged: Mapping[StorePath, Path], inputs: frozenset[StorePath]
) -> list[PathInfo]:
    """Canonical metadata, hashes, references; everything that could be wrong with the outputs."""
    infos = []
    candidates = inputs.union(staged)
    for name, path in item.outputs.items():
        fixed = item.drv.outputs[name].fixed
        if fixed is not None:
            check_fixed(staged[path], *fixed)
        seen = canonicalise(staged[path], candidates)
        if fixed is not None and seen.references:
            raise AniccaError(f"its output's hash is fixed, but it refers to {min(seen.references)}")
        infos.append(
            PathInfo(
                path=path,
                nar_hash=seen.nar_hash,
                nar_size=seen.nar_size,
                references=seen.references,
                deriver=item.path,
                ultimate=True,
                content_address=None
                if fixed is None
                else content_address("recursive" if fixed[0] else "flat", fixed[1]),
            )
        )
    check_references(store, item, infos)
    return infos


def _compare(store: LocalStore, item: Instantiated, infos: list[PathInfo]) -> None:
    """Raise AniccaError if what was built now is not what is valid."""
    known = store.infos(item.outputs.values())
    for info in infos:
        before = known.get(info.path)
        if before is not None and before.nar_hash != info.nar_hash:
            raise AniccaError(
                f"is not reproducible: {info.path} has hash {before.nar_hash}, built again {info.nar_hash}"
            )


def _keep(store: LocalStore, directory: Path, name: str) -> Path:
    """Move a failed build's directory to where a person can look at it."""
    kept = store.state_dir / "failed"
    kept.mkdir(exist_ok=True)
    number = 0
    while (target := kept / f"{name}-{number}").exists():
        number += 1
    shutil.move(directory, target)
    return target
