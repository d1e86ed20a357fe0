"""All that the parts of one host say, taken apart into options; what is of the wrong type becomes a fault."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anicca.declare.host import Absent, Directory, Disk, Entry, File, Group, Host, Link, Part, Persist, Unit, User
from anicca.declare.merge import Ledger, Option, show_value
from anicca.declare.network import Dhcp, Network, Static, Unmanaged
from anicca.declare.rank import Rank, Ranked, weigh
from anicca.declare.root import ROOTS, UNAVAILABLE, Afresh, Btrfs, F2fs, Nilfs2, Overlay, Root, Tmpfs, Zfs
from anicca.declare.size import parse_size
from anicca.declare.spec import PersistKind, UnitState
from anicca.declare.undeclared import Remember, Rule, RuleKind
from anicca.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anicca.errors import Place

NoneType = type(None)

FIELDS: dict[type, dict[str, tuple[type, ...]]] = {
    Host: {"name": (str,), "release": (str,), "architecture": (str,)},
    User: {"name": (str,), "comment": (str, NoneType), "home": (str, NoneType), "shell": (str, NoneType)},
    Group: {"name": (str,)},
    File: {"content": (str, bytes), "owner": (str,), "group": (str,), "mode": (int,)},
    Link: {"target": (str,)},
    Directory: {"owner": (str,), "group": (str,), "mode": (int,)},
    Unit: {"name": (str,), "content": (str, NoneType), "state": (str, NoneType)},
    Persist: {
        "path": (str,),
        "owner": (str, NoneType),
        "group": (str, NoneType),
        "mode": (int, NoneType),
        "kind": (str, NoneType),
    },
    Disk: {"esp": (str, NoneType), "nix": (str, NoneType), "root": (str, NoneType)},
    Dhcp: {"interfaces": (list, tuple)},
    Static: {
        "addresses": (list, tuple),
        "gateways": (list, tuple),
        "dns": (list, tuple),
        "interfaces": (list, tuple),
    },
    F2fs: {"compress_algorithm": (str, NoneType), "compress": (bool,), "lazytime": (bool,), "forget": (str,)},
    Btrfs: {"compress": (str, NoneType), "keep": (int,), "keep_days": (int, NoneType)},
    Afresh: {"filesystem": (str,)},
    Overlay: {"filesystem": (str,)},
    Nilfs2: {"size": (str,)},
    Tmpfs: {"size": (str,)},
    Zfs: {"compression": (str, type(None))},
    Rule: {"path": (str,), "kind": (str,), "why": (str,)},
    Remember: {"size": (str,), "file": (str,), "days": (int,)},
    Absent: {"name": (str,)},
}
"""What the fields of a declaration hold: mypy says it first, but a `host.py` also runs where nobody asked mypy."""

SCALARS: dict[str, tuple[type, ...]] = {
    "kernel": (str,),
    "timezone": (str,),
    "locale": (str,),
    "snapshot": (str,),
    "network": (Dhcp, Static, Unmanaged),
    "root": ROOTS,
    "disk": (Disk,),
    "remember": (Remember,),
}


def as_said(place: Place, _keyword: str, _element: str | None) -> Place:
    """The place of the call itself, where the source is not at hand."""
    return place


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
    """What was said, by option. `take` adds a part; settling is `combine`'s."""

    def __init__(self, locate: Callable[[Place, str, str | None], Place] = as_said) -> None:
        self._locate = locate
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
        self.parameters = Option[tuple[str, ...]]("kernel_parameters[{}]")
        self.components = Option[bool]("components[{}]")
        self.modules = Option[bool]("kernel_modules[{}]")
        self.sysctl = Option[str]("sysctl[{}]")
        self.hosts = Option[bool]("hosts[{}][{}]")
        self.rules = Option[RuleKind]("rules[{}]")
        self.secrets = Option[bool]("rules[{}].secret")
        self.reasons = Option[str]("rules[{}].why")
        self.remember = Option[Remember]("remember")
        self.kernel = Option[str]("kernel")
        self.timezone = Option[str]("timezone")
        self.locale = Option[str]("locale")
        self.network = Option[Network]("network")
        self.root = Option[Root]("root")
        self.sizes = Option[int]("disk.{}", lambda size: f"{size} bytes")
        self.snapshot = Option[str]("snapshot")

    def take_host(self, host: Host) -> None:
        """Note a host: what it alone says, and what it says as a part."""
        for name in FIELDS[Host]:
            self.ledger.origins[name] = (self._locate(host.declared_at, name, None),)
        self._sound(host, host.declared_at)
        self.take(host, Rank.PLAIN)

    def take(self, part: Part, rank: Rank) -> None:
        """Note all that a part and its parts say; `rank` is that of what it says plainly."""
        for name, place, own in self._items(part, "packages", (str, Absent), rank):
            absent = isinstance(name, Absent)
            self.packages.say(name.name if absent else name, value=not absent, rank=own, place=place)
        for user, place, own in self._items(part, "users", (User,), rank):
            self._take_user(user, place, own)
        self._take_groups(part, rank)
        self._take_files(part, rank)
        self._take_units(part, rank)
        for kept, place, own in self._items(part, "persist", (str, Persist), rank):
            self.take_persist(Persist(kept, declared_at=place) if isinstance(kept, str) else kept, own)
        for rule, place, own in self._items(part, "rules", (Rule,), rank):
            self._take_rule(rule, place, own)
        parameters = tuple(text for text, _, _ in self._items(part, "kernel_parameters", (str,), rank))
        if parameters:
            place = self._locate(part.declared_at, "kernel_parameters", None)
            self.parameters.say(" ".join(parameters), value=parameters, rank=rank, place=place)
        for keyword, option in (("components", self.components), ("kernel_modules", self.modules)):
            for text, place, own in self._items(part, keyword, (str,), rank):
                option.say(text, value=True, rank=own, place=place)
        self._take_mappings(part, rank)
        self._take_scalars(part, rank)
        for inner, _, own in self._items(part, "parts", (Part,), rank):
            self.take(inner, own)

    def take_persist(self, kept: Persist, rank: Rank) -> None:
        """Note one persisted path."""
        place = kept.declared_at
        self.persist.say(kept.path, value=True, rank=rank, place=place)
        self.kinds.say(kept.path, value=kept.kind, rank=rank, place=place)
        self.owners.say(kept.path, value=kept.owner, rank=rank, place=place)
        self.owning_groups.say(kept.path, value=kept.group, rank=rank, place=place)
        self.modes.say(kept.path, value=kept.mode, rank=rank, place=place)

    def _take_rule(self, rule: Rule, place: Place, rank: Rank) -> None:
        # What a path is and whether it is secret are two questions.
        if rule.kind == "secret":
            self.secrets.say(rule.path, value=True, rank=rank, place=place)
        else:
            self.rules.say(rule.path, value=rule.kind, rank=rank, place=place)
        self.reasons.say(rule.path, value=rule.why or None, rank=rank, place=place)

    def _take_user(self, user: User, place: Place, rank: Rank) -> None:
        self.users.say(user.name, value=True, rank=rank, place=place)
        self.comments.say(user.name, value=user.comment, rank=rank, place=place)
        self.homes.say(user.name, value=user.home, rank=rank, place=place)
        self.shells.say(user.name, value=user.shell, rank=rank, place=place)
        for group, line, own in self._items(user, "groups", (str,), rank):
            self.memberships.say(user.name, group, value=True, rank=own, place=line)
        for key, line, own in self._items(user, "ssh_keys", (str,), rank):
            self.keys.say(user.name, key.strip(), value=True, rank=own, place=line)

    def _take_groups(self, part: Part, rank: Rank) -> None:
        for group, place, own in self._items(part, "groups", (Group,), rank):
            self.groups.say(group.name, value=True, rank=own, place=place)
            for member, line, _ in self._items(group, "members", (str,), own):
                self.members.say(group.name, member, value=True, rank=own, place=line)

    def _take_units(self, part: Part, rank: Rank) -> None:
        for unit, place, own in self._items(part, "units", (Unit,), rank):
            self.units.say(unit.name, value=True, rank=own, place=place)
            self.contents.say(unit.name, value=unit.content, rank=own, place=place)
            self.states.say(unit.name, value=unit.state, rank=own, place=place)

    def _take_files(self, part: Part, rank: Rank) -> None:
        for path, said, place, own in self._pairs(part, "files", "path to File, Link, Directory or text", rank):
            entry: object = said
            if isinstance(entry, str | bytes):
                entry = File(entry, declared_at=place)
            if not isinstance(entry, Entry):
                self._fault(f"files[{path}] is {show_value(entry)}, not a File, Link, Directory or text", place)
            elif self._sound(entry, entry.declared_at):
                if isinstance(entry, File) and isinstance(entry.content, str):
                    entry = replace(entry, content=entry.content.encode())
                self.files.say(path, value=entry, rank=own, place=entry.declared_at)

    def _take_mappings(self, part: Part, rank: Rank) -> None:
        for key, value, place, own in self._pairs(part, "sysctl", "setting to text or number", rank):
            if isinstance(value, int) or _is_text(value):
                self.sysctl.say(key, value=str(int(value) if isinstance(value, bool) else value), rank=own, place=place)
            else:
                self._fault(f"sysctl[{key}] is {show_value(value)}, not a text or a number", place)
        for address, names, place, own in self._pairs(part, "hosts", "address to names", rank):
            if not isinstance(names, list | tuple | set | frozenset) or not all(map(_is_text, names)):
                self._fault(f"hosts[{address}] is {show_value(names)}, not a list of names", place)
                continue
            for name in names:
                self.hosts.say(address, name, value=True, rank=own, place=place)

    def _pairs(self, part: Part, name: str, wanted: str, rank: Rank) -> Iterator[tuple[str, Any, Place, Rank]]:
        """The keys and values of one mapping, each with its place and rank."""
        said = getattr(part, name)
        if not isinstance(said, Mapping):
            place = self._locate(part.declared_at, name, None)
            self._fault(f"{name} is a mapping from {wanted}, but {show_value(said)} was given", place)
            return
        for key, value in said.items():
            place = self._locate(part.declared_at, name, key)
            if not _is_text(key):
                self._fault(f"{name} has the key {show_value(key)}, which is not a text", place)
                continue
            bare, own = weigh(value, rank)
            yield key, bare, place, own

    def _take_scalars(self, part: Part, rank: Rank) -> None:
        for name, option in (
            ("kernel", self.kernel),
            ("timezone", self.timezone),
            ("locale", self.locale),
            ("snapshot", self.snapshot),
            ("network", self.network),
            ("root", self.root),
            ("remember", self.remember),
        ):
            value, place, own = self._scalar(part, name, rank)
            if value is not None:
                option.say(value=value, rank=own, place=place)
        disk, _, rank = self._scalar(part, "disk", rank)
        if disk is None:
            return
        for name, size in (("esp", disk.esp), ("nix", disk.nix), ("root", disk.root)):
            bare, own = weigh(size, rank)
            if bare is None:
                continue
            line = self._locate(disk.declared_at, name, None)
            try:
                self.sizes.say(name, value=parse_size(bare), rank=own, place=line)
            except ValueError:
                self._fault(f"disk.{name} is {bare!r}, not a size such as '512M' or '8G'", line)

    def _scalar(self, part: Part, name: str, rank: Rank) -> tuple[Any, Place, Rank]:
        """A part's one value, None if it says none, with its own place if it has one, else the keyword's."""
        value, own = weigh(getattr(part, name), rank)
        place = self._locate(part.declared_at, name, None)
        if value is None:
            return None, place, own
        if not isinstance(value, SCALARS[name]) or not _is_writable(value):
            reason = UNAVAILABLE.get(value.lower()) if name == "root" and isinstance(value, str) else None
            if reason is not None:
                self._fault(f"there is no root on {value}: {reason}", place)
                return None, place, own
            self._fault(f"{name} is {show_value(value)}, not {_either(SCALARS[name])}", place)
            return None, place, own
        place = getattr(value, "declared_at", place)
        return (value if self._sound(value, place) else None), place, own

    def _items(
        self, owner: Part | User | Group, name: str, types: tuple[type, ...], rank: Rank
    ) -> Iterator[tuple[Any, Place, Rank]]:
        """The elements of one list, each with its place and rank; what has no business there becomes a fault."""
        said = getattr(owner, name)
        # A text is a sequence of texts to Python and to mypy: `packages="less"` must not mean l, e, s, s.
        # A generator would be empty the second time.
        if isinstance(said, str | bytes | Mapping) or not isinstance(said, Collection):
            place = self._locate(owner.declared_at, name, None)
            self._fault(f"{name} is a list, but {show_value(said)} was given", place)
            return
        for item in said:
            bare, own = weigh(item, rank)
            element = bare.name if isinstance(bare, Absent) else bare
            place = self._locate(owner.declared_at, name, element if isinstance(element, str) else None)
            if not isinstance(bare, types) or not _is_writable(bare):
                self._fault(f"{name} holds {show_value(bare)}, which is not {_either(types)}", place)
            elif self._sound(bare, getattr(bare, "declared_at", place)):
                yield bare, getattr(bare, "declared_at", place), own

    def _sound(self, thing: object, place: Place) -> bool:
        """Whether the fields of a declaration hold what they should; each that does not becomes a fault."""
        sound = True
        for name, types in FIELDS.get(type(thing), {}).items():
            value = getattr(thing, name)
            # Only these are merged field by field, where each may have a weight of its own.
            if isinstance(value, Ranked) and NoneType in types and isinstance(thing, User | Unit | Persist | Disk):
                value = value.value
            if not isinstance(value, types) or not _is_writable(value):
                sound = False
                self._fault(f"{type(thing).__name__}: {name} is {show_value(value)}, not {_either(types)}", place)
        return sound

    def _fault(self, message: str, place: Place) -> None:
        self.ledger.faults.append(Fault(message=message, places=(place,)))


NOUNS = {
    str: "a text",
    bytes: "bytes",
    int: "a number",
    bool: "True or False",
    list: "a list",
    tuple: "a tuple",
    Absent: "absent(…)",
}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and _is_writable(value)


def _is_writable(value: object) -> bool:
    """Whether a text can be written as UTF-8, and a list has such texts only; other values always can."""
    if isinstance(value, list | tuple):
        return all(map(_is_text, value))
    if not isinstance(value, str):
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _either(types: tuple[type, ...]) -> str:
    """The types' names, as a person says them."""
    return " or ".join(NOUNS.get(kind, kind.__name__) for kind in types if kind is not NoneType)
