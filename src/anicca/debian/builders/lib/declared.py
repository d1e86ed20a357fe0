"""What a declaration adds to a tree, as builders get it: files, links and directories, as manifest entries.

Standard library only: it runs on the toolchain's Python.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keys
from manifest import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT, PLAIN = "root", 0o755


@dataclass(slots=True, kw_only=True)
class Layout:
    """Entries by path, some of them with content that is not in the store yet (it is put below `contents`)."""

    entries: dict[str, Entry]
    contents: Path
    epoch: int

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Put declared entries over what is there, parents included. Exits with every conflict."""
        faults = []
        for record in sorted(records, key=lambda record: str(record["path"])):
            fault = self.conflict(record["path"], record["kind"])
            if fault is not None:
                faults.append(fault)
                continue
            self.parents(record["path"])
            self._put(record)
        if faults:
            raise SystemExit("the declaration does not fit the tree:\n  " + "\n  ".join(faults))

    def conflict(self, path: str, kind: str) -> str | None:
        """Why `path` cannot be put here; None if it can."""
        for parent in ancestors(path):
            entry = self.entries.get(parent)
            if entry is not None and entry.kind != "directory":
                return f"{path}: {parent} is a {entry.kind} of the tree, not a directory"
        entry = self.entries.get(path)
        if entry is not None and (entry.kind == "directory") != (kind == "directory"):
            return f"{path}: is a {entry.kind} in the tree, declared as a {kind}"
        return None

    def parents(self, path: str) -> None:
        """Make the directories above `path` that are not there."""
        for parent in ancestors(path):
            if parent not in self.entries:
                self.entries[parent] = self._directory(parent)

    def _directory(self, path: str, user: str = ROOT, group: str = ROOT, mode: int = PLAIN) -> Entry:
        return Entry(path=path, kind="directory", mode=mode, user=user, group=group, mtime=self.epoch)

    def directory(self, path: str, user: str = ROOT, group: str = ROOT, mode: int = PLAIN) -> None:
        """A directory with this owner and mode, whatever was there before being one too."""
        self.parents(path)
        self.entries[path] = self._directory(path, user, group, mode)

    def link(self, path: str, target: str) -> None:
        """A symlink in place of whatever was there."""
        self.parents(path)
        self.entries[path] = Entry(
            path=path, kind="symlink", mode=0o777, user=ROOT, group=ROOT, mtime=self.epoch, target=target
        )

    def file(self, path: str, content: bytes, user: str = ROOT, group: str = ROOT, mode: int = 0o644) -> None:
        """A file in place of whatever was there."""
        self.parents(path)
        copy = self.contents / f"{len(os.listdir(self.contents))}"  # noqa: PTH208
        copy.write_bytes(content)
        self.entries[path] = Entry(
            path=path,
            kind="file",
            mode=mode,
            user=user,
            group=group,
            mtime=self.epoch,
            size=len(content),
            source=str(copy),
        )

    def text(self, path: str) -> str:
        """A file's content as text. Raises `KeyError` where there is none."""
        source = self.entries[path].source
        return "" if source is None else Path(source).read_text()

    def refuse_keys(self) -> None:
        """Exit if content that was put here looks like a private key."""
        for entry in self.sorted():
            if entry.source is None or not entry.source.startswith(f"{self.contents}/"):
                continue
            if keys.looks_private(Path(entry.source).read_bytes()):
                raise SystemExit(f"{entry.path}: {keys.REFUSAL}")

    def _put(self, record: Mapping[str, Any]) -> None:
        path = record["path"]
        match record["kind"]:
            case "directory":
                self.directory(path, record["user"], record["group"], int(record["mode"], 8))
            case "symlink":
                self.link(path, record["target"])
            case "file":
                content = base64.b64decode(record["content"])
                self.file(path, content, record["user"], record["group"], int(record["mode"], 8))
            case kind:
                raise SystemExit(f"{path}: unknown kind {kind!r}")

    def sorted(self) -> list[Entry]:
        """The entries, each directory before what is in it."""
        return [self.entries[path] for path in sorted(self.entries, key=os.fsencode)]


def ancestors(path: str) -> list[str]:
    """The directories above `path`, outermost first, without the root."""
    parts = path.strip("/").split("/")[:-1]
    return ["/" + "/".join(parts[: depth + 1]) for depth in range(len(parts))]
