"""The spec: a declaration evaluated and merged. Frozen, complete, with one canonical JSON (docs/internals/spec.md).

`files` holds everything that follows from the declaration alone, also what other options bring: host name, hosts,
time zone, locale, network, users' homes and authorized keys, units' texts excepted (they are in `units`). What
needs the tree or the lock (passwd and group, ids, machine-id, enablement links) is made by `anicca.system`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, assert_never

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anicca.declare.root import Root
    from anicca.errors import Fault, Place

UnitState = Literal["enabled", "disabled", "masked", "static"]
PersistKind = Literal["d", "f"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The kernel's package and what is added to its command line."""

    package: str
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSpec:
    """A person's account: its own group has its name and is in `Spec.groups`; its password is locked."""

    name: str
    comment: str = ""
    home: str
    shell: str = "/bin/bash"
    groups: tuple[str, ...] = ()
    """Other groups than its own, sorted."""
    ssh_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpec:
    """A declared group with its members among the declared users and others."""

    name: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpec:
    """A regular file; one in /etc cannot be written on the host, one elsewhere is laid out anew at every boot."""

    path: str
    content: bytes
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """A symbolic link."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySpec:
    """A directory with an owner and mode of its own."""

    path: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o755


EntrySpec = FileSpec | LinkSpec | DirectorySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    """A systemd unit: its whole text, or None for one that a package brings, and what is to become of it.

    `static` asks for nothing: it is there for others to want.
    """

    name: str
    content: str | None = None
    state: UnitState = "enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistSpec:
    """A path that outlives the boot. Where owner, group or mode is None the tree's own path decides, else root 0755."""

    path: str
    kind: PersistKind = "d"
    owner: str | None = None
    group: str | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """The sizes of the partitions; `root_bytes` is 0 where the root needs none."""

    esp_bytes: int
    nix_bytes: int
    root_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a host is. Every tuple is sorted by name or path, so equal declarations give equal bytes."""

    name: str
    release: str = "trixie"
    architecture: str = "amd64"
    components: tuple[str, ...] = ("main",)
    kernel: Kernel
    packages: tuple[str, ...]
    """All that was asked for, the kernel's package and those of services with it."""
    users: tuple[UserSpec, ...] = ()
    groups: tuple[GroupSpec, ...] = ()
    files: tuple[EntrySpec, ...] = ()
    units: tuple[UnitSpec, ...] = ()
    persist: tuple[PersistSpec, ...] = ()
    timezone: str
    locale: str
    root: Root
    disk: DiskSpec
    snapshot: str | None = None
    """Where a version that the mirror has dropped may still be had: a URL in which `{archive}`, `{timestamp}`,
    `{filename}` and `{sha256}` are filled in (see `anicca.debian.archive`)."""
    origins: Mapping[str, tuple[Place, ...]] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False
    )
    """Option, such as `files[/etc/motd]` or `users[ann].shell`, to the places that said its value."""
    warnings: tuple[Fault, ...] = field(default=(), compare=False, repr=False)
    """What is allowed but seldom meant."""

    @property
    def hostname(self) -> str:
        """The name by which the host knows itself."""
        return self.name


def to_json(spec: Spec) -> bytes:
    """The canonical JSON: sorted keys, no spaces, one newline at the end; origins and warnings are left out.

    A file's content is text where it is UTF-8, else `{"base64": …}`.
    """
    text = json.dumps(to_value(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def digest(spec: Spec) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(to_json(spec)).hexdigest()


def resolution_key(spec: Spec) -> str:
    """SHA-256, in hex, of exactly what package resolution depends on: a lock is stale when this changed."""
    asked: dict[str, Any] = {
        "architecture": spec.architecture,
        "components": spec.components,
        "packages": sorted({*spec.packages, spec.kernel.package}),
        "release": spec.release,
    }
    if spec.root.module_packages:
        asked["modules"] = spec.root.module_packages
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def to_value(spec: Spec) -> dict[str, Any]:
    """The spec as JSON values."""
    return {
        "architecture": spec.architecture,
        "components": spec.components,
        "disk": {
            "esp_bytes": spec.disk.esp_bytes,
            "nix_bytes": spec.disk.nix_bytes,
            "root_bytes": spec.disk.root_bytes,
        },
        "files": {entry.path: _entry(entry) for entry in spec.files},
        "groups": {group.name: {"members": group.members} for group in spec.groups},
        "kernel": {"package": spec.kernel.package, "parameters": spec.kernel.parameters},
        "locale": spec.locale,
        "name": spec.name,
        "packages": spec.packages,
        "persist": {
            kept.path: {"group": kept.group, "kind": kept.kind, "mode": _mode(kept.mode), "owner": kept.owner}
            for kept in spec.persist
        },
        "release": spec.release,
        "root": _root(spec.root),
        "snapshot": spec.snapshot,
        "timezone": spec.timezone,
        "units": {unit.name: {"content": unit.content, "state": unit.state} for unit in spec.units},
        "users": {
            user.name: {
                "comment": user.comment,
                "groups": user.groups,
                "home": user.home,
                "shell": user.shell,
                "ssh_keys": user.ssh_keys,
            }
            for user in spec.users
        },
    }


def _mode(mode: int | None) -> str | None:
    """A mode as `ls` and `chmod` number it."""
    return None if mode is None else f"{mode:04o}"


def _content(content: bytes) -> str | dict[str, str]:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _entry(entry: EntrySpec) -> dict[str, Any]:
    match entry:
        case FileSpec():
            return {
                "content": _content(entry.content),
                "group": entry.group,
                "mode": _mode(entry.mode),
                "owner": entry.owner,
                "type": "file",
            }
        case LinkSpec():
            return {"target": entry.target, "type": "link"}
        case DirectorySpec():
            return {"group": entry.group, "mode": _mode(entry.mode), "owner": entry.owner, "type": "directory"}
        case _:
            assert_never(entry)


def _root(root: Root) -> dict[str, Any]:
    said = {each.name: getattr(root, each.name) for each in fields(root) if each.name != "declared_at"}
    return {"backend": root.backend, **said}
