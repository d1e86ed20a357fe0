"""What holds objects, as text: links below `gcroots` and `profiles`, links to such links, processes (nix `gc.cc`).

`roots` gives the same as values; see `spelling` for why there are two.
"""

from __future__ import annotations

import os
import stat

from anicca.store import locks
from anicca.store.spelling import NAME, STORE_DIR, is_basename, path_around

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_KERNEL = ("modprobe", "fbsplash", "poweroff_cmd")
_NAME = NAME.encode()
_BASENAME_BYTES = 244


def read_roots(state_dir: str, store_dir: str, *, tidy: bool = False) -> tuple[set[str], list[tuple[str, str]]]:
    """What processes are working on, as `temporary`, and what is held, as `held`.

    In this order: whoever makes a link and lets go of its temporary root meanwhile is seen with one of them.
    """
    working = set(temporary(state_dir))
    return working, list(held(state_dir, store_dir, tidy=tidy))


def held(state_dir: str, store_dir: str, *, tidy: bool = False) -> Iterator[tuple[str, str]]:
    """What is held, valid or not: a link or `{proc/<pid>/…}`, and the store path that it holds.

    `tidy` removes entries of `gcroots/auto` whose link is gone.
    """
    auto = f"{state_dir}/gcroots/auto"
    for top in (f"{state_dir}/gcroots", f"{state_dir}/profiles"):
        yield from _links(top, auto if tidy else None)
    yield from _runtime(os.fsencode(store_dir))


def temporary(state_dir: str) -> Iterator[str]:
    """The store paths that processes are working on. Files whose owner is gone are removed."""
    directory = f"{state_dir}/temproots"
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 (names)
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith("."):
            continue
        file = f"{directory}/{name}"
        try:
            fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if locks.lock(fd, exclusive=True, wait=False):
                locks.remove(file)
                os.write(fd, b"d")
                continue
            content = _read(file)
        finally:
            os.close(fd)
        # The last one may be half written: its owner has not been promised anything yet.
        for raw in content.split(b"\0")[:-1]:
            path = path_around(raw.decode("utf-8", "replace"))
            if path is not None:
                yield path


def _links(directory: str, tidied: str | None) -> Iterator[tuple[str, str]]:
    """The roots below a directory: links into the store, links to such links, files named like objects."""
    try:
        entries = sorted(os.scandir(directory), key=lambda e: e.name)
    except (FileNotFoundError, PermissionError):
        return
    for entry in entries:
        path: str | None
        if entry.is_symlink():
            path = _through(directory, entry.path, tidy=directory == tidied)
        elif entry.is_dir(follow_symlinks=False):
            yield from _links(entry.path, tidied)
            continue
        else:
            path = f"{STORE_DIR}/{entry.name}" if is_basename(entry.name) else None
        if path is not None:
            yield entry.path, path


def _through(directory: str, link: str, *, tidy: bool) -> str | None:
    """What a link makes a root: its target in the store, or the target of the link that it points to."""
    target = os.readlink(link)  # noqa: PTH115 (text)
    found = path_around(target)
    if found is not None:
        return found
    second = os.path.join(directory, target)  # noqa: PTH118 (text)
    try:
        status = os.lstat(second)
    except FileNotFoundError:
        if tidy:
            locks.remove(link)
        return None
    except OSError:
        return None
    return path_around(os.readlink(second)) if stat.S_ISLNK(status.st_mode) else None  # noqa: PTH115


def _runtime(store_dir: bytes) -> Iterator[tuple[str, str]]:
    """What running processes have open, mapped, as program, directory or in their environment."""
    tops = {store_dir + b"/", STORE_DIR.encode() + b"/"}
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 (names)
        for source, text in _process(pid):
            for path in _mentioned(text, tops):
                yield f"{{{source}}}", path
    for name in _KERNEL:
        for path in _mentioned(_read(f"/proc/sys/kernel/{name}"), tops):
            yield f"/proc/sys/kernel/{name}", path


def _mentioned(text: bytes, tops: set[bytes]) -> Iterator[str]:
    """The store paths in a text, logical and physical ones."""
    for top in tops:
        at = text.find(top)
        while at >= 0:
            at += len(top)
            word = text[at : at + _BASENAME_BYTES]
            base = word[: len(word) - len(word.lstrip(_NAME))].decode()
            if is_basename(base):
                yield f"{STORE_DIR}/{base}"
            at = text.find(top, at)


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
        yield f"{base[1:]}/{name}", _read(f"{base}/{name}")


def _read(file: str) -> bytes:
    """What is in a file; nothing where we may not see it."""
    try:
        with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 (no Path)
            return stream.read()
    except OSError:
        return b""
