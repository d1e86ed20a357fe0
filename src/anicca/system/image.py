"""A host's first disk: its system's closure, a registered store, generation 1 and its boot entry, a blank root."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import __version__, events
from anicca.declare.root import F2fs
from anicca.disks.esp import BOOT_MANAGER_IN_TREE, BootEntry, esp_files
from anicca.disks.image import measure_contents, read_boot_file, write_image
from anicca.disks.plan import DiskPlan, plan_disk
from anicca.disks.staging import link_objects
from anicca.errors import AniccaError
from anicca.fs import remove_tree
from anicca.store import LocalStore, StorePath
from anicca.system.generations import Generation, manifest, origins_of
from anicca.system.reading import System
from anicca.system.tools import toolchain_tools

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anicca.declare.spec import Spec
    from anicca.events import Report
    from anicca.system.generations import Origins
    from anicca.system.plan import SystemPlan

GENERATION = 1
PROFILE = "var/nix/profiles/system"
MANIFEST = f"var/anicca/generations/{GENERATION}.json"


def make_image(
    spec: Spec,
    plan: SystemPlan,
    store: LocalStore,
    output: Path,
    *,
    declared_in: Path | None = None,
    overwrite: bool = False,
    report: Report = events.ignore,
) -> DiskPlan:
    """Write a bootable disk image of a built system to `output`. Touches no device and mounts nothing.

    With `declared_in`, the folder of its `host.py`, the host knows in which lines it was declared.
    Raises `DeclarationError` where a declared size is too small, `AniccaError` where `output` is there already.
    """
    origins = None if declared_in is None else origins_of(spec, declared_in)
    with staged_nix(plan.system.out, store, origins) as nix_root:
        files = _boot_files(spec, plan, store)
        disk = plan_disk(
            host=spec.name,
            esp_bytes=spec.disk.esp_bytes,
            nix_bytes=spec.disk.nix_bytes,
            root_bytes=spec.disk.root_bytes or None,
            root_filesystem="f2fs" if isinstance(spec.root, F2fs) else "none",
            root_mkfs_options=spec.root.mkfs_arguments,
            contents=measure_contents(nix_root=nix_root, esp_files=files),
            declared_at=spec.origins.get("disk", ()),
        )
        write_image(
            disk,
            output=output,
            nix_root=nix_root,
            esp_files=files,
            tools=toolchain_tools(store.physical(plan.toolchain.out)),
            overwrite=overwrite,
            report=report,
        )
    return disk


@contextmanager
def staged_nix(system: StorePath, store: LocalStore, origins: Origins | None) -> Iterator[Path]:
    """The content of the nix volume: the closure by hard links, its registration, the profile with generation 1."""
    closure = store.closure([system])
    # Beside the store, where hard links can be made; beside the image they might be copies.
    base = store.state_dir
    for stale in base.glob(".image-*"):
        if not Path("/proc", stale.name.split("-")[1]).exists():
            remove_tree(stale)
    top = Path(tempfile.mkdtemp(prefix=f".image-{os.getpid()}-", dir=base))
    try:
        nix = top / "nix"
        with LocalStore.open(top) as staged:
            # The database comes before the objects: a store that has only those looks damaged.
            staged.writing()
            link_objects([store.physical(path) for path in sorted(closure)], nix / "store")
            # When an object came to this store says nothing about the host's: the same image every time.
            staged.register(
                [replace(info, registration_time=1, deriver=None) for info in store.infos(closure).values()]
            )
        profile = nix / PROFILE
        profile.parent.mkdir(parents=True, exist_ok=True)
        generation = profile.with_name(f"{profile.name}-{GENERATION}-link")
        generation.symlink_to(str(system))
        profile.symlink_to(generation.name)
        record = nix / MANIFEST
        record.parent.mkdir(parents=True)
        made_from = System(system, store_dir=store.store_dir).made_from
        first = Generation(number=GENERATION, system=system, created=1)
        record.write_bytes(manifest(first, made_from, version=__version__, origins=origins))
        # The store names its own place there, which on the host is another than here.
        profiles = nix / "var/nix/gcroots/profiles"
        profiles.unlink()
        profiles.symlink_to("/nix/var/nix/profiles")
        yield nix
    finally:
        remove_tree(top)


def _boot_files(spec: Spec, plan: SystemPlan, store: LocalStore) -> Mapping[str, Path | bytes]:
    """What goes onto the ESP."""
    system = store.physical(plan.system.out)
    manager = next((package for package in plan.tree.packages if package.pin.name == "systemd-boot-efi"), None)
    if manager is None:
        raise AniccaError("the host has no boot loader", hint="its packages must have systemd-boot-efi")
    entry = BootEntry(
        host=spec.name,
        generation=GENERATION,
        description=f"Debian {spec.release}, Linux {(system / 'kernel-version').read_text().strip()}",
        kernel=read_boot_file(follow(store, system / "kernel")),
        initrd=read_boot_file(follow(store, system / "initrd")),
        options=(system / "cmdline").read_text().strip(),
    )
    return esp_files([entry], boot_manager=store.physical(manager.contents.out) / BOOT_MANAGER_IN_TREE)


def follow(store: LocalStore, link: Path) -> Path:
    """Where a system's link leads on disk, in a store that may lie elsewhere than its paths say."""
    target = link.readlink()
    return store.store_dir / target.relative_to("/nix/store")
