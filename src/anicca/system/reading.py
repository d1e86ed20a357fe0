"""A built system as it lies in a store: its facts, its packages, what its images and manifest say of each path."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.errors import AniccaError
from anicca.store.spelling import STORE_DIR
from anicca.system.erofs import ImageEntry, read_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anicca.store.path import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of a system: its version, and the object that has its files."""

    name: str
    version: str
    contents: str


class TreeEntry(NamedTuple):
    """A path of the tree: `source` is the store file with its content, `target` where a link leads.

    A tuple: there are tens of thousands, and they take a third of the time to make.
    """

    kind: str
    mode: int
    source: str | None = None
    target: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """A path that outlives the boot, with owner and mode as numbers."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int


class System:
    """A system object. `store_dir` is where `/nix/store` lies physically. What is asked for is read once.

    Raises `AniccaError` if the object is not there or lacks a part.
    """

    def __init__(self, path: StorePath, *, store_dir: Path = Path(STORE_DIR)) -> None:
        self.path = path
        self._store_dir = store_dir
        self._top = store_dir / path.basename
        if not (self._top / "spec.json").is_file():
            raise AniccaError(f"{path}: not a system of this store")

    def physical(self, path: str) -> Path:
        """Where something of the store lies."""
        if not path.startswith(f"{STORE_DIR}/"):
            raise ValueError(f"{path}: not in {STORE_DIR}")
        return self._store_dir / path[len(STORE_DIR) + 1 :]

    def part(self, name: str) -> Path:
        """Where a part of the system lies, its link followed."""
        part = self._top / name
        try:
            return self.physical(os.readlink(part)) if part.is_symlink() else part  # noqa: PTH115 (the text)
        except ValueError as error:
            raise AniccaError(f"{part}: leads out of the store") from error

    def _read(self, name: str) -> bytes:
        try:
            return self.part(name).read_bytes()
        except OSError as error:
            raise AniccaError(f"{self.path}: lacks {name}: {error.strerror}") from error

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The canonical spec as JSON values."""
        return dict(json.loads(self._read("spec.json")))

    @property
    def name(self) -> str:
        """The host's name."""
        return str(self.spec["name"])

    @property
    def release(self) -> str:
        """Debian's release."""
        return str(self.spec["release"])

    @property
    def kernel(self) -> Path:
        """The kernel's image."""
        return self.part("kernel")

    @property
    def initrd(self) -> Path:
        """The initrd."""
        return self.part("initrd")

    @cached_property
    def cmdline(self) -> str:
        """The kernel's command line."""
        return self._read("cmdline").decode().strip()

    @cached_property
    def kernel_version(self) -> str:
        """The kernel's version."""
        return self._read("kernel-version").decode().strip()

    @cached_property
    def packages(self) -> Mapping[str, Package]:
        """The packages by name."""
        return {record["name"]: Package(**record) for record in json.loads(self._read("packages.json"))}

    @property
    def made_from(self) -> dict[str, str]:
        """SHA-256 of the spec, and of the pins of all packages, in hex."""
        digests = {"spec": "spec.json", "packages": "packages.json"}
        return {key: hashlib.sha256(self._read(name)).hexdigest() for key, name in digests.items()}

    @cached_property
    def etc(self) -> Mapping[str, ImageEntry]:
        """All of /etc by absolute path, with content."""
        return {_below("/etc", entry.path): entry for entry in read_image(self._read("etc.erofs"))}

    @cached_property
    def seed(self) -> Mapping[str, ImageEntry]:
        """What a blank root is filled with, by absolute path, with content."""
        return {entry.path: entry for entry in read_image(self._read("seed.erofs"))}

    @cached_property
    def persist(self) -> Mapping[str, Persisted]:
        """The persisted paths, those above first."""
        found = {}
        for line in self._read("layout/persist").decode().splitlines():
            kind, mode, uid, gid, path = line.split(" ", 4)
            found[path] = Persisted(path=path, kind=kind, mode=int(mode, 8), uid=int(uid), gid=int(gid))
        return found

    @property
    def usr(self) -> Mapping[str, TreeEntry]:
        """All of the tree's /usr by absolute path."""
        return self._manifest[0]

    @property
    def usr_names(self) -> Mapping[str, list[str]]:
        """The names in each directory of the tree's /usr."""
        return _read_names(self.part("manifest.jsonl"))

    @property
    def etc_sources(self) -> Mapping[str, str]:
        """Files of the tree's /etc to the store files that had them before the declaration came on top."""
        return self._manifest[1]

    @cached_property
    def _manifest(self) -> tuple[Mapping[str, TreeEntry], Mapping[str, str]]:
        try:
            return _read_manifest(self.part("manifest.jsonl"))
        except OSError as error:
            raise AniccaError(f"{self.path}: lacks manifest.jsonl: {error.strerror}") from error

    def read(self, source: str) -> bytes:
        """The content of a store file."""
        return self.physical(source).read_bytes()


@lru_cache(maxsize=4)
def _read_manifest(file: Path) -> tuple[Mapping[str, TreeEntry], Mapping[str, str]]:
    """The tree's /usr, and where its files of /etc come from. Systems that differ in /etc alone share the tree."""
    lines = file.read_bytes().splitlines()
    # All at once: a call for each of thousands of lines takes most of the time.
    usr = {
        record["path"]: TreeEntry(
            kind=record["kind"],
            mode=int(record["mode"], 8),
            source=record.get("source"),
            target=record.get("target", ""),
            size_bytes=record.get("size", 0),
        )
        for record in _records(line for line in lines if line.startswith(b'{"path":"/usr'))
    }
    with_source = (line for line in lines if line.startswith(b'{"path":"/etc/') and b'"source":' in line)
    return usr, {record["path"]: record["source"] for record in _records(with_source)}


@lru_cache(maxsize=4)
def _read_names(file: Path) -> Mapping[str, list[str]]:
    return names_by_directory(_read_manifest(file)[0])


def names_by_directory(paths: Iterable[str]) -> Mapping[str, list[str]]:
    """The names in each directory that some absolute paths have."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        directory, _, name = path.rpartition("/")
        found[directory].append(name)
    return found


def _records(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    return list(json.loads(b"[" + b",".join(lines) + b"]"))


def _below(top: str, path: str) -> str:
    return top if path == "/" else top + path
