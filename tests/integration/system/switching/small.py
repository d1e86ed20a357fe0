"""Small systems in a store of their own, with real images, and a host that is a few directories."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anicca import fs, process
from anicca.disks.esp import LOADER_CONF
from anicca.system.changes import plan_next
from anicca.system.switching.esp import read_esp
from anicca.system.switching.host import HostPlaces, apply, current_number, look

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anicca.store import LocalStore, StorePath

Files = dict[str, str]
"""Path to content; a text that starts with "-> " is a link; one that is "/" a directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemText:
    """What a system shall be; `packages` has files of /usr by name and version."""

    name: str = "h"
    etc: Files = field(default_factory=lambda: {"/hostname": "h\n"})
    seed: Files = field(default_factory=lambda: {"/var": "/"})
    packages: Mapping[str, tuple[str, Files]] = field(default_factory=dict)
    persist: str = ""
    kernel: str = "kernel 1"
    initrd: str = "initrd 1"
    parameters: str = "rw anicca.nix=PARTUUID=1"
    users: tuple[str, ...] = ()


class Workshop:
    """Makes systems in a store."""

    def __init__(self, store: LocalStore, work: Path) -> None:
        self.store = store
        self._work = work
        self._count = 0

    def system(self, text: SystemText) -> StorePath:
        """A system object with everything that ours have."""
        self._count += 1
        top = self._work / f"system-{self._count}"
        (top / "layout").mkdir(parents=True)
        packages, manifest, references = [], [], []
        for name, (version, files) in sorted(text.packages.items()):
            contents = self._work / f"package-{self._count}-{name}"
            write_tree(contents, files)
            path = self.store.add_path(f"{name}-{version.replace(':', '_')}".replace("~", "_"), contents)
            references.append(path)
            packages.append({"name": name, "version": version, "contents": str(path)})
            for file, content in files.items():
                entry = {"path": file, "kind": "file", "mode": "0755", "user": "root", "group": "root", "mtime": 1}
                if content.startswith("-> "):
                    entry |= {"kind": "symlink", "target": content.removeprefix("-> ")}
                else:
                    entry |= {"size": len(content), "source": f"{path}{file}"}
                manifest.append(entry)
        spec = {"name": text.name, "release": "trixie", "users": {name: {} for name in text.users}, "groups": {}}
        (top / "spec.json").write_text(json.dumps(spec))
        (top / "packages.json").write_text(json.dumps(packages))
        (top / "manifest.jsonl").write_text(
            "".join(json.dumps(e, separators=(",", ":")) + "\n" for e in sorted(manifest, key=lambda e: str(e["path"])))
        )
        (top / "layout/persist").write_text(text.persist)
        (top / "kernel").write_text(text.kernel)
        (top / "initrd").write_text(text.initrd)
        (top / "kernel-version").write_text("6.12\n")
        (top / "cmdline").write_text(text.parameters + "\n")
        self.image(top / "etc.erofs", text.etc)
        self.image(top / "seed.erofs", text.seed)
        return self.store.add_path(f"system-{text.name}", top, references=references)

    def image(self, target: Path, files: Files) -> None:
        """An EROFS image."""
        self._count += 1
        tree = self._work / f"image-{self._count}"
        write_tree(tree, files)
        argv = ["mkfs.erofs", "--quiet", "-T1", "-U", "6b1fea1d-c5f5-4e07-8bb8-4eaf4ba4d41c", "--all-root"]
        process.run([*argv, target, tree], timeout_seconds=60)


def write_tree(top: Path, files: Files) -> None:
    top.mkdir(mode=0o755)
    for name, content in files.items():
        path = top / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == "/":
            path.mkdir(exist_ok=True)
        elif content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_text(content)


@dataclass(slots=True, kw_only=True)
class SmallHost:
    """A host of directories, with the workshop of its store."""

    places: HostPlaces
    workshop: Workshop

    def add(self, text: SystemText) -> int:
        """Make a system the next boot's; its generation's number."""
        system = self.workshop.system(text)
        esp = read_esp(self.places.boot)
        seen = look(self.places, esp)
        changes = plan_next(
            seen, esp, system, self.places.want, current=current_number(self.places), now=seen.next_number
        )
        apply(changes, self.places)
        return max(one.number for one in look(self.places).generations)

    def run(self, number: int) -> None:
        """Be as if that generation had been booted."""
        generation = look(self.places).get(number)
        assert generation is not None
        self.places.command_line.write_text(f"rw anicca.system={generation.system} quiet\n")
        self.places.run.mkdir(exist_ok=True)
        fs.symlink_atomic(self.places.run / "system", str(generation.system))


def empty_esp(boot: Path) -> None:
    (boot / "loader/entries").mkdir(parents=True)
    (boot / "EFI/anicca").mkdir(parents=True)
    (boot / "loader/loader.conf").write_text(LOADER_CONF)
    (boot / "loader/entries/debian.conf").write_text("title somebody else's\n")
