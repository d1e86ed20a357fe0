"""From spec and lock to the steps that build the system. Pure, but for reading our own builders' files."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from anicca.debian.environment import plan_environment, store_name
from anicca.debian.modules import plan_modules
from anicca.debian.tree import LIBRARY, NAMESPACE, TreePlan, ids_text, plan_image, plan_tree
from anicca.declare.services.tool import LINK, STANDS_FOR_TOOL
from anicca.declare.spec import DirectorySpec, FileSpec, LinkSpec, to_json
from anicca.disks.plan import partition_uuid
from anicca.roots.guard.files import ENVIRONMENT, MODULE_DIRECTORY, dracut_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anicca.debian.environment import BuildEnvironment
    from anicca.debian.lock import Lock
    from anicca.declare.spec import EntrySpec, Spec
    from anicca.store import Instantiated, StorePath

BUILDERS = Path(__file__).parent / "builders"
PACKAGE = Path(__file__).resolve().parents[1]
TOOL_LINK = LinkSpec(path=LINK, target=STANDS_FOR_TOOL)
"""Where a host that carries this program has it: which object that is, only the plan can say."""
KERNEL_VERSION = "@KERNEL@"
"""Stands for the version, which only the tree tells."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemPlan:
    """All the steps of a host, from fetching packages to the object that ties it together."""

    environment: BuildEnvironment
    tools: Instantiated
    """What building a changed host takes: the toolchain, and our builders compiled."""
    tree: TreePlan
    image: Instantiated
    etc: Instantiated
    seed: Instantiated
    initrd: Instantiated
    system: Instantiated

    @property
    def toolchain(self) -> Instantiated:
        """The root of every build's sandbox."""
        return self.environment.toolchain


