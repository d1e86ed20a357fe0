"""A built system seen as one tree of paths: /etc from its image, /usr from its manifest, links followed as on the host.

It answers what the planning of units asks: where a path leads, what a program loads, what differs from another system.
"""

from __future__ import annotations

import os.path
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from anicca.system.elf import read_interpreter, read_needs
from anicca.system.reading import names_by_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anicca.system.reading import System
    from anicca.system.unitfiles import UnitSet

MERGED = ("/bin", "/sbin", "/lib", "/lib64")
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
LINKS = 40
"""How many links in a row the kernel follows."""


class TreeView:
    """A system's paths. Implements `unitfiles.Source`."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._closures: dict[str, frozenset[str]] = {}

    @cached_property
    def _etc_names(self) -> Mapping[str, list[str]]:
        return names_by_directory(self.system.etc)

    def children(self, directory: str) -> Iterable[str]:
        """The names in a directory."""
        return (*self._etc_names.get(directory, ()), *self.system.usr_names.get(directory, ()))

    def exists(self, path: str) -> bool:
        """Whether there is such a path."""
        return path in self.system.etc or path in self.system.usr

    def link(self, path: str) -> str | None:
        """Where a symbolic link leads."""
        etc, usr = self.system.etc.get(path), self.system.usr.get(path)
        if etc is not None and etc.kind == "symlink":
            return os.fsdecode(etc.content)
        return usr.target if usr is not None and usr.kind == "symlink" else None

    def content(self, path: str) -> bytes | None:
        """A regular file's content, links followed."""
        *_, last = self.way(path)
        etc, usr = self.system.etc.get(last), self.system.usr.get(last)
        if etc is not None:
            return etc.content if etc.kind == "file" else None
        if usr is None or usr.kind != "file":
            return None
        return self.system.read(usr.source) if usr.source else b""

    def way(self, path: str) -> list[str]:
        """The paths that opening `path` goes through: links on the way, at last what is there (or nothing)."""
        passed: list[str] = []
        for _ in range(LINKS):
            path = self._through_directories(path, passed)
            passed.append(path)
            target = self.link(path)
            if target is None:
                return passed
            path = os.path.normpath(os.path.join(os.path.dirname(path), target))  # noqa: PTH118, PTH120 (texts)
        return passed

    def _through_directories(self, path: str, passed: list[str]) -> str:
        """The path with links among its directories replaced, which are noted."""
        for merged in MERGED:
            if path.startswith(merged + "/"):
                path = f"/usr{path}"
        for _ in range(LINKS):
            parts = path.split("/")
            for count in range(3, len(parts)):
                directory = "/".join(parts[:count])
                target = self.link(directory)
                if target is not None:
                    passed.append(directory)
                    path = os.path.normpath(os.path.join(os.path.dirname(directory), target, *parts[count:]))  # noqa: PTH118, PTH120
                    break
            else:
                return path
        return path

    def loads(self, program: str) -> frozenset[str]:
        """The paths that running a program opens before its first line: itself, interpreters, libraries, links.

        What it loads later by itself (`dlopen`) is not known here; the memory maps of running processes tell.
        """
        if program not in self._closures:
            self._closures[program] = frozenset(self._loads(program))
        return self._closures[program]

    def _loads(self, program: str) -> set[str]:
        found: set[str] = set()
        todo = [program]
        search: list[str] = []
        while todo:
            *links, last = self.way(todo.pop())
            found.update(links)
            if last in found:
                continue
            found.add(last)
            content = self.content(last)
            if content is None:
                continue
            script = read_interpreter(content)
            if script is not None:
                todo.append(script)
            needs = read_needs(content)
            if needs is None:
                continue
            if needs.interpreter:
                todo.append(needs.interpreter)
            origin = os.path.dirname(last)  # noqa: PTH120 (a text)
            search += [each.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for each in needs.search]
            todo += filter(None, (self._library(name, search) for name in needs.libraries))
        return found

    def _library(self, name: str, search: list[str]) -> str | None:
        if "/" in name:
            return name
        paths = (f"{os.path.normpath(directory)}/{name}" for directory in (*search, *LIBRARIES))
        return next((path for path in paths if self.exists(self.way(path)[-1])), None)


def changed_in_usr(old: System, new: System) -> frozenset[str]:
    """The paths of /usr that are not the same in both: by content, so that a rebuilt package may change nothing."""
    if old.part("manifest.jsonl") == new.part("manifest.jsonl"):
        return frozenset()
    before, after = old.usr, new.usr
    found = set(before.keys() ^ after.keys())
    for path in before.keys() & after.keys():
        one, other = before[path], after[path]
        # Byte code follows from its source, and there are thousands of it.
        if one == other or path.endswith(".pyc"):
            continue
        alike = (one.kind, one.mode, one.target, one.size_bytes) == (
            other.kind,
            other.mode,
            other.target,
            other.size_bytes,
        )
        if not alike or (one.source and other.source and old.read(one.source) != new.read(other.source)):
            found.add(path)
    return frozenset(found)


def changed_in_etc(old: System, new: System) -> frozenset[str]:
    """The paths of /etc that are not the same in both."""
    if old.part("etc.erofs") == new.part("etc.erofs"):
        return frozenset()
    return frozenset(path for path in old.etc.keys() | new.etc.keys() if old.etc.get(path) != new.etc.get(path))


def belongings(view: TreeView, units: UnitSet) -> Mapping[str, frozenset[str]]:
    """For each unit of a package: the files of /etc that the package brings, and directories where only it has any.

    Directories of /etc itself count, such as /etc/nginx, so that a file declared in there is the unit's as well.
    """
    files: dict[str, set[str]] = defaultdict(set)
    owners: dict[str, set[str]] = defaultdict(set)
    for path, source in view.system.etc_sources.items():
        package = source.split("/")[3]
        files[package].add(path)
        top = "/".join(path.split("/")[:3])
        if top != path:
            owners[top].add(package)
    alone: dict[str, set[str]] = defaultdict(set)
    for top, packages in owners.items():
        if len(packages) == 1:
            alone[next(iter(packages))].add(top)
    found = {}
    for name, unit in units.units.items():
        entry = view.system.usr.get(unit.path)
        if entry is not None and entry.source:
            package = entry.source.split("/")[3]
            found[name] = frozenset(files[package] | alone[package])
    return found
