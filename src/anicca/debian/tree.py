"""The steps from a lock to a tree: packages unpacked, assembled, split, and its metadata image.

docs/internals/tree.md has the formats.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anicca.debian.environment import plan_package

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anicca.debian.environment import BuildEnvironment, UnpackedPackage
    from anicca.debian.lock import Lock
    from anicca.store import Instantiated

BUILDERS = Path(__file__).parent / "builders"
LIBRARY = BUILDERS / "lib"
NAMESPACE = uuid.UUID("6f1bcf0b-2a57-5d39-9d0c-0a6f53a6a0f1")
"""Where our deterministic UUIDs come from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreePlan:
    """A tree's steps. `tree` has the outputs `out` (manifest.jsonl, facts.json) and `delta`."""

    packages: tuple[UnpackedPackage, ...]
    tree: Instantiated

    @property
    def inputs(self) -> Mapping[Instantiated, tuple[str, ...]]:
        """What a step needs that reads the manifest and the contents that it names."""
        contents: dict[Instantiated, tuple[str, ...]] = {package.contents: ("out",) for package in self.packages}
        return {self.tree: ("out", "delta"), **contents}


def plan_tree(lock: Lock, environment: BuildEnvironment) -> TreePlan:
    """The steps that assemble the lock's packages. They do not depend on the host, nor on ids."""
    pins = sorted(lock.packages, key=lambda pin: pin.name)
    packages = tuple(plan_package(pin, environment.system) for pin in pins)
    records = [
        {
            "name": package.pin.name,
            "deb": str(package.deb.out),
            "contents": str(package.contents.out),
            "sha256": package.pin.sha256,
        }
        for package in packages
    ]
    tree = environment.step(
        f"tree-{lock.release}",
        BUILDERS / "assemble.py",
        library=LIBRARY,
        env={
            "release": lock.release,
            "architecture": lock.architecture,
            "SOURCE_DATE_EPOCH": str(lock.epoch),
        },
        files={"packages": json.dumps(records)},
        inputs={step: ("out",) for package in packages for step in (package.deb, package.contents)},
        outputs=("out", "delta"),
    )
    return TreePlan(packages=packages, tree=tree)


def plan_image(lock: Lock, tree: TreePlan, environment: BuildEnvironment) -> Instantiated:
    """The step that makes the tree's metadata image, with the lock's ids."""
    return environment.step(
        f"image-{lock.release}",
        BUILDERS / "image.py",
        library=LIBRARY,
        env={
            "tree": str(tree.tree.out),
            "uuid": str(uuid.uuid5(NAMESPACE, str(tree.tree.out))),
            "SOURCE_DATE_EPOCH": str(lock.epoch),
        },
        files={"ids": ids_text(lock)},
        inputs=tree.inputs,
    )


def ids_text(lock: Lock) -> str:
    """The lock's ids as builders read them."""
    return json.dumps({"users": dict(lock.users), "groups": dict(lock.groups)}, sort_keys=True)
