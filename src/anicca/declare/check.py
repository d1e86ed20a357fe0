"""What makes no sense in a merged spec, as faults; what seldom does, as warnings. Pure."""

from __future__ import annotations

import difflib
import posixpath
import re
from typing import TYPE_CHECKING

from anicca.declare.merge import SHOWN_CHARACTERS
from anicca.declare.root import Tmpfs
from anicca.declare.spec import DirectorySpec, FileSpec, LinkSpec, Spec, UserSpec
from anicca.errors import DeclarationError, Fault, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RELEASES = ("trixie",)
ARCHITECTURES = ("amd64",)

FORBIDDEN = {
    "/nix": "the store is changed by building only",
    "/usr": "it is the tree's and read-only: what belongs there comes from a package",
    "/bin": "it is a link to usr/bin, which is the tree's",
    "/sbin": "it is a link to usr/sbin, which is the tree's",
    "/lib": "it is a link to usr/lib, which is the tree's",
    "/lib64": "it is a link to usr/lib64, which is the tree's",
    "/boot": "it is made from the generations",
    "/proc": "the kernel makes it",
    "/sys": "the kernel makes it",
    "/dev": "the kernel makes it",
    "/run": "it is made at run time: declare a tmpfiles.d file in /etc/tmpfiles.d",
}
"""Where nothing may be declared, and why."""

FORBIDDEN_PERSIST = {
    **FORBIDDEN,
    "/run": "it is gone by its nature: put what must outlive a boot in /var/lib",
    "/etc": "it is read-only and made from the declaration: declare the file",
}

LARGEST_MODE = 0o7777
LONGEST_HOST_NAME = 63
LONGEST_USER_NAME = 32
LEAST_ESP = 64 << 20
LEAST_NIX = 1 << 30
LEAST_ROOT = 128 << 20

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


def check(spec: Spec, place: Place) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """The faults and the warnings of a spec; `place` is that of its host, for what has no other."""
    faults = (
        *_check_names(spec, place),
        *_check_packages(spec),
        *_check_texts(spec),
        *_check_accounts(spec),
        *_check_files(spec),
        *_check_persist(spec),
        *_check_units(spec),
        *_check_root(spec),
    )
    return faults, tuple(_warn(spec))


def check_ids(spec: Spec, users: Iterable[str], groups: Iterable[str]) -> None:
    """Check every owner and group against those that exist in the tree.

    The declaration's own users and groups count without being given. Raises `DeclarationError`.
    """
    known = {
        "user": {*users, *(user.name for user in spec.users)},
        "group": {*groups, *(group.name for group in spec.groups)},
    }
    faults = []
    for kind, name, thing, option in _used_ids(spec):
        if name not in known[kind]:
            hint = near(name, known[kind]) or f"declare it, or install the package that brings the {kind}"
            faults.append(
                Fault(message=f"undeclared {kind} {name} on {thing}", places=spec.origins.get(option, ()), hint=hint)
            )
    if faults:
        raise DeclarationError(*faults)


def near(name: str, known: Iterable[str]) -> str | None:
    """A hint with the known names that look most like `name`, or None."""
    names = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    return f"is it {' or '.join(names)}?" if names else None


def _used_ids(spec: Spec) -> Iterator[tuple[str, str, str, str]]:
    """Each use of a name: its kind, the name, what uses it, and the option that said so."""
    for entry in spec.files:
        option = f"files[{entry.path}]"
        if not isinstance(entry, LinkSpec):
            kind = "file" if isinstance(entry, FileSpec) else "directory"
            yield "user", entry.owner, f"{kind} {entry.path}", option
            yield "group", entry.group, f"{kind} {entry.path}", option
    for kept in spec.persist:
        if kept.owner is not None:
            yield "user", kept.owner, f"persisted path {kept.path}", f"persist[{kept.path}].owner"
        if kept.group is not None:
            yield "group", kept.group, f"persisted path {kept.path}", f"persist[{kept.path}].group"
    for user in spec.users:
        for group in user.groups:
            yield "group", group, f"user {user.name}", f"users[{user.name}].groups[{group}]"
    for declared in spec.groups:
        for member in declared.members:
            yield "user", member, f"group {declared.name}", f"groups[{declared.name}].members[{member}]"


def _fault(spec: Spec, option: str, message: str, hint: str | None = None, *, other: Place | None = None) -> Fault:
    """A fault at the places that said the option."""
    places = spec.origins.get(option, () if other is None else (other,))
    return Fault(message=message, places=places, hint=hint)


def _check_names(spec: Spec, place: Place) -> Iterator[Fault]:
    if len(spec.name) > LONGEST_HOST_NAME or not _HOST_NAME.fullmatch(spec.name):
        yield _fault(
            spec,
            "name",
            f"{spec.name!r} is not a host name",
            f"up to {LONGEST_HOST_NAME} of a-z, 0-9 and -, with no - at either end",
            other=place,
        )
    if spec.release not in RELEASES:
        hint = f"supported: {', '.join(RELEASES)}"
        yield _fault(spec, "release", f"release {spec.release!r} is not supported", hint, other=place)
    if spec.architecture not in ARCHITECTURES:
        hint = f"supported: {', '.join(ARCHITECTURES)}"
        yield _fault(spec, "architecture", f"architecture {spec.architecture!r} is not supported", hint, other=place)


