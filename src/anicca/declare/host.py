"""The words of a `host.py`. They hold what was said and where; whether it makes sense is checked when all is merged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from anicca.declare.location import here

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anicca.declare.network import Network
    from anicca.declare.rank import Ranked
    from anicca.declare.root import Root
    from anicca.declare.spec import PersistKind, UnitState
    from anicca.declare.undeclared import Remember, Rule
    from anicca.errors import Place

Release = Literal["trixie"]
Architecture = Literal["amd64"]


@dataclass(frozen=True, slots=True)
class File:
    """A regular file's content, owner and mode. Text is written as UTF-8, as it stands: end it with a newline."""

    content: str | bytes
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link to `target`."""

    target: str
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory made at every boot."""

    owner: str = "root"
    group: str = "root"
    mode: int = 0o755
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)


Entry = File | Link | Directory


@dataclass(frozen=True, slots=True)
class User:
    """An account with a group of its own name. What is None is left to others to say, or to the usual."""

    name: str
    ssh_keys: Sequence[str] = ()
    """Public keys that may log in, as the lines of an `authorized_keys` file."""
    groups: Sequence[str] = ()
    """Other groups it is in, such as `sudo`."""
    comment: str | Ranked[str] | None = None
    home: str | Ranked[str] | None = None
    """`/home/NAME` if nobody says; made at every boot with mode 0700."""
    shell: str | Ranked[str] | None = None
    """`/bin/bash` if nobody says."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of this host; its number is allocated once, in the lock."""

    name: str
    members: Sequence[str] = ()
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit: one of a package's by name, or one of this host's with its whole text.

    Unless something is said, a unit becomes enabled, but one whose text has no `[Install]` is static.
    """

    name: str
    content: str | Ranked[str] | None = None
    state: UnitState | Ranked[UnitState] | None = None
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Persist:
    """A path that outlives the boot. What is None is as in the tree when the path is first made, else root's, 0755."""

    path: str
    owner: str | Ranked[str] | None = None
    group: str | Ranked[str] | None = None
    mode: int | Ranked[int] | None = None
    kind: PersistKind | Ranked[PersistKind] | None = None
    """`"d"`, a directory, if nobody says; `"f"` a single file."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Disk:
    """Sizes of the partitions, such as `"512M"` or `"8G"`."""

    esp: str | Ranked[str] | None = None
    """Kernels, initrds and boot entries."""
    nix: str | Ranked[str] | None = None
    """The store and all that persists."""
    root: str | Ranked[str] | None = None
    """What is forgotten at every boot."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Absent:
    """A package that is not to be asked for; made by `absent`."""

    name: str


def absent(package: str) -> Absent:
    """In `packages`: do not ask for this one, though every host has it. Others may still depend on it."""
    return Absent(package)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of what a host is; parts merge by kind.

    Lists add, mappings unite. Two different values for one option are an error that names both places, unless one
    is `default(…)` or `force(…)`. The order of parts does not matter.
    """

    packages: Sequence[str | Absent | Ranked[str | Absent]] = ()
    users: Sequence[User | Ranked[User]] = ()
    groups: Sequence[Group] = ()
    files: Mapping[str, Entry | str | bytes | Ranked[Entry | str | bytes]] = field(default_factory=dict)
    """Absolute path to what is there; a bare text is a file of root's with mode 0644."""
    units: Sequence[Unit | Ranked[Unit]] = ()
    persist: Sequence[str | Persist | Ranked[Persist]] = ()
    parts: Sequence[Part] = ()
    kernel: str | Ranked[str] | None = None
    """The kernel's package."""
    kernel_parameters: Sequence[str] = ()
    kernel_modules: Sequence[str] = ()
    """Modules loaded at boot that nothing loads by itself."""
    sysctl: Mapping[str, str | int | Ranked[str | int]] = field(default_factory=dict)
    """Settings of the kernel at run time, such as `{"net.ipv4.ip_forward": 1}`."""
    hosts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Address to the names it has in `/etc/hosts`, besides the host's own."""
    components: Sequence[str] = ()
    """Components of the archive besides `main`, such as `non-free-firmware`."""
    timezone: str | Ranked[str] | None = None
    locale: str | Ranked[str] | None = None
    network: Network | Ranked[Network] | None = None
    root: Root | Ranked[Root] | None = None
    disk: Disk | Ranked[Disk] | None = None
    rules: Sequence[Rule | Ranked[Rule]] = ()
    """What paths are that nobody declares, for `anicca drift`."""
    remember: Remember | Ranked[Remember] | None = None
    """What is kept for a while of what a boot forgets; on hosts that have `anicca.declare.services.tool`."""
    snapshot: str | Ranked[str] | None = None
    """Where versions that the mirror has dropped may be had: a URL in which `{archive}`, `{timestamp}`, `{filename}`
    and `{sha256}` are filled in."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Part):
    """A whole host. A `host.py` has one, named `host`."""

    name: str
    release: Release = "trixie"
    architecture: Architecture = "amd64"
