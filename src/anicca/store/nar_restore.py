"""Laying NARs out on disk, so that no name in them can lead outside the destination."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anicca.store.nar_reader import Chunk, DirectoryEnd, DirectoryStart, LinkSeen, RegularStart, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from anicca.store.nar_reader import NarEvent


def restore(chunks: Iterator[bytes], destination: Path) -> None:
    """Lay the NAR out at `destination`, which must not exist; modes are 0644 and 0755, for the owner to change.

    Every file is made with O_EXCL and O_NOFOLLOW below a directory made by this call, so a hostile NAR (which the
    reader refuses for `..`, `/` and repeated names already) has no link to follow. Raises NarError, OSError.
    """
    restore_events(parse(chunks), destination)


def restore_events(events: Iterable[NarEvent], destination: Path) -> None:  # noqa: C901 (a match over five events)
    """As `restore`, from a NAR's events."""
    top = os.fsencode(destination)
    fd = -1
    left = 0
    try:
        for event in events:
            match event:
                case Chunk():
                    content = memoryview(event.content)
                    left -= len(content)
                    while content:
                        content = content[os.write(fd, content) :]
                    if left == 0:
                        os.close(fd)
                        fd = -1
                case RegularStart():
                    mode = 0o755 if event.executable else 0o644
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                    fd = os.open(b"/".join((top, *event.path)), flags, mode)
                    left = event.size_bytes
                    if left == 0:
                        os.close(fd)
                        fd = -1
                case LinkSeen():
                    os.symlink(event.target, b"/".join((top, *event.path)))  # noqa: PTH211 (bytes)
                case DirectoryStart():
                    os.mkdir(b"/".join((top, *event.path)), 0o755)  # noqa: PTH102 (bytes)
                case DirectoryEnd():
                    pass
    finally:
        if fd >= 0:
            os.close(fd)
