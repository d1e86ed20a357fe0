"""Reading a spec back from its canonical JSON, as a system keeps it. docs/internals/spec.md has the format."""

from __future__ import annotations

import base64
import json
from typing import Any

from anicca.declare.root import ROOTS, Root
from anicca.declare.spec import (
    DirectorySpec,
    DiskSpec,
    EntrySpec,
    FileSpec,
    GroupSpec,
    Kernel,
    LinkSpec,
    PersistSpec,
    Spec,
    UnitSpec,
    UserSpec,
)


def from_json(text: bytes) -> Spec:
    """The spec that `to_json` wrote, without origins and warnings. Raises `ValueError` for anything else."""
    try:
        return _spec(json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a spec: {error!r}") from error


def _spec(value: dict[str, Any]) -> Spec:
    return Spec(
        name=value["name"],
        release=value["release"],
        architecture=value["architecture"],
        components=tuple(value["components"]),
        kernel=Kernel(package=value["kernel"]["package"], parameters=tuple(value["kernel"]["parameters"])),
        packages=tuple(value["packages"]),
        users=tuple(
            UserSpec(
                name=name,
                comment=user["comment"],
                home=user["home"],
                shell=user["shell"],
                groups=tuple(user["groups"]),
                ssh_keys=tuple(user["ssh_keys"]),
            )
            for name, user in value["users"].items()
        ),
        groups=tuple(GroupSpec(name=name, members=tuple(group["members"])) for name, group in value["groups"].items()),
        files=tuple(_entry(path, entry) for path, entry in value["files"].items()),
        units=tuple(
            UnitSpec(name=name, content=unit["content"], state=unit["state"]) for name, unit in value["units"].items()
        ),
        persist=tuple(
            PersistSpec(
                path=path,
                kind=kept["kind"],
                owner=kept["owner"],
                group=kept["group"],
                mode=None if kept["mode"] is None else int(kept["mode"], 8),
            )
            for path, kept in value["persist"].items()
        ),
        timezone=value["timezone"],
        locale=value["locale"],
        root=_root(value["root"]),
        disk=DiskSpec(**value["disk"]),
        snapshot=value["snapshot"],
    )


def _entry(path: str, value: dict[str, Any]) -> EntrySpec:
    kind = value["type"]
    if kind == "link":
        return LinkSpec(path=path, target=value["target"])
    owner, group, mode = value["owner"], value["group"], int(value["mode"], 8)
    if kind == "directory":
        return DirectorySpec(path=path, owner=owner, group=group, mode=mode)
    if kind == "file":
        content = value["content"]
        text = content.encode() if isinstance(content, str) else base64.b64decode(content["base64"], validate=True)
        return FileSpec(path=path, content=text, owner=owner, group=group, mode=mode)
    raise ValueError(f"not a spec: {path} is a {kind!r}")


def _root(value: dict[str, Any]) -> Root:
    options = dict(value)
    backend = options.pop("backend")
    for root in ROOTS:
        if root.backend == backend:
            return root(**options)
    raise ValueError(f"not a spec: the root's backend is {backend!r}")