def plan_system(spec: Spec, lock: Lock) -> SystemPlan:
    """The steps that build `spec` from the packages and ids of `lock`."""
    environment = plan_environment(lock)
    tree = plan_tree(lock, environment)
    image = plan_image(lock, tree, environment)
    tools = (plan_tool(environment),) if TOOL_LINK in spec.files else ()
    compiled = _Compiled(environment=environment, bytecode=_plan_bytecode(environment))
    etc = _plan_part("etc", _etc(spec, *(tool.out for tool in tools)), tree, lock, compiled, others=tools)
    seed = _plan_part("seed", _seed(spec), tree, lock, compiled)
    initrd = _plan_initrd(tree, lock, environment, plan_modules(lock, environment))
    contents = {"tree": tree.tree, "image": image, "etc": etc, "seed": seed, "initrd": initrd}
    packages = [
        {"name": package.pin.name, "version": package.pin.version, "contents": str(package.contents.out)}
        for package in tree.packages
    ]
    system = compiled.step(
        store_name(f"system-{spec.name}"),
        BUILDERS / "system.py",
        env={**{name: str(step.out) for name, step in contents.items()}, "parameters": " ".join(parameters(spec))},
        files={"spec": to_json(spec).decode(), "packages": json.dumps(packages)},
        inputs={**tree.inputs, **{step: ("out",) for step in contents.values() if step is not tree.tree}},
    )
    return SystemPlan(
        environment=environment,
        tools=compiled.bytecode,
        tree=tree,
        image=image,
        etc=etc,
        seed=seed,
        initrd=initrd,
        system=system,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Compiled:
    """Makes the steps that change with a host's declaration: they find the modules that they import compiled."""

    environment: BuildEnvironment
    bytecode: Instantiated

    def step(
        self,
        name: str,
        script: Path,
        *,
        env: Mapping[str, str],
        files: Mapping[str, str],
        inputs: Mapping[Instantiated, tuple[str, ...]],
    ) -> Instantiated:
        """As of the environment."""
        return self.environment.step(
            name,
            script,
            library=LIBRARY,
            env={**env, "PYTHONPYCACHEPREFIX": str(self.bytecode.out)},
            files=files,
            inputs={**inputs, self.bytecode: ("out",)},
        )


def _plan_bytecode(environment: BuildEnvironment) -> Instantiated:
    """The step that compiles what builders import. It depends on the toolchain and on us; never on the host."""
    toolchain = str(environment.toolchain.out)
    return environment.step(
        "anicca-builders",
        BUILDERS / "bytecode.py",
        library=LIBRARY,
        env={"library": str(environment.source(LIBRARY)), "toolchain": toolchain},
        inputs={},
        as_root=False,
    )


def parameters(spec: Spec) -> tuple[str, ...]:
    """The kernel's command line, but for `anicca.system=`, which names the system object itself."""
    devices = () if spec.disk.root_bytes == 0 else (f"anicca.root=PARTUUID={partition_uuid(spec.name, 'root')}",)
    mkfs = ",".join(spec.root.mkfs_arguments)
    return (
        "rw",
        # Every boot looks like a first one to systemd, and like one after an update.
        "systemd.firstboot=off",
        "systemd.condition_needs_update=no",
        # A kernel that panics must not stay where nobody can reach it.
        "panic=30",
        *devices,
        f"anicca.backend={spec.root.guard_backend}",
        f"anicca.rootopts={spec.root.mount_options}",
        *((f"anicca.mkfs={mkfs}",) if mkfs else ()),
        *spec.root.guard_parameters,
        f"anicca.nix=PARTUUID={partition_uuid(spec.name, 'nix')}",
        *spec.kernel.parameters,
    )


def _plan_part(
    name: str,
    declared: Mapping[str, Any],
    tree: TreePlan,
    lock: Lock,
    compiled: _Compiled,
    *,
    others: tuple[Instantiated, ...] = (),
) -> Instantiated:
    """The step that makes an image of what is declared over what the tree has; `others` are what that names."""
    text = json.dumps(declared, sort_keys=True)
    return compiled.step(
        name,
        BUILDERS / f"{name}.py",
        env={
            "tree": str(tree.tree.out),
            "uuid": str(uuid.uuid5(NAMESPACE, name + text)),
            "SOURCE_DATE_EPOCH": str(lock.epoch),
        },
        files={"declared": text, "ids": ids_text(lock)},
        inputs={**tree.inputs, **dict.fromkeys(others, ("out",))},
    )


def plan_tool(environment: BuildEnvironment) -> Instantiated:
    """The step that makes this program as hosts have it."""
    source = environment.source(PACKAGE, "anicca-source")
    return environment.step(
        "anicca",
        BUILDERS / "tool.py",
        env={"source": str(source)},
        inputs={},
        sources=(source,),
    )


def _plan_initrd(
    tree: TreePlan, lock: Lock, environment: BuildEnvironment, modules: Instantiated | None
) -> Instantiated:
    """The step that makes the initrd. It depends on the tree, our dracut module, kernel modules; never on the host."""
    module = environment.source(MODULE_DIRECTORY, "anicca-dracut-module")
    dracut = {"arguments": dracut_arguments(KERNEL_VERSION, "/initrd"), "environment": ENVIRONMENT}
    return environment.step(
        "initrd",
        BUILDERS / "initrd.py",
        library=LIBRARY,
        env={
            "tree": str(tree.tree.out),
            "module": str(module),
            "SOURCE_DATE_EPOCH": str(lock.epoch),
            **({} if modules is None else {"modules": str(modules.out)}),
        },
        files={"ids": ids_text(lock), "dracut": json.dumps(dracut, sort_keys=True)},
        inputs=tree.inputs if modules is None else {**tree.inputs, modules: ("out",)},
        sources=(module,),
    )


def _etc(spec: Spec, tool: StorePath | None = None) -> dict[str, Any]:
    """What the declaration puts into /etc; `tool` is where a link leads that stands for this program itself."""
    files = [
        replace(entry, target=str(tool)) if isinstance(entry, LinkSpec) and entry == TOOL_LINK else entry
        for entry in spec.files
        if entry.path.startswith("/etc/")
    ]
    return {
        "files": [_record(entry) for entry in files],
        "units": [
            {
                "name": unit.name,
                "content": None if unit.content is None else base64.b64encode(unit.content.encode()).decode(),
                "state": unit.state,
            }
            for unit in spec.units
        ],
        "users": [
            {
                "name": user.name,
                "comment": user.comment,
                "home": user.home,
                "shell": user.shell,
                "groups": list(user.groups),
            }
            for user in spec.users
        ],
        "groups": [{"name": group.name, "members": list(group.members)} for group in spec.groups],
    }


def _seed(spec: Spec) -> dict[str, Any]:
    """What the declaration puts on the root, and what it keeps."""
    return {
        "files": [_record(entry) for entry in spec.files if not entry.path.startswith("/etc/")],
        "persist": [
            {
                "path": kept.path,
                "kind": kept.kind,
                "owner": kept.owner,
                "group": kept.group,
                "mode": None if kept.mode is None else f"{kept.mode:04o}",
            }
            for kept in spec.persist
        ],
    }


def _record(entry: EntrySpec) -> dict[str, Any]:
    """A declared path as builders read it."""
    match entry:
        case FileSpec():
            return {
                "path": entry.path,
                "kind": "file",
                "user": entry.owner,
                "group": entry.group,
                "mode": f"{entry.mode:04o}",
                "content": base64.b64encode(entry.content).decode(),
            }
        case LinkSpec():
            return {"path": entry.path, "kind": "symlink", "target": entry.target}
        case DirectorySpec():
            return {
                "path": entry.path,
                "kind": "directory",
                "user": entry.owner,
                "group": entry.group,
                "mode": f"{entry.mode:04o}",
            }
        case _:
            assert_never(entry)
