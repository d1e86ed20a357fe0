"""Which paths may be declared, and which may persist. Pure."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from anicca.declare.spec import DirectorySpec, FileSpec, LinkSpec, Spec
from anicca.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    "/run": "it is made at run time: declare a line of tmpfiles.d in /etc/tmpfiles.d",
    "/var/run": "it is a link to /run",
    "/var/lock": "it is a link to /run/lock",
    "/tmp": "it is in memory: declare a line of tmpfiles.d in /etc/tmpfiles.d",  # noqa: S108 (never opened)
    "/var/lib/dpkg": "dpkg's database comes from the store",
    "/etc/passwd": "accounts are declared in users",
    "/etc/shadow": "accounts are declared in users",
    "/etc/group": "groups are declared in groups",
    "/etc/gshadow": "groups are declared in groups",
    "/etc/machine-id": "each machine makes its own and keeps it",
    "/etc/mtab": "it is the kernel's list of mounts",
}
"""Where nothing may be declared, and why."""

FORBIDDEN_PERSIST = {
    **{path: reason for path, reason in FORBIDDEN.items() if not path.startswith("/etc/")},
    "/run": "it is gone by its nature: put what must outlive a boot in /var/lib",
    "/tmp": "it is gone by its nature: put what must outlive a boot in /var/lib",  # noqa: S108
    "/etc": "it is read-only and made from the declaration: declare the file",
}


LARGEST_MODE = 0o7777

DECIMAL_SLIPS = (400, 440, 444, 500, 550, 555, 600, 640, 644, 660, 664, 700, 750, 755, 770, 775, 777, 1777, 4755)
"""Modes of which nobody means the number, but its digits."""

WHOLE = ("/home", "/opt", "/root", "/srv", "/var", "/var/lib")
"""Directories of which a host forgets too little if they persist whole."""

PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY|^AGE-SECRET-KEY-1", re.MULTILINE)
"""How the text of a private key begins, OpenSSH's, OpenSSL's, GnuPG's or age's.

What is declared has none, and of what a boot forgets none is kept; a file that only speaks of one is taken for one, for
a key that got out stays out. The builders' (keys.py) is narrower: they take away what packages bring.
"""


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
            return "cannot be declared" if path == top else f"is under {top}", reason
    if path == "/":
        return "is the root itself", None
    return None


def check_files(spec: Spec) -> Iterator[Fault]:
    """The faults of declared files, links and directories."""
    kept = {persisted.path for persisted in spec.persist if path_fault(persisted.path, FORBIDDEN_PERSIST) is None}
    holders = {entry.path: entry for entry in spec.files if not isinstance(entry, DirectorySpec)}
    for entry in spec.files:
        option = f"files[{entry.path}]"
        wrong = path_fault(entry.path, FORBIDDEN)
        if wrong is not None:
            yield fault_at(spec, option, f"{entry.path!r} {wrong[0]}", wrong[1])
            continue
        if not isinstance(entry, LinkSpec) and not 0 <= entry.mode <= LARGEST_MODE:
            hint = f"modes are octal: 0o{entry.mode}" if re.fullmatch("[0-7]{3,4}", str(entry.mode)) else None
            yield fault_at(spec, option, f"{entry.path}: {entry.mode} is not a mode", hint)
        if isinstance(entry, LinkSpec) and (not entry.target or "\n" in entry.target):
            yield fault_at(spec, option, f"{entry.path}: {entry.target!r} is not a link's target")
        if isinstance(entry, FileSpec) and PRIVATE_KEY.search(entry.content):
            hint = "the store is readable by all: keep secrets in a persisted path"
            yield fault_at(spec, option, f"{entry.path} looks like a private key", hint)
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


def check_persist(spec: Spec) -> Iterator[Fault]:
    """The faults of persisted paths."""
    files = {persisted.path for persisted in spec.persist if persisted.kind == "f"}
    for persisted in spec.persist:
        option = f"persist[{persisted.path}]"
        wrong = path_fault(persisted.path, FORBIDDEN_PERSIST)
        if wrong is not None:
            yield fault_at(spec, option, f"persisted path {persisted.path!r} {wrong[0]}", wrong[1])
            continue
        if persisted.kind not in ("d", "f"):
            yield fault_at(spec, f"{option}.kind", f"{persisted.path}: kind {persisted.kind!r} is neither 'd' nor 'f'")
        if persisted.mode is not None and not 0 <= persisted.mode <= LARGEST_MODE:
            yield fault_at(spec, f"{option}.mode", f"{persisted.path}: {persisted.mode} is not a mode")
        for parent in _parents(persisted.path):
            if parent in files:
                places = (*spec.origins.get(option, ()), *spec.origins.get(f"persist[{parent}]", ()))
                yield Fault(message=f"{persisted.path} persists below {parent}, which is a file", places=places)


def warn_paths(spec: Spec) -> Iterator[Fault]:
    """What is allowed but seldom meant."""
    for entry in spec.files:
        if not isinstance(entry, LinkSpec) and entry.mode in DECIMAL_SLIPS:
            message = f"{entry.path} has mode {entry.mode:04o}, which is {entry.mode} in decimal"
            yield fault_at(spec, f"files[{entry.path}]", message, f"meant is 0o{entry.mode}?")
    for persisted in spec.persist:
        option = f"persist[{persisted.path}]"
        if persisted.kind == "f":
            yield fault_at(
                spec,
                option,
                f"{persisted.path} persists as a single file",
                "programs that save by renaming cannot replace it: persist its directory",
            )
        if persisted.path in WHOLE:
            yield fault_at(
                spec,
                option,
                f"{persisted.path} persists whole",
                "whatever is written there stays: persist the directories that you mean",
            )


def fault_at(spec: Spec, option: str, message: str, hint: str | None = None) -> Fault:
    """A fault at the places that said the option."""
    return Fault(message=message, places=spec.origins.get(option, ()), hint=hint)


def _parents(path: str) -> Iterator[str]:
    """The directories above a path, the nearest first, without the root."""
    while (path := posixpath.dirname(path)) not in ("/", ""):
        yield path
