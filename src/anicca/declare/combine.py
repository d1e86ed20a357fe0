"""From a host and its parts to the spec: pure, and the same whatever the order of the parts."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from anicca.declare.base import base
from anicca.declare.check import check, check_lowered, check_network
from anicca.declare.host import Directory, Entry, File, Host, Link, Part
from anicca.declare.lower import (
    kernel_part,
    locale_part,
    name_part,
    network_part,
    persist_directories,
    timezone_part,
    user_part,
)
from anicca.declare.lower_undeclared import check_remember, check_rules, remember_part, rules_part, rules_text
from anicca.declare.merge import present, single
from anicca.declare.network import Dhcp
from anicca.declare.rank import Rank
from anicca.declare.root import F2fs, Root
from anicca.declare.sayings import Sayings, as_said
from anicca.declare.services.tool import LINK
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
    UnitState,
    UserSpec,
)
from anicca.declare.undeclared import Remember
from anicca.errors import DeclarationError, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anicca.errors import Place


def combine(host: Host, locate: Callable[[Place, str, str | None], Place] = as_said) -> Spec:
    """The spec of a host. Raises `DeclarationError` with every fault found.

    `locate` makes the place of a call exact, given a keyword of it and perhaps an element of that.
    """
    sayings = Sayings(locate)
    sayings.take_host(host)
    if not isinstance(host.name, str):
        raise DeclarationError(*_in_order(sayings.ledger.faults))
    sayings.take(base(), Rank.BASE)
    spec = _settle(sayings, host)
    faults, warnings = check(spec)
    if sayings.ledger.faults or faults:
        raise DeclarationError(*_in_order([*sayings.ledger.faults, *faults]))
    return replace(spec, warnings=_in_order(warnings))


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    """Faults as one reads a file, each once."""
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.places, fault.message)))


def _settle(sayings: Sayings, host: Host) -> Spec:
    """Settle every option. What options bring with them is said as default, so that a plain saying wins."""
    ledger = sayings.ledger
    timezone = single(sayings.timezone.settle(ledger), "Etc/UTC")
    locale = single(sayings.locale.settle(ledger), "C.UTF-8")
    network = single(sayings.network.settle(ledger), Dhcp())
    users = _settle_users(sayings)

    def place(option: str) -> Place:
        return ledger.origins.get(option, (host.declared_at,))[0]

    modules = present(sayings.modules.settle(ledger))
    sysctl = {setting: value for (setting,), value in sayings.sysctl.settle(ledger).items()}
    hosts: dict[str, list[str]] = {}
    for address, name in sayings.hosts.settle(ledger):
        hosts.setdefault(address, []).append(name)
    faults = check_lowered(ledger.origins, modules=modules, sysctl=sysctl, hosts=hosts)
    ledger.faults.extend(faults)
    ledger.faults.extend(check_network(network, ledger.origins.get("network", ())))
    for part in (
        name_part(host.name, hosts, place("name")),
        kernel_part(modules, sysctl, place(next((f"sysctl[{setting}]" for setting in sysctl), "name"))),
        timezone_part(timezone, place("timezone")),
        locale_part(locale, place("locale")),
        network_part(network, place("network")),
        *(user_part(user, place(f"users[{user.name}]")) for user in users),
        *_undeclared(sayings, place),
    ):
        sayings.take(part, Rank.DEFAULT)
    files = sayings.files.settle(ledger)
    for path, kept in persist_directories(files, [path for (path,) in sayings.persist.said]).items():
        del files[path,]
        sayings.take_persist(kept, Rank.DEFAULT)
    packages = sayings.packages.settle(ledger)
    kernel = single(sayings.kernel.settle(ledger), "linux-image-amd64")
    parameters = sayings.parameters.settle(ledger)
    root = single(sayings.root.settle(ledger), F2fs())
    return Spec(
        name=host.name,
        release=host.release,
        architecture=host.architecture,
        components=tuple(sorted({"main", *present(sayings.components.settle(ledger))})),
        kernel=Kernel(package=kernel, parameters=tuple(text for texts in parameters.values() for text in texts)),
        packages=tuple(sorted({kernel, *present(packages), *root.packages})),
        users=users,
        groups=_settle_groups(sayings, users),
        files=tuple(entry_spec(path, entry) for (path,), entry in files.items()),
        units=_settle_units(sayings),
        persist=_settle_persist(sayings),
        timezone=timezone,
        locale=locale,
        root=root,
        disk=_settle_disk(sayings, root),
        snapshot=sayings.snapshot.settle(ledger).get(()),
        origins=MappingProxyType(dict(sorted(ledger.origins.items()))),
    )


def _undeclared(sayings: Sayings, place: Callable[[str], Place]) -> Iterator[Part]:
    """What is said about paths that nobody declares."""
    ledger = sayings.ledger
    rules = {path: kind for (path,), kind in sayings.rules.settle(ledger).items()}
    secrets = present(sayings.secrets.settle(ledger))
    reasons = {path: why for (path,), why in sayings.reasons.settle(ledger).items()}
    remember = single(sayings.remember.settle(ledger), Remember())
    places = {path: ledger.origins.get(f"rules[{path}]", ()) for path in rules}
    faults = [
        *check_rules(rules, places),
        *check_rules(
            dict.fromkeys(secrets, "secret"), {path: ledger.origins[f"rules[{path}].secret"] for path in secrets}
        ),
        *check_remember(remember, ledger.origins.get("remember", ())),
    ]
    ledger.faults.extend(faults)
    if rules or secrets:
        first = f"rules[{next(iter(rules))}]" if rules else f"rules[{secrets[0]}].secret"
        yield rules_part(rules_text(rules, secrets, reasons), place(first))
    # Without the program on the host nobody could remember.
    if remember.days and not faults and (LINK,) in sayings.files.said:
        yield remember_part(remember, place("remember"))


def _settle_users(sayings: Sayings) -> tuple[UserSpec, ...]:
    ledger = sayings.ledger
    comments, homes, shells = (o.settle(ledger) for o in (sayings.comments, sayings.homes, sayings.shells))
    memberships, keys = sayings.memberships.settle(ledger), sayings.keys.settle(ledger)
    # Who is in a group can be said on either side.
    pairs = {*memberships, *((member, group) for group, member in sayings.members.said)}
    return tuple(
        UserSpec(
            name=name,
            comment=comments.get((name,), ""),
            home=homes.get((name,), f"/home/{name}"),
            shell=shells.get((name,), "/bin/bash"),
            groups=tuple(sorted(group for user, group in pairs if user == name)),
            ssh_keys=tuple(key for user, key in keys if user == name),
        )
        for name in present(sayings.users.settle(ledger))
    )


def _settle_groups(sayings: Sayings, users: tuple[UserSpec, ...]) -> tuple[GroupSpec, ...]:
    """The declared groups, and each user's own."""
    members = sayings.members.settle(sayings.ledger)
    names = {*present(sayings.groups.settle(sayings.ledger)), *(user.name for user in users)}
    for user in users:
        places = sayings.ledger.origins[f"users[{user.name}]"]
        sayings.ledger.origins.setdefault(f"groups[{user.name}]", places)
    pairs = {*members, *((group, user.name) for user in users for group in user.groups)}
    return tuple(
        GroupSpec(name=name, members=tuple(sorted(member for group, member in pairs if group == name)))
        for name in sorted(names)
    )


