"""Garbage collector roots: links below `gcroots` and `profiles`, processes, work under way (nix `gc.cc`)."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from anicca.store import base32, locks
from anicca.store.path import STORE_DIR, StorePath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.store.local import LocalStore

_KERNEL = ("modprobe", "fbsplash", "poweroff_cmd")


def indirect_root_name(link: Path) -> str:
    """The name below `gcroots/auto` that stands for `link`."""
    return base32.encode(hashlib.sha1(os.fsencode(link), usedforsecurity=False).digest())


def find_roots(store: LocalStore, *, tidy: bool = False) -> dict[StorePath, set[str]]:
    """Valid objects that are roots, each with what makes it one: a link, or `{proc/<pid>/…}`.

    `tidy` removes entries of `gcroots/auto` whose link is gone.
    """
    found: dict[StorePath, set[str]] = {}
    for source, path in _all(store, tidy=tidy):
        found.setdefault(path, set()).add(source)
    valid = store.valid(found)
    return {path: sources for path, sources in found.items() if path in valid}


def _all(store: LocalStore, *, tidy: bool) -> Iterator[tuple[str, StorePath]]:
    auto = store.state_dir / "gcroots" / "auto"
    for top in (store.state_dir / "gcroots", store.state_dir / "profiles"):
        yield from _links(top, auto if tidy else None)
    yield from _runtime(store)


def _links(directory: Path, tidied: Path | None) -> Iterator[tuple[str, StorePath]]:
    """The roots below a directory: links into the store, links to such links, files named like objects."""
    try:
        entries = sorted(os.scandir(directory), key=lambda e: e.name)
    except (FileNotFoundError, PermissionError):
        return
    for entry in entries:
        if entry.is_symlink():
            path = _through(Path(entry.path), tidy=directory == tidied)
        elif entry.is_dir(follow_symlinks=False):
            yield from _links(Path(entry.path), tidied)
            continue
        else:
            path = _parse(entry.name)
        if path is not None:
            yield entry.path, path


def _through(link: Path, *, tidy: bool) -> StorePath | None:
    """What a link makes a root: its target in the store, or the target of the link that it points to."""
    target = os.readlink(link)  # noqa: PTH115 (the text)
    found = _within(target)
    if found is not None:
        return found
    second = os.path.join(link.parent, target)  # noqa: PTH118 (text)
    try:
        status = os.lstat(second)
    except FileNotFoundError:
        if tidy:
            link.unlink(missing_ok=True)
        return None
    except OSError:
        return None
    return _within(os.readlink(second)) if stat.S_ISLNK(status.st_mode) else None  # noqa: PTH115


def _within(text: str) -> StorePath | None:
    try:
        return StorePath.within(text)
    except ValueError:
        return None


def _parse(name: str) -> StorePath | None:
    try:
        return StorePath.parse(name)
    except ValueError:
        return None


def _runtime(store: LocalStore) -> Iterator[tuple[str, StorePath]]:
    """What running processes have open, mapped, as program, directory or in their environment."""
    physical = os.fsencode(store.store_dir)
    places = re.compile(
        b"(?:" + b"|".join({re.escape(physical), re.escape(STORE_DIR.encode())}) + rb")/"
        rb"([0-9a-df-np-sv-z]{32}-[A-Za-z0-9+\-._?=]+)"
    )
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 (names)
        for source, text in _process(pid):
            for match in places.finditer(text):
                path = _parse(match[1].decode())
                if path is not None:
                    yield f"{{{source}}}", path
    for name in _KERNEL:
        try:
            text = Path("/proc/sys/kernel", name).read_bytes()
        except OSError:
            continue
        for match in places.finditer(text):
            path = _parse(match[1].decode())
            if path is not None:
                yield f"/proc/sys/kernel/{name}", path


def _process(pid: str) -> Iterator[tuple[str, bytes]]:
    """What one process refers to, as far as we may see it."""
    base = f"/proc/{pid}"
    for name in ("exe", "cwd"):
        try:
            yield f"{base[1:]}/{name}", os.readlink(f"{base}/{name}".encode())  # noqa: PTH115 (bytes)
        except OSError:
            continue
    try:
        for fd in os.listdir(f"{base}/fd"):  # noqa: PTH208 (names)
            try:
                yield f"{base[1:]}/fd/{fd}", os.readlink(f"{base}/fd/{fd}".encode())  # noqa: PTH115 (bytes)
            except OSError:
                continue
    except OSError:
        pass
    for name in ("maps", "environ"):
        try:
            yield f"{base[1:]}/{name}", Path(base, name).read_bytes()
        except OSError:
            continue


def temporary_roots(state_dir: Path) -> set[StorePath]:
    """What processes are working on. Files whose owner is gone are removed."""
    found: set[StorePath] = set()
    directory = state_dir / "temproots"
    if not directory.exists():
        return found
    for name in sorted(os.listdir(directory)):  # noqa: PTH208 (names)
        if name.startswith("."):
            continue
        file = directory / name
        try:
            fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if locks.lock(fd, exclusive=True, wait=False):
                file.unlink(missing_ok=True)
                os.write(fd, b"d")
                continue
            content = file.read_bytes()
        finally:
            os.close(fd)
        # The last one may be half written: its owner has not been promised anything yet.
        for raw in content.split(b"\0")[:-1]:
            path = _within(raw.decode())
            if path is not None:
                found.add(path)
    return found