def _check_packages(spec: Spec) -> Iterator[Fault]:
    for component in spec.components:
        if not _COMPONENT.fullmatch(component):
            yield _fault(spec, f"components[{component}]", f"{component!r} is not a component of an archive")
    for package in spec.packages:
        if not _PACKAGE.fullmatch(package):
            option = "kernel.package" if package == spec.kernel.package else f"packages[{package}]"
            yield _fault(
                spec,
                option,
                f"{package!r} is not a package's name",
                "versions are pinned by the lock; a name has a-z, 0-9, +, - and . only",
            )


def _check_texts(spec: Spec) -> Iterator[Fault]:
    if not _TIMEZONE.fullmatch(spec.timezone):
        yield _fault(spec, "timezone", f"{spec.timezone!r} is not a time zone", "such as Europe/Zurich or Etc/UTC")
    if not _LOCALE.fullmatch(spec.locale):
        yield _fault(spec, "locale", f"{spec.locale!r} is not a locale", "such as C.UTF-8 or de_CH.UTF-8")
    for parameter in spec.kernel.parameters:
        if not parameter or ('"' not in parameter and any(map(str.isspace, parameter))):
            yield Fault(
                message=f"{parameter!r} is not one parameter of the kernel",
                places=spec.origins.get("kernel.parameters", ()),
                hint="one in each element of kernel_parameters; quote a value that has a space",
            )


def _check_accounts(spec: Spec) -> Iterator[Fault]:
    homes: dict[str, str] = {}
    for user in spec.users:
        option = f"users[{user.name}]"
        if len(user.name) > LONGEST_USER_NAME or not _USER_NAME.fullmatch(user.name):
            hint = f"up to {LONGEST_USER_NAME} of a-z, 0-9, _ and -, with a letter or _ first"
            yield _fault(spec, option, f"{user.name!r} is not a user's name", hint)
            continue
        if user.name == "root":
            yield _fault(spec, option, "root is not declared: it is in every tree, its password locked")
        if ":" in user.comment or "\n" in user.comment:
            yield _fault(spec, f"{option}.comment", f"the comment of user {user.name} has a colon or a newline in it")
        if user.home in homes:
            yield _fault(spec, option, f"users {homes[user.home]} and {user.name} have one home, {user.home}")
        homes[user.home] = user.name
        if not user.shell.startswith("/"):
            yield _fault(spec, f"{option}.shell", f"shell {user.shell!r} of user {user.name} is not an absolute path")
        yield from _check_keys(spec, user)
    for group in spec.groups:
        own = group.name in {user.name for user in spec.users}
        if not own and (len(group.name) > LONGEST_USER_NAME or not _USER_NAME.fullmatch(group.name)):
            yield _fault(spec, f"groups[{group.name}]", f"{group.name!r} is not a group's name")


def _check_keys(spec: Spec, user: UserSpec) -> Iterator[Fault]:
    for key in user.ssh_keys:
        if "\n" in key or not _KEY.fullmatch(key):
            yield _fault(
                spec,
                f"users[{user.name}].ssh_keys[{key}]",
                f"{_shorten(key)!r} is not the public key of user {user.name}",
                "a private key must never be in a declaration: use the line of the .pub file"
                if "PRIVATE" in key
                else "one line of a .pub file: type, base64, comment",
            )


def path_fault(path: str, forbidden: dict[str, str]) -> tuple[str, str | None] | None:
    """What is wrong with a path by itself: a message that follows the path, and a hint. None if nothing is."""
    if not path.startswith("/"):
        return "is relative", f"meant is /{path.removeprefix('./')}?"
    if "\0" in path or "\n" in path:
        return "has a character in it that no path here may have", None
    normal = posixpath.normpath("/" + path.lstrip("/"))
    if path != normal:
        return "is not normalised", f"write {normal}"
    for top, reason in forbidden.items():
        if path == top or path.startswith(f"{top}/"):
            return f"is under {top}", reason
    if path == "/":
        return "is the root itself", None
    return None


def _check_files(spec: Spec) -> Iterator[Fault]:
    kept = {persisted.path: persisted for persisted in spec.persist}
    holders = {entry.path: entry for entry in spec.files if not isinstance(entry, DirectorySpec)}
    for entry in spec.files:
        option = f"files[{entry.path}]"
        wrong = path_fault(entry.path, FORBIDDEN)
        if wrong is not None:
            yield _fault(spec, option, f"{entry.path!r} {wrong[0]}", wrong[1])
            continue
        if not isinstance(entry, LinkSpec) and not 0 <= entry.mode <= LARGEST_MODE:
            hint = f"modes are octal: 0o{entry.mode}" if re.fullmatch("[0-7]{3,4}", str(entry.mode)) else None
            yield _fault(spec, option, f"{entry.path}: {entry.mode} is not a mode", hint)
        if isinstance(entry, LinkSpec) and (not entry.target or "\n" in entry.target):
            yield _fault(spec, option, f"{entry.path}: {entry.target!r} is not a link's target")
        for parent in _parents(entry.path):
            if parent in holders:
                places = (*spec.origins.get(option, ()), *spec.origins.get(f"files[{parent}]", ()))
                yield Fault(message=f"{entry.path} is below {parent}, which is not a directory", places=places)
        for parent in (entry.path, *_parents(entry.path)):
            if parent in kept:
                places = (*spec.origins.get(option, ()), *spec.origins.get(f"persist[{parent}]", ()))
                yield Fault(
                    message=f"{entry.path} is declared, but {parent} persists",
                    places=places,
                    hint="what persists belongs to the host: a declared text there could not be kept true; "
                    "declare it elsewhere, or persist less",
                )
                break


