"""A tree's NAR in buffers that are used again and again: every byte is read once, straight to where it is wanted.

This is the inner loop of hashing, dumping and adding, so it does little for each file: open, status, read, close.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from operator import attrgetter

# Without `typing` and value types: see `spelling`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Protocol

    from anicca.errors import AniccaError

    class Copier(Protocol):
        """Where files' contents are written as well."""

        def open(self, path: bytes, status: os.stat_result) -> int:
            """A descriptor for the contents of the file at `path`."""
            ...

        def close(self, fd: int) -> None:
            """All contents were written to `fd`."""
            ...


MTIME_NANOSECONDS = 1_000_000_000
"""A NAR has no times: in a store, all have this one."""
BUFFER_BYTES = 1 << 20
SENT_BYTES = 1 << 15
"""From so many on, a file's contents are worth a call of their own."""
_KEPT = 6
"""So many buffers are kept for later."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_BY_NAME = attrgetter("name")

_free: deque[bytearray] = deque(maxlen=_KEPT)


def string(raw: bytes) -> bytes:
    """A string of a NAR: its length, itself, zeros up to a multiple of 8."""
    return len(raw).to_bytes(8, "little") + raw + bytes(-len(raw) % 8)


MAGIC = string(b"nix-archive-1")
OPEN = string(b"(")
CLOSE = string(b")")
REGULAR = OPEN + string(b"type") + string(b"regular") + string(b"contents")
EXECUTABLE = OPEN + string(b"type") + string(b"regular") + string(b"executable") + string(b"") + string(b"contents")
SYMLINK = OPEN + string(b"type") + string(b"symlink") + string(b"target")
DIRECTORY = OPEN + string(b"type") + string(b"directory")
ENTRY = string(b"entry") + OPEN + string(b"name")
NODE = string(b"node")


def _take() -> memoryview:
    try:
        return memoryview(_free.pop())
    except IndexError:
        return memoryview(bytearray(BUFFER_BYTES))


def give(view: memoryview) -> None:
    """Give a view of `fill` back; nobody may look at it any more."""
    buffer = view.obj
    assert isinstance(buffer, bytearray)
    _free.append(buffer)


def fill(  # noqa: C901, PLR0915 (one loop with few calls: it runs once for each of many thousand files)
    path: Path | bytes,
    *,
    visit: Callable[[bytes, os.stat_result], None] | None = None,
    keep: Callable[[bytes, os.stat_result], bool] | None = None,
    copy: Copier | None = None,
    send: Callable[[int, int], int] | None = None,
) -> Iterator[memoryview]:
    """The NAR of a tree on disk, in views of up to a MiB; each is the caller's until it is given back by `give`.

    `visit`, `keep` and what is raised: see `nar.dump`. With `copy`, each file's contents are written to it as well.
    With `send`, a large file's contents may be no part of the views: all before was yielded when it is called with a
    descriptor and how many bytes it has, and it says how many of them, from the first on, it has passed on by itself.
    """
    look = visit is not None or keep is not None
    view, at = _take(), 0
    top = os.fsencode(path)
    # What is still to be written, last first: a text, or an entry. `tail` is what must come before the next.
    todo: list[bytes | os.DirEntry[bytes]] = []
    tail, close = MAGIC, CLOSE
    current, status = top, os.lstat(top)
    is_directory, is_link = stat.S_ISDIR(status.st_mode), stat.S_ISLNK(status.st_mode)
    if not is_directory and not is_link and not stat.S_ISREG(status.st_mode):
        raise refused(top, status.st_mode)
    if visit is not None:
        visit(top, status)
    while True:
        size = 0
        if is_directory:
            text = tail + DIRECTORY
            tail = b""
            todo.append(close)
            with os.scandir(current) as entries:
                todo += sorted(entries, key=_BY_NAME, reverse=True)
        elif is_link:
            text = tail + SYMLINK + string(os.readlink(current))  # noqa: PTH115 (bytes)
            tail = close
        else:
            fd = os.open(current, _READ)
            out = -1
            try:
                status = os.fstat(fd)
                mode, size = status.st_mode, status.st_size
                if not stat.S_ISREG(mode):
                    raise refused(current, mode)
                text = tail + (EXECUTABLE if mode & stat.S_IXUSR else REGULAR) + size.to_bytes(8, "little")
                if at + len(text) > BUFFER_BYTES:
                    yield view[:at]
                    view, at = _take(), 0
                view[at : at + len(text)] = text
                at += len(text)
                text = b""
                if copy is not None:
                    out = copy.open(current, status)
                left = size
                if send is not None and size >= SENT_BYTES:
                    yield view[:at]
                    view, at = _take(), 0
                    left -= os.lseek(fd, send(fd, size), os.SEEK_SET)
                while left:
                    if at == BUFFER_BYTES:
                        yield view
                        view, at = _take(), 0
                    piece = view[at : at + left]
                    got = os.readv(fd, (piece,))
                    if not got:
                        raise shrank(current)
                    if out >= 0:
                        write_all(out, piece[:got])
                    at += got
                    left -= got
                if out >= 0 and copy is not None:
                    copy.close(out)
            finally:
                os.close(fd)
                if out >= 0:
                    os.close(out)
            tail = bytes(-size % 8) + close
        if text:
            if at + len(text) > BUFFER_BYTES:
                yield view[:at]
                view, at = _take(), 0
            view[at : at + len(text)] = text
            at += len(text)
        # The next entry; `tail` gathers what ends before it.
        while todo:
            item = todo.pop()
            if isinstance(item, bytes):
                tail += item
                continue
            current = item.path
            if look:
                status = os.lstat(current)
                if keep is not None and not keep(current, status):
                    continue
            is_directory, is_link = item.is_dir(follow_symlinks=False), item.is_symlink()
            if not is_directory and not is_link and not item.is_file(follow_symlinks=False):
                raise refused(current, os.lstat(current).st_mode)
            if visit is not None:
                visit(current, status)
            tail += ENTRY + string(item.name) + NODE
            close = CLOSE + CLOSE
            break
        else:
            break
    if at + len(tail) > BUFFER_BYTES:
        yield view[:at]
        view, at = _take(), 0
    view[at : at + len(tail)] = tail
    yield view[: at + len(tail)]


def write_all(fd: int, content: memoryview) -> None:
    """Write all of it."""
    while content:
        content = content[os.write(fd, content) :]


def digest(views: Iterator[memoryview], algorithm: str) -> tuple[bytes, int]:
    """The digest and the size of what `fill` gives; the views are given back."""
    from anicca.store.aside import AsideHasher  # noqa: PLC0415 (dumping needs none)

    state = AsideHasher(algorithm)
    size = 0
    try:
        for view in views:
            size += len(view)
            state.update(view, give)
    finally:
        state.finish()
    return state.digest(), size


def shrank(path: bytes) -> AniccaError:
    """What to raise where a file has fewer bytes than its status said."""
    from anicca.errors import AniccaError  # noqa: PLC0415 (as above)

    return AniccaError(f"{os.fsdecode(path)}: shrank while it was read")


def refused(path: bytes, mode: int) -> AniccaError:
    """Why a device, a socket or a pipe cannot be a store object."""
    from anicca.errors import AniccaError  # noqa: PLC0415 (as above)

    return AniccaError(
        f"{os.fsdecode(path)}: {_kind(mode)} cannot be a store object",
        hint="the store holds regular files, directories and symbolic links",
    )


def _kind(mode: int) -> str:
    """What a person calls a file of this mode."""
    if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
        return "a device node"
    return "a socket" if stat.S_ISSOCK(mode) else "a pipe"
