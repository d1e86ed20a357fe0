"""The environment that every build step shares: a toolchain for its root, and sources added to the store."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anicca.debian import unpack
from anicca.store import Hash, Instantiated, instantiate
from anicca.store.local import source_path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from anicca.debian.lock import Lock, Pin
    from anicca.store import StorePath

SYSTEMS = {"amd64": "x86_64-linux", "arm64": "aarch64-linux"}
PYTHON = "/usr/bin/python3"
SEARCH_PATH = "/usr/sbin:/usr/bin"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnpackedPackage:
    """A pinned package as two build steps: the .deb, and its contents."""

    pin: Pin
    deb: Instantiated
    contents: Instantiated


def plan_package(pin: Pin, system: str) -> UnpackedPackage:
    """The steps that fetch and unpack a package. The mirror is in no hash: its address is found at fetch time."""
    deb = instantiate(
        name=store_name(f"{pin.name}.deb"),
        system=system,
        builder=unpack.FETCH,
        env={
            "package": pin.name,
            "version": pin.version,
            "architecture": pin.architecture,
            "archive": pin.archive,
            "filename": pin.filename,
            "size": str(pin.size_bytes),
        },
        fixed=Hash("sha256", bytes.fromhex(pin.sha256)),
    )
    contents = instantiate(
        name=store_name(f"{pin.name}-{pin.version}"),
        system=system,
        builder=unpack.UNPACK,
        env={"deb": str(deb.out)},
        inputs=(deb,),
    )
    return UnpackedPackage(pin=pin, deb=deb, contents=contents)


def store_name(text: str) -> str:
    """`text` as a store path's name: Debian's versions have `~` and `:`, which Nix's names do not."""
    return text.replace("~", "_").replace(":", "_")


def without_bytecode(name: bytes, _status: os.stat_result) -> bool:
    """Whether an entry of a source is of it: what Python leaves beside modules that it has run is not."""
    return os.path.basename(name) != b"__pycache__"  # noqa: PTH119 (bytes)


@dataclass(slots=True, kw_only=True, eq=False)
class BuildEnvironment:
    """Makes build steps that run a Python script as root of a sandbox on the toolchain.

    `sources` are the files that the steps name, which must be in the store before anything is built.
    """

    system: str
    toolchain: Instantiated
    sources: dict[StorePath, Path] = field(default_factory=dict)

    def source(self, path: Path, name: str | None = None) -> StorePath:
        """The store path of a file or folder of ours."""
        found = source_path_of(name or path.name, path, without_bytecode)
        self.sources[found] = path
        return found

    def step(
        self,
        name: str,
        script: Path,
        *,
        library: Path | None = None,
        env: Mapping[str, str],
        files: Mapping[str, str] | None = None,
        inputs: Mapping[Instantiated, Iterable[str]],
        sources: Iterable[StorePath] = (),
        outputs: tuple[str, ...] = ("out",),
        as_root: bool = True,
    ) -> Instantiated:
        """A step that runs `script`, with `library` on its module path.

        `files` are values handed over as files, whose paths are in the variables `<key>Path` (Nix's passAsFile).
        """
        program = self.source(script)
        modules = None if library is None else self.source(library)
        handed = dict(files or {})
        return instantiate(
            name=name,
            system=self.system,
            builder=PYTHON,
            args=(str(program),),
            env={
                **env,
                **handed,
                **({"passAsFile": " ".join(sorted(handed))} if handed else {}),
                "PATH": SEARCH_PATH,
                **({} if modules is None else {"PYTHONPATH": str(modules)}),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONUNBUFFERED": "1",
                "LC_ALL": "C.UTF-8",
                "__root": str(self.toolchain.out),
                **({"requiredSystemFeatures": "uid-range"} if as_root else {}),
            },
            inputs={**inputs, self.toolchain: ("out",)},
            sources=(program, *(() if modules is None else (modules,)), *sources),
            outputs=outputs,
        )


def plan_environment(lock: Lock) -> BuildEnvironment:
    """The environment of a lock's toolchain."""
    system = SYSTEMS[lock.architecture]
    return BuildEnvironment(
        system=system, toolchain=plan_toolchain(f"toolchain-{lock.release}", lock.toolchain, system)
    )


def plan_toolchain(name: str, pins: Iterable[Pin], system: str) -> Instantiated:
    """The step that merges packages into a root for build sandboxes."""
    packages = [plan_package(pin, system) for pin in sorted(pins, key=lambda pin: pin.name)]
    return instantiate(
        name=name,
        system=system,
        builder=unpack.TOOLCHAIN,
        env={"packages": json.dumps([str(package.contents.out) for package in packages])},
        inputs=[package.contents for package in packages],
    )
