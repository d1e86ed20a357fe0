"""The systemd units that a system brings, as systemd would read them (systemd.unit(5)): texts, drop-ins, links.

Pure: a `Source` gives entries and contents of /etc and /usr, wherever they are.
"""

from __future__ import annotations

import os.path
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

USER_DIRECTORIES = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
"""Units of users' own systemd. What users have in their homes is theirs."""
DIRECTORIES = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
"""The first that has a name wins. /run is left out: it is not of a system."""
NULL = "/dev/null"
LINKED = (".wants", ".requires", ".upholds")
STARTS = ("Wants", "Requires", "BindsTo", "Upholds")
"""Settings by which starting one unit starts others."""
SUFFIXES = (".service", ".socket", ".target", ".timer", ".path", ".mount", ".automount", ".swap", ".slice", ".device")


class Source(Protocol):
    """Where paths of a system are looked up."""

    def children(self, directory: str) -> Iterable[str]:
        """The names in a directory; none where there is none."""

    def link(self, path: str) -> str | None:
        """Where a symbolic link leads; None if it is none."""

    def content(self, path: str) -> bytes | None:
        """A regular file's content; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of a unit."""

    section: str
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit of some system. `settings` has its text and drop-ins in order, without comments and `[Install]`."""

    name: str
    path: str
    masked: bool = False
    settings: tuple[Setting, ...] = ()
    links: frozenset[str] = frozenset()
    """Units that it wants or requires through links."""

    def values(self, key: str, section: str | None = None) -> list[str]:
        """The values of a list setting; an empty one forgets those before it."""
        found: list[str] = []
        for one in self.settings:
            if one.key == key and section in (None, one.section):
                found = [*found, one.value] if one.value else []
        return found

    def value(self, key: str, section: str | None = None) -> str | None:
        """The last value of a setting."""
        found = self.values(key, section)
        return found[-1] if found else None

    def starts(self) -> frozenset[str]:
        """The units that starting this one starts."""
        return self.links | {name for key in STARTS for value in self.values(key, "Unit") for name in value.split()}

    def triggers(self) -> frozenset[str]:
        """The units that this one starts on an event: of a socket, timer, path or automount."""
        stem, kind = split(self.name)
        if kind in (".timer", ".path"):
            return frozenset(self.values("Unit", kind[1:].title()) or [f"{stem}.service"])
        if kind == ".socket":
            template = f"{stem}@.service" if is_yes(self.value("Accept", "Socket")) else f"{stem}.service"
            return frozenset(self.values("Service", "Socket") or [template])
        if kind == ".automount":
            return frozenset([f"{stem}.mount"])
        return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSet:
    """All units of a system, and the other names they have."""

    units: Mapping[str, Unit]
    aliases: Mapping[str, str]
    _instances: dict[str, Unit | None] = field(default_factory=dict, compare=False, repr=False)

    def canonical(self, name: str) -> str:
        """The name under which a unit is known, its aliases followed."""
        for _ in range(10):
            if name not in self.aliases:
                break
            name = self.aliases[name]
        return name

    def get(self, name: str) -> Unit | None:
        """The unit of that name, an instance from its template; None if there is none. Masked ones are there."""
        name = self.canonical(name)
        found = self.units.get(name)
        if found is not None and (found.settings or found.masked):
            return found
        template = template_of(name)
        if template is None:
            return found
        if name not in self._instances:
            self._instances[name] = self._instance(name, self.canonical(template), found)
        return self._instances[name]

    def _instance(self, name: str, template: str, own: Unit | None) -> Unit | None:
        base = self.units.get(template)
        if base is None:
            return own
        links = base.links | (own.links if own else frozenset())
        return Unit(name=name, path=base.path, masked=base.masked, settings=base.settings, links=links)

    def reachable(self, top: str, *, triggered: bool = False) -> frozenset[str]:
        """What starting `top` starts, directly or not; also what that may trigger later, if asked."""
        seen: set[str] = set()
        todo = [self.canonical(top)]
        while todo:
            name = todo.pop()
            unit = self.get(name)
            if name in seen or unit is None or unit.masked:
                continue
            seen.add(name)
            more = unit.starts() | (unit.triggers() if triggered else frozenset())
            todo += (self.canonical(each) for each in expand(more, name))
        return frozenset(seen)


def expand(names: Iterable[str], of: str) -> Iterator[str]:
    """Names with the specifiers that occur in them replaced."""
    instance = of.partition("@")[2].rpartition(".")[0]
    for name in names:
        yield name.replace("%i", instance).replace("%I", instance) if "%" in name else name


def split(name: str) -> tuple[str, str]:
    """A unit's name before its type, and the type with its dot."""
    stem, dot, kind = name.rpartition(".")
    return (stem, dot + kind) if dot else (name, "")


