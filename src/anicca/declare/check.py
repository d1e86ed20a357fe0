"""What makes no sense in a merged spec, as faults; what seldom does, as warnings. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from anicca.declare.ids import check_ids
from anicca.declare.merge import SHOWN_CHARACTERS
from anicca.declare.network import Network, Static, Unmanaged
from anicca.declare.paths import check_files, check_persist, fault_at, warn_paths
from anicca.declare.root import (
    Afresh,
    AfreshFilesystem,
    Btrfs,
    BtrfsCompression,
    F2fs,
    F2fsCompression,
    F2fsForgetting,
    Nilfs2,
    Overlay,
    OverlayFilesystem,
    Root,
    Tmpfs,
    Zfs,
    ZfsCompression,
)
from anicca.declare.spec import FileSpec
from anicca.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from anicca.declare.spec import Spec, UserSpec
    from anicca.errors import Place

__all__ = ["check", "check_ids"]

RELEASES = ("trixie",)
ARCHITECTURES = ("amd64",)

LONGEST_HOST_NAME = 63
LONGEST_USER_NAME = 32
LEAST_ESP = 64 << 20
LEAST_NIX = 1 << 30

RESERVED_PARAMETERS = {
    "ro": "the root is always mounted for writing: it is blank",
    "rw": "it is there already",
    "root": "the root is what the declaration says in root",
    "rootflags": "mount options belong to the root's type",
    "rootfstype": "the root is what the declaration says in root",
    "init": "the init is systemd",
    "rdinit": "the initrd's init is systemd",
    "resume": "what memory holds of the root would not fit the root, which is reset",
    "resume_offset": "as above",
    "systemd.firstboot": "it is off: no boot here is a first one to systemd",
    "systemd.condition_needs_update": "it is off: /etc and /usr are never updated in place",
    "systemd.machine_id": "each machine makes its own and keeps it",
    "systemd.volatile": "the root forgets by other means",
}
"""Parameters of the kernel that would contradict the boot, and why."""

_ADDRESS = r"[0-9]+(?:\.[0-9]+){3}|[0-9a-fA-F.]*:[0-9a-fA-F:.]*"
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]*")
# Debian policy 5.6.1, and an architecture where a foreign one is meant.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|target|mount|automount|path|slice|scope|swap|device)")
_TIMEZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")
_LOCALE = re.compile(r"(C|POSIX|[a-z]{2,3}_[A-Z]{2})(\.[A-Za-z0-9-]+)?(@[a-z]+)?")
_COMPONENT = re.compile(r"[a-z][a-z0-9-]*")
_KEY = re.compile(
    r"((?P<options>\S.*) )?(?P<type>ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com) (?P<key>[A-Za-z0-9+/]{40,}={0,2})( .*)?"
)
_TMPFS_SIZE = re.compile(r"\d{1,3}%|\d+[kmgKMG]?")


def check(spec: Spec) -> tuple[list[Fault], list[Fault]]:
    """The faults and the warnings of a spec."""
    faults = [
        *_check_names(spec),
        *_check_packages(spec),
        *_check_texts(spec),
        *_check_parameters(spec),
        *_check_accounts(spec),
        *check_files(spec),
        *check_persist(spec),
        *_check_units(spec),
        *_check_root(spec),
        *_check_sizes(spec),
        *_check_swap(spec),
    ]
    return faults, [*warn_paths(spec), *_warn_accounts(spec), *_warn_root(spec)]


def _check_names(spec: Spec) -> Iterator[Fault]:
    if len(spec.name) > LONGEST_HOST_NAME or not _HOST_NAME.fullmatch(spec.name):
        yield fault_at(
            spec,
            "name",
            f"{spec.name!r} is not a host name",
            f"up to {LONGEST_HOST_NAME} of a-z, 0-9 and -, with no - at either end",
        )
    if spec.release not in RELEASES:
        hint = f"supported: {', '.join(RELEASES)}"
        yield fault_at(spec, "release", f"release {spec.release!r} is not supported", hint)
    if spec.architecture not in ARCHITECTURES:
        hint = f"supported: {', '.join(ARCHITECTURES)}"
        yield fault_at(spec, "architecture", f"architecture {spec.architecture!r} is not supported", hint)


def check_network(network: Network, places: tuple[Place, ...]) -> Iterator[Fault]:
    """The faults of a network, of which the spec has only the files."""
    if isinstance(network, Unmanaged):
        return
    if not network.interfaces:
        yield Fault(message="a network without interfaces", places=places)
    for interface in network.interfaces:
        if not re.fullmatch(r"!?[A-Za-z0-9_.:*?\[\]-]+", interface):
            yield Fault(message=f"{interface!r} is not an interface's name", places=places, hint="such as en* or eth0")
    if isinstance(network, Static):
        yield from _check_addresses(network, places)


def _check_addresses(network: Static, places: tuple[Place, ...]) -> Iterator[Fault]:
    if not network.addresses:
        yield Fault(message="a static network without addresses", places=places)
    for address in network.addresses:
        if not re.fullmatch(rf"({_ADDRESS})/\d{{1,3}}", address):
            hint = "an address and the length of its prefix: 192.0.2.7/24"
            yield Fault(message=f"{address!r} is not an interface's address", places=places, hint=hint)
    for address in (*network.gateways, *network.dns):
        if not re.fullmatch(_ADDRESS, address):
            yield Fault(message=f"{address!r} is not an address", places=places, hint="such as 192.0.2.1")


def _check_packages(spec: Spec) -> Iterator[Fault]:
    for component in spec.components:
        if not _COMPONENT.fullmatch(component):
            yield fault_at(spec, f"components[{component}]", f"{component!r} is not a component of an archive")
    for package in spec.packages:
        if not _PACKAGE.fullmatch(package):
            option = "kernel" if package == spec.kernel.package else f"packages[{package}]"
            yield fault_at(
                spec,
                option,
                f"{package!r} is not a package's name",
                "versions are pinned by the lock; a name has a-z, 0-9, +, - and . only",
            )


def _check_texts(spec: Spec) -> Iterator[Fault]:
    if not _TIMEZONE.fullmatch(spec.timezone):
        yield fault_at(spec, "timezone", f"{spec.timezone!r} is not a time zone", "such as Europe/Zurich or Etc/UTC")
    if not _LOCALE.fullmatch(spec.locale):
        yield fault_at(spec, "locale", f"{spec.locale!r} is not a locale", "such as C.UTF-8 or de_CH.UTF-8")
    if spec.snapshot is not None and not re.fullmatch(r"(https?|file)://\S+", spec.snapshot):
        message = f"{spec.snapshot!r} is not the address of an archive"
        yield fault_at(spec, "snapshot", message, "such as https://HOST/archive/{archive}/{timestamp}/{filename}")


def _check_parameters(spec: Spec) -> Iterator[Fault]:
    for parameter in spec.kernel.parameters:
        said = tuple(
            place
            for option, places in spec.origins.items()
            if option.startswith("kernel_parameters[") and parameter in option
            for place in places
        )
        name = parameter.partition("=")[0]
        reason = RESERVED_PARAMETERS.get(name)
        if name.startswith("anicca."):
            reason = "what begins so is anicca's own"
        if reason is not None:
            yield Fault(message=f"{parameter!r} is not for declarations to say", places=said, hint=reason)
        if not parameter or ('"' not in parameter and any(map(str.isspace, parameter))):
            yield Fault(
                message=f"{parameter!r} is not one parameter of the kernel",
                places=said,
                hint="one in each element of kernel_parameters; quote a value that has a space",
            )


def check_lowered(
    origins: Mapping[str, tuple[Place, ...]],
    *,
    modules: Iterable[str],
    sysctl: Mapping[str, str],
    hosts: Mapping[str, Iterable[str]],
) -> Iterator[Fault]:
    """The faults of what becomes lines of files and is not in the spec by itself."""
    for module in modules:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", module):
            message = f"{module!r} is not a module of the kernel"
            yield Fault(message=message, places=origins[f"kernel_modules[{module}]"])
    for setting, value in sysctl.items():
        if not re.fullmatch(r"[a-z][a-z0-9_./*-]+", setting) or "\n" in value:
            message = f"{setting!r} = {value!r} is not a setting of the kernel"
            yield Fault(message=message, places=origins[f"sysctl[{setting}]"], hint="such as net.ipv4.ip_forward")
    for address, names in hosts.items():
        for name in names:
            places = origins[f"hosts[{address}][{name}]"]
            if not re.fullmatch(_ADDRESS, address):
                yield Fault(message=f"{address!r} is not an address", places=places, hint="addresses are the keys")
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", name):
                yield Fault(message=f"{name!r} is not a host's name", places=places)


def _check_accounts(spec: Spec) -> Iterator[Fault]:
    homes: dict[str, str] = {}
    for user in spec.users:
        option = f"users[{user.name}]"
        if len(user.name) > LONGEST_USER_NAME or not _USER_NAME.fullmatch(user.name):
            hint = f"up to {LONGEST_USER_NAME} of a-z, 0-9, _ and -, with a letter or _ first"
            yield fault_at(spec, option, f"{user.name!r} is not a user's name", hint)
            continue
        if user.name == "root":
            yield fault_at(spec, option, "root is not declared: it is in every tree, its password locked")
        if ":" in user.comment or "\n" in user.comment:
            yield fault_at(spec, f"{option}.comment", f"the comment of user {user.name} has a colon or a newline in it")
        if user.home in homes:
            places = (*spec.origins.get(f"users[{homes[user.home]}]", ()), *spec.origins.get(option, ()))
            message = f"users {homes[user.home]} and {user.name} have one home, {user.home}"
            yield Fault(message=message, places=places)
        homes[user.home] = user.name
        for name, path in (("home", user.home), ("shell", user.shell)):
            if not path.startswith("/"):
                message = f"{name} {path!r} of user {user.name} is not an absolute path"
                yield fault_at(spec, f"{option}.{name}", message)
        yield from _check_keys(spec, user)
    for group in spec.groups:
        own = group.name in {user.name for user in spec.users}
        if not own and (len(group.name) > LONGEST_USER_NAME or not _USER_NAME.fullmatch(group.name)):
            yield fault_at(spec, f"groups[{group.name}]", f"{group.name!r} is not a group's name")


def _check_keys(spec: Spec, user: UserSpec) -> Iterator[Fault]:
    for key in user.ssh_keys:
        option = f"users[{user.name}].ssh_keys[{key}]"
        if "PRIVATE KEY" in key:
            hint = "give the line of the .pub file, and make a new key: this one was written down"
            yield fault_at(spec, option, f"user {user.name} has a private key among its ssh_keys", hint)
        elif "\n" in key or not _KEY.fullmatch(key):
            message = f"{_shorten(key)!r} is not the public key of user {user.name}"
            yield fault_at(spec, option, message, "one line of a .pub file: type, base64, comment")


def _warn_accounts(spec: Spec) -> Iterator[Fault]:
    for user in spec.users:
        if user.ssh_keys and not {"openssh-server", "dropbear-bin"} & {*spec.packages}:
            message = f"user {user.name} has SSH keys, but nothing lets anybody log in over SSH"
            yield fault_at(spec, f"users[{user.name}]", message, "add ssh() to parts")
        if "sudo" in user.groups and not {"sudo", "sudo-ldap", "sudo-rs"} & {*spec.packages}:
            message = f"user {user.name} is in the group sudo, but nothing brings the program"
            yield fault_at(spec, f"users[{user.name}].groups[sudo]", message, "add sudo() to parts")


def _check_units(spec: Spec) -> Iterator[Fault]:
    files = {entry.path for entry in spec.files}
    for unit in spec.units:
        option = f"units[{unit.name}]"
        if not _UNIT.fullmatch(unit.name):
            hint = f"meant is {unit.name}.service?" if _UNIT.fullmatch(f"{unit.name}.service") else None
            yield fault_at(spec, option, f"{unit.name!r} is not a unit's name", hint)
            continue
        if unit.state not in ("enabled", "disabled", "masked", "static"):
            hint = "enabled, disabled, masked or static"
            yield fault_at(spec, f"{option}.state", f"{unit.name}: {unit.state!r} is not a unit's state", hint)
        if unit.content is not None and unit.state == "enabled" and "[Install]" not in unit.content:
            hint = 'add WantedBy=, or say state="static"'
            yield fault_at(spec, option, f"{unit.name} is enabled, but its text has no [Install]", hint)
        path = f"/etc/systemd/system/{unit.name}"
        if path in files:
            places = (*spec.origins.get(option, ()), *spec.origins.get(f"files[{path}]", ()))
            hint = f"leave the text to one: files take drop-ins, in {path}.d"
            yield Fault(message=f"{unit.name} is declared as a unit and as file {path}", places=places, hint=hint)


def _check_root(spec: Spec) -> Iterator[Fault]:
    for name, value, allowed in _root_choices(spec.root):
        if value not in allowed:
            message = f"{type(spec.root).__name__}: {name} is {value!r}"
            yield fault_at(spec, "root", message, " or ".join(str(choice) for choice in allowed))
    for component in sorted({*spec.root.components} - {*spec.components}):
        message = f"{type(spec.root).__name__}: {' and '.join(spec.root.module_packages)} are in Debian's {component}"
        yield fault_at(spec, "root", message, f'take packages from there too: components=["{component}"]')
    match spec.root:
        case Tmpfs() | Nilfs2():
            if not _TMPFS_SIZE.fullmatch(spec.root.size):
                yield fault_at(spec, "root", f"{spec.root.size!r} is not the size of a tmpfs", "such as 50% or 2G")
        case F2fs():
            if spec.root.compress and spec.root.compress_algorithm is None:
                yield fault_at(spec, "root", "F2fs: compress without a compress_algorithm", "zstd or lz4")
        case Btrfs():
            if spec.root.keep < 0 or (spec.root.keep_days or 0) < 0:
                yield fault_at(spec, "root", "Btrfs: keep and keep_days are numbers from 0 on")


def _warn_root(spec: Spec) -> Iterator[Fault]:
    if isinstance(spec.root, Nilfs2):
        message = (
            "nilfs2 cannot be taken back to a snapshot, nor keep extended attributes: what is written is in memory"
        )
        yield fault_at(
            spec, "root", message, "Btrfs() has snapshots on the disk, Tmpfs() does the same without a volume"
        )


def _check_sizes(spec: Spec) -> Iterator[Fault]:
    sizes = [("esp", spec.disk.esp_bytes, LEAST_ESP), ("nix", spec.disk.nix_bytes, LEAST_NIX)]
    if spec.root.least_bytes:
        sizes.append(("root", spec.disk.root_bytes, spec.root.least_bytes))
    for name, size, least in sizes:
        if size < least:
            yield fault_at(spec, f"disk.{name}", f"disk.{name} is {size} bytes", f"at least {least >> 20}M is needed")
        elif size % (1 << 20):
            yield fault_at(spec, f"disk.{name}", f"disk.{name} is {size} bytes", "make it whole mebibytes")


def _check_swap(spec: Spec) -> Iterator[Fault]:
    """Swap in a file of the root: it is gone at the next boot, with what a reset root cannot take back."""
    kept = (*tuple(f"{persisted.path}/" for persisted in spec.persist), "/nix/")
    found: list[tuple[str, str]] = []
    for unit in spec.units:
        if unit.name.endswith(".swap") and unit.state != "masked":
            found += [(f"units[{unit.name}]", path) for path in re.findall(r"(?m)^What=\s*(/\S+)", unit.content or "")]
    for entry in spec.files:
        if isinstance(entry, FileSpec) and entry.path == "/etc/fstab":
            text = entry.content.decode(errors="replace")
            found += [(f"files[{entry.path}]", path) for path in re.findall(r"(?m)^(/\S+)\s+\S+\s+swap\b", text)]
    for option, path in found:
        if path.startswith("/") and not path.startswith(("/dev/", *kept)):
            message = f"{path} is to be swap, and lies on the root, which forgets it"
            yield fault_at(spec, option, message, "name a partition, or a file below a persisted path")


def _root_choices(root: Root) -> Iterator[tuple[str, object, tuple[object, ...]]]:
    """Options of which only some values mean something: mypy says so too, to those who ask it."""
    match root:
        case F2fs():
            yield "compress_algorithm", root.compress_algorithm, (*get_args(F2fsCompression), None)
            yield "forget", root.forget, get_args(F2fsForgetting)
        case Btrfs():
            yield "compress", root.compress, (*get_args(BtrfsCompression), None)
        case Afresh():
            yield "filesystem", root.filesystem, get_args(AfreshFilesystem)
        case Overlay():
            yield "filesystem", root.filesystem, get_args(OverlayFilesystem)
        case Zfs():
            yield "compression", root.compression, (*get_args(ZfsCompression), None)


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
