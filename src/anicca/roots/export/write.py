"""The guard, its scripts and units, as an initrd of dracut, of initramfs-tools or of NixOS takes them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anicca.errors import UsageError
from anicca.roots.guard.files import MODULE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
DRACUT_MODULE = "usr/lib/dracut/modules.d/90anicca-guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of initrd: the files that only it has and where they go, where the scripts and the unit go."""

    own: Mapping[str, str]
    scripts: str
    unit: str | None = None
    lays_over: bool = True
    """Whether the blank root is laid over the host's own, which the initrd mounts as ever."""


KINDS: Mapping[str, Kind] = {
    "dracut": Kind(
        own={
            name: f"{DRACUT_MODULE}/{name}"
            for name in ("module-setup.sh", "aside.conf", "anicca-over.service", "66-anicca-stack.rules")
        },
        scripts=f"{DRACUT_MODULE}/scripts",
        unit=DRACUT_MODULE,
    ),
    "initramfs-tools": Kind(
        own={
            "hook": "etc/initramfs-tools/hooks/anicca-guard",
            "init-bottom": "etc/initramfs-tools/scripts/init-bottom/anicca-guard",
        },
        scripts="usr/share/anicca/guard",
    ),
    "nixos": Kind(
        own={"README.md": "README.md", "default.nix": "default.nix"}, scripts="scripts", unit=".", lays_over=False
    ),
}


def plan_export(name: str) -> dict[str, Path]:
    """Where each file goes below the directory of an export to one of `KINDS`, and which of ours it is a copy of."""
    kind = KINDS[name]
    shared = [MODULE_DIRECTORY / "common.sh", MODULE_DIRECTORY / "guard.sh", *MODULE_DIRECTORY.glob("backend_*.sh")]
    files = {target: HERE / name / source for source, target in kind.own.items()}
    if kind.lays_over:
        shared.append(HERE / "shared/over.sh")
        files["README.md"] = HERE / "shared/README.md"
    files |= {f"{kind.scripts}/{source.name}": source for source in shared}
    if kind.unit is not None:
        files[f"{kind.unit}/anicca-guard.service".removeprefix("./")] = MODULE_DIRECTORY / "anicca-guard.service"
    return dict(sorted(files.items()))


def export(name: str, directory: Path) -> list[Path]:
    """Write the guard for one of `KINDS` into a directory, which must be empty or not there; what was written.

    Raises `UsageError` for a directory that holds something.
    """
    if directory.is_dir() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty", hint="give a new directory; what is written there is copied on")
    written = []
    for target, source in plan_export(name).items():
        path = directory / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        # Those of the module are executable as far as they are run.
        path.chmod(source.stat().st_mode & 0o755)
        written.append(path)
    return written
