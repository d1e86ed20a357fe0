"""The kernel of a built system, as a rescue guest needs it: its image and its modules on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from pathlib import Path

    from anicca.store import LocalStore
    from anicca.system.plan import SystemPlan


def link_kernel(plan: SystemPlan, store: LocalStore, directory: Path) -> tuple[Path, Path]:
    """The kernel's image, and a folder like `lib/modules/VERSION` in `directory`, of links into the store.

    The package brings the modules, the tree's maintainer scripts made the lists beside them (depmod).
    """
    version = (store.physical(plan.system.out) / "kernel-version").read_text().strip()
    for package in plan.tree.packages:
        contents = store.physical(package.contents.out)
        image = contents / f"boot/vmlinuz-{version}"
        if image.exists():
            break
    else:
        raise AniccaError(f"no package of the host has boot/vmlinuz-{version}")
    modules = directory / version
    modules.mkdir(parents=True)
    name = f"usr/lib/modules/{version}"
    for source in (contents / name, store.physical(plan.tree.tree.outputs["delta"]) / name):
        for entry in sorted(source.iterdir()):
            (modules / entry.name).symlink_to(entry)
    return image, modules