def _check_persist(spec: Spec) -> Iterator[Fault]:
    files = {persisted.path for persisted in spec.persist if persisted.kind == "f"}
    for persisted in spec.persist:
        option = f"persist[{persisted.path}]"
        wrong = path_fault(persisted.path, FORBIDDEN_PERSIST)
        if wrong is not None:
            yield _fault(spec, option, f"persisted path {persisted.path!r} {wrong[0]}", wrong[1])
            continue
        if persisted.kind not in ("d", "f"):
            yield _fault(spec, f"{option}.kind", f"{persisted.path}: kind {persisted.kind!r} is neither 'd' nor 'f'")
        if persisted.mode is not None and not 0 <= persisted.mode <= LARGEST_MODE:
            yield _fault(spec, f"{option}.mode", f"{persisted.path}: {persisted.mode} is not a mode")
        for parent in _parents(persisted.path):
            if parent in files:
                places = (*spec.origins.get(option, ()), *spec.origins.get(f"persist[{parent}]", ()))
                yield Fault(message=f"{persisted.path} persists below {parent}, which is a file", places=places)


def _check_units(spec: Spec) -> Iterator[Fault]:
    files = {entry.path for entry in spec.files}
    for unit in spec.units:
        option = f"units[{unit.name}]"
        if not _UNIT.fullmatch(unit.name):
            hint = f"{unit.name}.service?" if _UNIT.fullmatch(f"{unit.name}.service") else None
            yield _fault(spec, option, f"{unit.name!r} is not a unit's name", hint)
            continue
        if unit.state not in ("enabled", "disabled", "masked", "static"):
            hint = "enabled, disabled, masked or static"
            yield _fault(spec, f"{option}.state", f"{unit.name}: {unit.state!r} is not a unit's state", hint)
        if unit.content is not None and unit.state == "enabled" and "[Install]" not in unit.content:
            hint = 'add WantedBy=, or say state="static"'
            yield _fault(spec, option, f"{unit.name} is enabled, but its text has no [Install]", hint)
        path = f"/etc/systemd/system/{unit.name}"
        if path in files:
            places = (*spec.origins.get(option, ()), *spec.origins.get(f"files[{path}]", ()))
            yield Fault(message=f"{unit.name} is declared as a unit and as file {path}", places=places)


def _check_root(spec: Spec) -> Iterator[Fault]:
    if isinstance(spec.root, Tmpfs):
        if not _TMPFS_SIZE.fullmatch(spec.root.size):
            yield _fault(spec, "root", f"{spec.root.size!r} is not the size of a tmpfs", "such as 50% or 2G")
    elif spec.root.compress_algorithm not in ("zstd", "lz4", "lzo", "lzo-rle", None):
        hint = "zstd, lz4, lzo, lzo-rle or None"
        yield _fault(spec, "root", f"f2fs does not compress with {spec.root.compress_algorithm!r}", hint)
    sizes = [("esp", spec.disk.esp_bytes, LEAST_ESP), ("nix", spec.disk.nix_bytes, LEAST_NIX)]
    if not isinstance(spec.root, Tmpfs):
        sizes.append(("root", spec.disk.root_bytes, LEAST_ROOT))
    for name, size, least in sizes:
        if size < least:
            yield _fault(spec, f"disk.{name}", f"disk.{name} is {size} bytes", f"at least {least >> 20}M is needed")
        elif size % (1 << 20):
            yield _fault(spec, f"disk.{name}", f"disk.{name} is {size} bytes", "make it whole mebibytes")


def _warn(spec: Spec) -> Iterator[Fault]:
    for persisted in spec.persist:
        option = f"persist[{persisted.path}]"
        if persisted.kind == "f":
            yield _fault(
                spec,
                option,
                f"{persisted.path} persists as a single file",
                "programs that save by renaming cannot replace it: persist its directory",
            )
        if persisted.path in ("/var", "/home", "/root", "/var/lib", "/srv", "/opt"):
            yield _fault(
                spec,
                option,
                f"{persisted.path} persists whole",
                "whatever is written there stays: persist the directories that you mean",
            )


def _parents(path: str) -> Iterator[str]:
    """The directories above a path, the nearest first, without the root."""
    while (path := posixpath.dirname(path)) not in ("/", ""):
        yield path


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