def _settle_units(sayings: Sayings) -> tuple[UnitSpec, ...]:
    contents, states = sayings.contents.settle(sayings.ledger), sayings.states.settle(sayings.ledger)
    units = []
    for name in present(sayings.units.settle(sayings.ledger)):
        content = contents.get((name,))
        usual: UnitState = "enabled" if content is None or "[Install]" in content else "static"
        units.append(UnitSpec(name=name, content=content, state=states.get((name,), usual)))
    return tuple(units)


def _settle_persist(sayings: Sayings) -> tuple[PersistSpec, ...]:
    ledger = sayings.ledger
    kinds, modes = sayings.kinds.settle(ledger), sayings.modes.settle(ledger)
    owners, groups = sayings.owners.settle(ledger), sayings.owning_groups.settle(ledger)
    return tuple(
        PersistSpec(
            path=path,
            kind=kinds.get((path,), "d"),
            owner=owners.get((path,)),
            group=groups.get((path,)),
            mode=modes.get((path,)),
        )
        for path in present(sayings.persist.settle(ledger))
    )


def _settle_disk(sayings: Sayings, root: Root) -> DiskSpec:
    sizes = sayings.sizes.settle(sayings.ledger)
    return DiskSpec(
        esp_bytes=sizes.get(("esp",), 0),
        nix_bytes=sizes.get(("nix",), 0),
        root_bytes=sizes.get(("root",), 0) if root.least_bytes else 0,
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