def template_of(name: str) -> str | None:
    """`a@.service` for `a@b.service`; None for what is no instance."""
    stem, at, rest = name.partition("@")
    instance, dot, kind = rest.rpartition(".")
    return f"{stem}@.{kind}" if at and dot and instance else None


def is_yes(value: str | None) -> bool:
    """Whether systemd reads this as true."""
    return (value or "").lower() in ("yes", "true", "on", "1", "y", "t")


@dataclass(slots=True)
class _Found:
    """What the directories of units hold, the first of a name winning. Of a file: its path and text, None if masked."""

    fragments: dict[str, tuple[str, bytes | None]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    dropins: dict[str, dict[str, tuple[str, bytes | None]]] = field(default_factory=lambda: defaultdict(dict))
    links: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def take(self, source: Source, directory: str) -> None:
        """Note all that a directory has."""
        for name in source.children(directory):
            path = f"{directory}/{name}"
            owner, kind = split(name)
            if kind in LINKED:
                self.links[owner].update(source.children(path))
            elif kind == ".d":
                for each in source.children(path):
                    if each.endswith(".conf"):
                        self.dropins[owner].setdefault(each, (f"{path}/{each}", _text(source, f"{path}/{each}")))
            elif name.endswith(SUFFIXES) and name not in self.fragments and name not in self.aliases:
                target = source.link(path)
                if target is not None and target != NULL and os.path.basename(target) != name:  # noqa: PTH119 (a text)
                    self.aliases[name] = os.path.basename(target)  # noqa: PTH119
                else:
                    self.fragments[name] = (path, _text(source, path))

    def unit(self, name: str) -> Unit:
        """The unit of that name, put together."""
        path, text = self.fragments.get(name) or self.fragments.get(template_of(name) or "", ("", b""))
        settings: list[Setting] = []
        if text is not None:
            settings += parse_unit(text)
            for _each, (_path, more) in sorted(_dropins_of(name, self.dropins).items()):
                settings += parse_unit(more or b"")
        names = {name, *(alias for alias, target in self.aliases.items() if target == name)}
        return Unit(
            name=name,
            path=path,
            masked=text is None,
            settings=tuple(settings),
            links=frozenset(link for each in names for link in self.links.get(each, ())),
        )


def read_units(source: Source, directories: Sequence[str] = DIRECTORIES) -> UnitSet:
    """All units of a system."""
    found = _Found()
    for directory in directories:
        found.take(source, directory)
    names = found.fragments.keys() | {name for name in found.links if name.endswith(SUFFIXES)}
    names |= _instances(found.dropins, found.fragments)
    return UnitSet(units={name: found.unit(name) for name in names - found.aliases.keys()}, aliases=found.aliases)


@lru_cache(maxsize=2048)
def parse_unit(text: bytes) -> tuple[Setting, ...]:
    """The lines of a unit's text in order: comments and `[Install]` left out, continued lines joined.

    Two systems share most texts: each is parsed once.
    """
    found: list[Setting] = []
    section = ""
    held = ""
    for raw in text.decode("utf-8", "replace").splitlines():
        line = raw.strip()
        if held and line.startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            held += line[:-1].rstrip() + " "
            continue
        line, held = held + line, ""
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section != "Install" and "=" in line:
            key, _, value = line.partition("=")
            found.append(Setting(section=section, key=key.strip(), value=value.strip()))
    return tuple(found)


def _text(source: Source, path: str) -> bytes | None:
    """A fragment's content; None if it masks: a link to nothing, or an empty file."""
    target = source.link(path)
    if target == NULL:
        return None
    if target is not None:
        path = target if target.startswith("/") else os.path.normpath(f"{os.path.dirname(path)}/{target}")  # noqa: PTH120
    return source.content(path) or None


def _instances(dropins: Mapping[str, object], fragments: Mapping[str, object]) -> set[str]:
    """Instances that have drop-ins of their own."""
    return {name for name in dropins if (template := template_of(name)) is not None and template in fragments}


def _dropins_of(
    name: str, dropins: Mapping[str, Mapping[str, tuple[str, bytes | None]]]
) -> dict[str, tuple[str, bytes | None]]:
    """The drop-ins of a unit by file name: those of its type, of its name's beginnings, its template, itself."""
    stem, kind = split(name)
    parts = stem.split("-")
    owners = [kind[1:], *("-".join(parts[:count]) + f"-{kind}" for count in range(1, len(parts)))]
    template = template_of(name)
    found: dict[str, tuple[str, bytes | None]] = {}
    for owner in [*owners, *([template] if template else []), name]:
        found.update(dropins.get(owner, {}))
    return found
