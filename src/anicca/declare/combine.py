"""From a host and its parts to the spec: pure, and the same whatever the order of the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from anicca.declare.base import base
from anicca.declare.check import check
from anicca.declare.host import Absent, Directory, Disk, Entry, File, Group, Host, Link, Part, Persist, Unit, User
from anicca.declare.lower import localisation, naming, networking, persist_directories, user_files
from anicca.declare.merge import Ledger, Option, present, show_value, single
from anicca.declare.network import Dhcp, Network, Static, Unmanaged
from anicca.declare.rank import Rank, weigh
from anicca.declare.root import F2fs, Root, Tmpfs
from anicca.declare.size import parse_size
from anicca.declare.spec import (
    DirectorySpec,
    DiskSpec,
    EntrySpec,
    FileSpec,
    GroupSpec,
    Kernel,
    LinkSpec,
    PersistKind,
    PersistSpec,
    Spec,
    UnitSpec,
    UnitState,
    UserSpec,
)
from anicca.errors import DeclarationError, Fault, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


def combine(host: Host) -> Spec:
    """The spec of a host. Raises `DeclarationError` with every fault found."""
    sayings = Sayings()
    sayings.take(host, Rank.PLAIN)
    sayings.take(base(), Rank.BASE)
    spec = sayings.spec(host)
    faults, warnings = check(spec, host.declared_at)
    faults = (*sayings.ledger.faults, *faults)
    if faults:
        raise DeclarationError(*sorted(faults, key=lambda fault: (fault.places, fault.message)))
    return replace(spec, warnings=warnings)


def describe_entry(entry: Entry) -> str:
    """A file, link or directory in a few words."""
    match entry:
        case File(content=content, owner=owner, group=group, mode=mode):
            text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
            return f"file {show_value(text)} {owner}:{group} {mode:04o}"
        case Link(target=target):
            return f"link to {target}"
        case Directory(owner=owner, group=group, mode=mode):
            return f"directory {owner}:{group} {mode:04o}"


class Sayings:
    """All that the parts of one host say, by option."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.packages = Option[bool]("packages[{}]", lambda wanted: "asked for" if wanted else "absent")
        self.users = Option[bool]("users[{}]")
        self.comments = Option[str]("users[{}].comment")
        self.homes = Option[str]("users[{}].home")
        self.shells = Option[str]("users[{}].shell")
        self.memberships = Option[bool]("users[{}].groups[{}]")
        self.keys = Option[bool]("users[{}].ssh_keys[{}]")
        self.groups = Option[bool]("groups[{}]")
        self.members = Option[bool]("groups[{}].members[{}]")
        self.files = Option[Entry]("files[{}]", describe_entry)
        self.units = Option[bool]("units[{}]")
        self.contents = Option[str]("units[{}].content")
        self.states = Option[UnitState]("units[{}].state")
        self.persist = Option[bool]("persist[{}]")
        self.kinds = Option[PersistKind]("persist[{}].kind")
        self.owners = Option[str]("persist[{}].owner")
        self.owning_groups = Option[str]("persist[{}].group")
        self.modes = Option[int]("persist[{}].mode", lambda mode: f"{mode:04o}")
        self.kernel = Option[str]("kernel.package")
        self.parameters = Option[tuple[str, ...]]("kernel.parameters")
        self.components = Option[bool]("components[{}]")
        self.timezone = Option[str]("timezone")
        self.locale = Option[str]("locale")
        self.network = Option[Network]("network")
        self.root = Option[Root]("root")
        self.sizes = Option[int]("disk.{}", lambda size: f"{size} bytes")
        self.snapshot = Option[str]("snapshot")

    # What is said.

    def take(self, part: Part, rank: Rank) -> None:
        """Note all that a part and its parts say."""
        place = part.declared_at
        for name, own in self._items(part, "packages", (str, Absent), place, rank):
            wanted = not isinstance(name, Absent)
            self.packages.say(name.name if isinstance(name, Absent) else name, value=wanted, rank=own, place=place)
        for user, own in self._items(part, "users", (User,), place, rank):
            self._take_user(user, own)
        for group, own in self._items(part, "groups", (Group,), place, rank):
            self.groups.say(group.name, value=True, rank=own, place=group.declared_at)
            for member, _ in self._items(group, "members", (str,), group.declared_at, own):
                self.members.say(group.name, member, value=True, rank=own, place=group.declared_at)
        self._take_files(part, rank)
        for unit, own in self._items(part, "units", (Unit,), place, rank):
            self.units.say(unit.name, value=True, rank=own, place=unit.declared_at)
            self.contents.say(unit.name, value=unit.content, rank=own, place=unit.declared_at)
            self.states.say(unit.name, value=unit.state, rank=own, place=unit.declared_at)
        for kept, own in self._items(part, "persist", (str, Persist), place, rank):
            self._take_persist(Persist(kept, declared_at=place) if isinstance(kept, str) else kept, own)
        parameters = tuple(text for text, _ in self._items(part, "kernel_parameters", (str,), place, rank))
        if parameters:
            self.parameters.say(str(parameters), value=parameters, rank=rank, place=place)
        for component, own in self._items(part, "components", (str,), place, rank):
            self.components.say(component, value=True, rank=own, place=place)
        self._take_scalars(part, rank)
        for inner, own in self._items(part, "parts", (Part,), place, rank):
            self.take(inner, own)

    def _take_user(self, user: User, rank: Rank) -> None:
        place = user.declared_at
        self.users.say(user.name, value=True, rank=rank, place=place)
        self.comments.say(user.name, value=user.comment, rank=rank, place=place)
        self.homes.say(user.name, value=user.home, rank=rank, place=place)
        self.shells.say(user.name, value=user.shell, rank=rank, place=place)
        for group, own in self._items(user, "groups", (str,), place, rank):
            self.memberships.say(user.name, group, value=True, rank=own, place=place)
        for key, own in self._items(user, "ssh_keys", (str,), place, rank):
            self.keys.say(user.name, key.strip(), value=True, rank=own, place=place)

    def _take_files(self, part: Part, rank: Rank) -> None:
        if not isinstance(part.files, Mapping):
            self._fault("files is a mapping from path to File, Link, Directory or text", part.declared_at)
            return
        for path, said in part.files.items():
            entry, own = weigh(said, rank)
            if isinstance(entry, str | bytes):
                entry = File(entry, declared_at=part.declared_at)
            if not isinstance(path, str) or not isinstance(entry, Entry):
                self._fault(
                    f"files[{path}] is {show_value(entry)}, not a File, Link, Directory or text", part.declared_at
                )
                continue
            if isinstance(entry, File) and isinstance(entry.content, str):
                entry = replace(entry, content=entry.content.encode("utf-8", "surrogateescape"))
            self.files.say(path, value=entry, rank=own, place=entry.declared_at)

    def _take_persist(self, kept: Persist, rank: Rank) -> None:
        place = kept.declared_at
        self.persist.say(kept.path, value=True, rank=rank, place=place)
        self.kinds.say(kept.path, value=kept.kind, rank=rank, place=place)
        self.owners.say(kept.path, value=kept.owner, rank=rank, place=place)
        self.owning_groups.say(kept.path, value=kept.group, rank=rank, place=place)
        self.modes.say(kept.path, value=kept.mode, rank=rank, place=place)

    def _take_scalars(self, part: Part, rank: Rank) -> None:
        text = ("a text", str)
        self._scalar(part, "kernel", text, self.kernel, rank)
        self._scalar(part, "timezone", text, self.timezone, rank)
        self._scalar(part, "locale", text, self.locale, rank)
        self._scalar(part, "snapshot", text, self.snapshot, rank)
        self._scalar(part, "network", ("Dhcp, Static or Unmanaged", Dhcp, Static, Unmanaged), self.network, rank)
        self._scalar(part, "root", ("F2fs or Tmpfs", F2fs, Tmpfs), self.root, rank)
        disk, rank = weigh(part.disk, rank)
        if disk is None:
            return
        if not isinstance(disk, Disk):
            self._fault(f"disk is {show_value(disk)}, not a Disk", part.declared_at)
            return
        for name, size in (("esp", disk.esp), ("nix", disk.nix), ("root", disk.root)):
            bare, own = weigh(size, rank)
            if bare is None:
                continue
            try:
                self.sizes.say(name, value=parse_size(bare), rank=own, place=disk.declared_at)
            except (ValueError, AttributeError):
                self._fault(f"disk.{name} is {bare!r}, not a size such as '512M' or '8G'", disk.declared_at)

    def _scalar(
        self, part: Part, name: str, wanted: tuple[str, *tuple[type, ...]], option: Option[Any], rank: Rank
    ) -> None:
        """Note one value, at its own place if it has one, else at its part's."""
        bare, own = weigh(getattr(part, name), rank)
        if bare is None:
            return
        if isinstance(bare, wanted[1:]):
            option.say(value=bare, rank=own, place=getattr(bare, "declared_at", part.declared_at))
        else:
            self._fault(f"{name} is {show_value(bare)}, not {wanted[0]}", part.declared_at)

    def _items(
        self, owner: object, name: str, types: tuple[type, ...], place: Place, rank: Rank
    ) -> Iterator[tuple[Any, Rank]]:
        """The elements of one list with their ranks; what has no business there becomes a fault."""
        said = getattr(owner, name)
        # A text is a sequence of texts to Python and to mypy: `packages="less"` must not mean l, e, s, s.
        if isinstance(said, str | bytes | dict) or not hasattr(said, "__iter__"):
            self._fault(f"{name} is a list, but {show_value(said)} was given", place)
            return
        for item in said:
            bare, own = weigh(item, rank)
            if isinstance(bare, types):
                yield bare, own
            else:
                wanted = " or ".join(kind.__name__ for kind in types)
                self._fault(f"{name} holds {show_value(bare)}, which is not a {wanted}", place)

    def _fault(self, message: str, place: Place, hint: str | None = None) -> None:
        self.ledger.faults.append(Fault(message=message, places=(place,), hint=hint))

    # What comes of it.

    def spec(self, host: Host) -> Spec:
        """Settle every option. What options bring with them is said as default, so that a plain saying wins."""
        ledger = self.ledger
        timezone = single(self.timezone.settle(ledger), "Etc/UTC")
        locale = single(self.locale.settle(ledger), "C.UTF-8")
        network = single(self.network.settle(ledger), Dhcp())
        root = single(self.root.settle(ledger), F2fs())
        users = self._settle_users()
        self._lower(naming(host.name), "name", host.declared_at)
        self._lower(localisation(timezone, locale), "timezone", host.declared_at)
        self._lower(networking(network), "network", host.declared_at)
        for user in users:
            self._lower(user_files(user), f"users[{user.name}]", host.declared_at)
        files = self.files.settle(ledger)
        for path, kept in persist_directories(files, [key[0] for key in self.persist.said]).items():
            del files[path,]
            self._take_persist(kept, Rank.DEFAULT)
        packages = self.packages.settle(ledger)
        kernel = single(self.kernel.settle(ledger), "linux-image-amd64")
        return Spec(
            name=host.name,
            release=host.release,
            architecture=host.architecture,
            components=tuple(sorted({"main", *present(self.components.settle(ledger))})),
            kernel=Kernel(
                package=kernel,
                parameters=tuple(text for texts in self.parameters.settle(ledger).values() for text in texts),
            ),
            packages=tuple(sorted({kernel, *present(packages)})),
            users=users,
            groups=self._settle_groups(users),
            files=tuple(entry_spec(path, entry) for (path,), entry in files.items()),
            units=self._settle_units(),
            persist=self._settle_persist(),
            timezone=timezone,
            locale=locale,
            root=root,
            disk=self._settle_disk(root),
            snapshot=self.snapshot.settle(ledger).get(()),
            origins=MappingProxyType(dict(sorted(ledger.origins.items()))),
        )

    def _lower(self, part: Callable[[Place], Part], option: str, otherwise: Place) -> None:
        """Say what an option brings with it, at the place where the option was said."""
        places = self.ledger.origins.get(option, ())
        self.take(part(places[0] if places else otherwise), Rank.DEFAULT)

    def _settle_users(self) -> tuple[UserSpec, ...]:
        ledger = self.ledger
        comments, homes, shells = (option.settle(ledger) for option in (self.comments, self.homes, self.shells))
        memberships, keys = self.memberships.settle(ledger), self.keys.settle(ledger)
        names = present(self.users.settle(ledger))
        members = tuple(self.members.said)
        return tuple(
            UserSpec(
                name=name,
                comment=comments.get((name,), ""),
                home=homes.get((name,), f"/home/{name}"),
                shell=shells.get((name,), "/bin/bash"),
                groups=tuple(
                    sorted(
                        {group for user, group in memberships if user == name}
                        | {group for group, member in members if member == name}
                    )
                ),
                ssh_keys=tuple(key for user, key in keys if user == name),
            )
            for name in names
        )

    def _settle_groups(self, users: tuple[UserSpec, ...]) -> tuple[GroupSpec, ...]:
        members = self.members.settle(self.ledger)
        names = {*present(self.groups.settle(self.ledger)), *(user.name for user in users)}
        return tuple(
            GroupSpec(
                name=name,
                members=tuple(
                    sorted(
                        {member for group, member in members if group == name}
                        | {user.name for user in users if name in user.groups}
                    )
                ),
            )
            for name in sorted(names)
        )

    def _settle_units(self) -> tuple[UnitSpec, ...]:
        contents, states = self.contents.settle(self.ledger), self.states.settle(self.ledger)
        units = []
        for name in present(self.units.settle(self.ledger)):
            content = contents.get((name,))
            usual: UnitState = "enabled" if content is None or "[Install]" in content else "static"
            units.append(UnitSpec(name=name, content=content, state=states.get((name,), usual)))
        return tuple(units)

    def _settle_persist(self) -> tuple[PersistSpec, ...]:
        ledger = self.ledger
        kinds, modes = self.kinds.settle(ledger), self.modes.settle(ledger)
        owners, groups = self.owners.settle(ledger), self.owning_groups.settle(ledger)
        return tuple(
            PersistSpec(
                path=path,
                kind=kinds.get((path,), "d"),
                owner=owners.get((path,)),
                group=groups.get((path,)),
                mode=modes.get((path,)),
            )
            for path in present(self.persist.settle(ledger))
        )

    def _settle_disk(self, root: Root) -> DiskSpec:
        sizes = self.sizes.settle(self.ledger)
        return DiskSpec(
            esp_bytes=sizes.get(("esp",), 0),
            nix_bytes=sizes.get(("nix",), 0),
            root_bytes=0 if isinstance(root, Tmpfs) else sizes.get(("root",), 0),
        )


def entry_spec(path: str, entry: Entry) -> EntrySpec:
    """A declared file, link or directory as the spec has it."""
    match entry:
        case File():
            content = entry.content.encode() if isinstance(entry.content, str) else entry.content
            return FileSpec(path=path, content=content, owner=entry.owner, group=entry.group, mode=entry.mode)
        case Link():
            return LinkSpec(path=path, target=entry.target)
        case Directory():
            return DirectorySpec(path=path, owner=entry.owner, group=entry.group, mode=entry.mode)
