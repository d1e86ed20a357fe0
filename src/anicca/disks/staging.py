"""The directory that becomes the `nix` filesystem: store objects linked, not copied, and measured."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK_BYTES = 4096

_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM}
"""Another filesystem; a file with too many names (65,000 on ext4); a file that is not ours. Copying always does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSize:
    """A directory's size on a disk with blocks of 4 KiB: whole blocks, each hard-linked file once."""

    size_bytes: int
    files: int
    foreign_owner: Path | None
    """Some file whose owner or group is not root, if there is one."""


def link_objects(objects: Iterable[Path], directory: Path) -> None:
    """Put store objects (files, symlinks, directories) into `directory` under their own names.

    Regular files become hard links, so this costs no space and little time; where no link can be made they are copied.
    Directories keep their modes and times. The objects are not changed, except that their files have one name more.
    """
    for source in objects:
        _link(source, directory / source.name)


def _link(source: Path, target: Path) -> None:
    """Link one file, or a directory with all in it."""
    found = source.lstat()
    if not stat.S_ISDIR(found.st_mode):
        _link_file(str(source), str(target))
        return
    target.mkdir()
    _link_contents(str(source), str(target))
    _copy_directory_facts(found, str(target))


def _link_contents(source: str, target: str) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            name = f"{target}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                os.mkdir(name)  # noqa: PTH102 (a Path for each of 25,000 files costs more than the links)
                _link_contents(entry.path, name)
                _copy_directory_facts(entry.stat(follow_symlinks=False), name)
            else:
                _link_file(entry.path, name)


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copy2(source, target, follow_symlinks=False)


def _copy_directory_facts(found: os.stat_result, target: str) -> None:
    """Mode and times, after the contents: a read-only directory takes no entries, and each entry moves its mtime."""
    os.chmod(target, stat.S_IMODE(found.st_mode))  # noqa: PTH101 (see above)
    os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))


def measure_tree(directory: Path) -> TreeSize:
    """Walk `directory` and measure it. Links are not followed."""
    size = files = 0
    foreign: Path | None = None
    seen: set[tuple[int, int]] = set()
    pending = [str(directory)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                    if (found.st_dev, found.st_ino) in seen:
                        continue
                    seen.add((found.st_dev, found.st_ino))
                files += 1
                size += -(-found.st_size // BLOCK_BYTES) * BLOCK_BYTES
                if foreign is None and (found.st_uid or found.st_gid):
                    foreign = Path(entry.path)
                if stat.S_ISDIR(found.st_mode):
                    pending.append(entry.path)
    return TreeSize(size_bytes=size, files=files, foreign_owner=foreign)
