"""The lock: every package with version and SHA-256, every uid and gid. Canonical JSON, made to be read in a diff."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from anicca.errors import AniccaError, DeclarationError, Fault, Place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1

Archive = Literal["debian", "debian-security"]
"""Which of Debian's archives holds a package; mirrors and snapshot archives use the same two names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One package file, named by its content. `filename` is its path in the archive: `pool/main/…`."""

    name: str
    version: str
    architecture: str
    archive: Archive
    filename: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What a host is built from.

    `resolution` is the hash of what was asked of apt; `epoch` (seconds) stands for "now" in builds; `toolchain` are
    the packages whose programs do the building; `modules` those that a kernel module is built of and with, where a
    host needs one that Debian's kernel has not. `users` and `groups` map names to numbers, which are never changed and
    never given to another name.
    """

    release: str
    architecture: str
    resolution: str
    epoch: int
    packages: tuple[Pin, ...]
    toolchain: tuple[Pin, ...]
    modules: tuple[Pin, ...] = ()
    users: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The lock file. A package a line, so that diffs read well."""
        head = {
            "format": FORMAT,
            "release": self.release,
            "architecture": self.architecture,
            "resolution": self.resolution,
            "epoch": self.epoch,
        }
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        groups = [("packages", self.packages), ("toolchain", self.toolchain)]
        if self.modules:
            groups.append(("modules", self.modules))
        for key, pins in groups:
            rows = ",\n".join(
                "    " + json.dumps(_pin_to_record(pin)) for pin in sorted(pins, key=lambda pin: pin.name)
            )
            lines.append(f'  "{key}": [\n{rows}\n  ]')
        for key, ids in (("users", self.users), ("groups", self.groups)):
            rows = ",\n".join(f"    {json.dumps(name)}: {ids[name]}" for name in sorted(ids))
            lines.append(f'  "{key}": {{\n{rows}\n  }}')
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _pin_to_record(pin: Pin) -> dict[str, Any]:
    return {
        "name": pin.name,
        "version": pin.version,
        "architecture": pin.architecture,
        "archive": pin.archive,
        "filename": pin.filename,
        "size": pin.size_bytes,
        "sha256": pin.sha256,
    }


def _pin_from_record(record: Mapping[str, Any]) -> Pin:
    return Pin(
        name=record["name"],
        version=record["version"],
        architecture=record["architecture"],
        archive=record["archive"],
        filename=record["filename"],
        size_bytes=record["size"],
        sha256=record["sha256"],
    )


def lock_path(host_file: Path) -> Path:
    """Where the lock of HOST.py lies: HOST.lock beside it."""
    return host_file.with_suffix(".lock")


def parse_lock(content: bytes, path: Path) -> Lock:
    """Read a lock file's content. Raises `DeclarationError` that names `path` and, where it can, the line."""
    try:
        record = json.loads(content)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise _damaged(path, line, f"not valid JSON: {error}") from error
    try:
        if record["format"] != FORMAT:
            raise _damaged(path, 2, f"format {record['format']!r}; this anicca reads format {FORMAT}")
        return Lock(
            release=record["release"],
            architecture=record["architecture"],
            resolution=record["resolution"],
            epoch=record["epoch"],
            packages=tuple(map(_pin_from_record, record["packages"])),
            toolchain=tuple(map(_pin_from_record, record["toolchain"])),
            modules=tuple(map(_pin_from_record, record.get("modules", ()))),
            users=dict(record["users"]),
            groups=dict(record["groups"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, 1, f"not a lock: {error!r}") from error


def read_lock(path: Path) -> Lock | None:
    """The lock at `path`; None where there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return parse_lock(content, path)


def _damaged(path: Path, line: int, message: str) -> DeclarationError:
    hint = "restore it from version control, or remove it and run `anicca lock` to pin anew"
    return DeclarationError(Fault(message=message, places=(Place(str(path), line),), hint=hint))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A package that two locks do not pin alike; None: not there."""

    name: str
    old: str | None
    new: str | None


def diff_pins(old: tuple[Pin, ...], new: tuple[Pin, ...]) -> tuple[Change, ...]:
    """The packages added, removed and moved, by name."""
    before = {pin.name: pin.version for pin in old}
    after = {pin.name: pin.version for pin in new}
    names = sorted(before.keys() | after.keys())
    return tuple(
        Change(name=name, old=before.get(name), new=after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


FIRST_DYNAMIC, LAST_DYNAMIC = 100, 999
"""Debian's range for ids that packages ask for at installation (policy 9.2.2)."""
FIRST_LOGIN, LAST_LOGIN = 1000, 59999
"""Debian's range for people."""


def allocate(known: Mapping[str, int], found: Mapping[str, int], declared: tuple[str, ...]) -> dict[str, int]:
    """Numbers for every name: what is known stays; a new name gets a number that no other name ever had.

    `found` are the names that a tree has, with the numbers it chose: the fixed ones (below 100, above 59999) are
    Debian's and are kept; others are kept where they are free. `declared` are names of the host's own users.
    """
    ids = dict(known)
    taken = set(ids.values())

    def give(name: str, wanted: int | None, numbers: range) -> None:
        number = wanted if wanted is not None and wanted not in taken else None
        if number is None:
            number = next((n for n in numbers if n not in taken), None)
        if number is None:
            raise AniccaError(f"no id is left for {name}: {numbers[0]} to {numbers[-1]} are all given")
        ids[name] = number
        taken.add(number)

    fresh = {name: number for name, number in found.items() if name not in ids}
    for name, number in sorted(fresh.items(), key=lambda item: item[1]):
        if not FIRST_DYNAMIC <= number <= LAST_LOGIN:
            ids[name] = number
            taken.add(number)
    for name, number in sorted(fresh.items()):
        if name not in ids:
            give(name, number, range(LAST_DYNAMIC, FIRST_DYNAMIC - 1, -1))
    for name in declared:
        if name not in ids:
            give(name, None, range(FIRST_LOGIN, LAST_LOGIN + 1))
    return ids
