"""Built-in builders that need no toolchain: fetch a .deb, unpack it, merge packages into a toolchain.

What they write depends on the packages alone, never on this machine's versions of dpkg or tar: the store keeps
contents and the executable bit, and sets all else.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import process
from anicca.debian.lock import Pin
from anicca.store import StorePath

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anicca.debian.fetch import Fetcher
    from anicca.store.context import BuildContext

FETCH, UNPACK, TOOLCHAIN = "builtin:fetch-deb", "builtin:unpack-deb", "builtin:toolchain"

MERGED = ("bin", "lib", "lib64", "sbin")
MOUNT_POINTS = ("build", "dev", "nix/store", "proc", "root", "run", "sys", "tmp", "var/tmp")
"""Directories that a sandbox mounts over; a read-only root must have them."""
LINKS = {"usr/bin/awk": "mawk", "usr/bin/which": "which.debianutils"}
"""What the alternatives of packages would make, had their scripts run."""
COPIES = {
    "etc/passwd": "usr/share/base-passwd/passwd.master",
    "etc/group": "usr/share/base-passwd/group.master",
    "etc/nsswitch.conf": "usr/share/libc-bin/nsswitch.conf",
}
"""What the scripts of base-passwd and libc-bin would make."""


def builders(fetcher: Fetcher) -> Mapping[str, Callable[[BuildContext], None]]:
    """The built-in builders by the names that derivations give."""

    def fetch(context: BuildContext) -> None:
        fetcher.copy(pin_of(context.env), context.outputs["out"])

    return {FETCH: fetch, UNPACK: unpack, TOOLCHAIN: merge}


def pin_of(env: Mapping[str, str]) -> Pin:
    """The pin that a fetch derivation's environment describes."""
    archive = env["archive"]
    assert archive in {"debian", "debian-security"}
    return Pin(
        name=env["package"],
        version=env["version"],
        architecture=env["architecture"],
        archive="debian-security" if archive == "debian-security" else "debian",
        filename=env["filename"],
        size_bytes=int(env["size"]),
        sha256=env["outputHash"],
    )


def unpack(context: BuildContext) -> None:
    """Unpack the .deb named by `deb`."""
    deb = context.physical(StorePath.parse(context.env["deb"]))
    process.run(["dpkg-deb", "--extract", deb, context.outputs["out"]])


def merge(context: BuildContext) -> None:
    """Merge the packages named by `packages` into one root, by hard links, with what a root must have.

    Hard links between store objects are what `nix-store --optimise` makes of them anyway.
    """
    out = context.outputs["out"]
    out.mkdir()
    for name in MERGED:
        (out / "usr" / name).mkdir(parents=True)
        (out / name).symlink_to(f"usr/{name}")
    for text in json.loads(context.env["packages"]):
        _merge_package(context.physical(StorePath.parse(text)), out)
    for name in MOUNT_POINTS:
        (out / name).mkdir(parents=True, exist_ok=True)
    for name, target in LINKS.items():
        (out / name).symlink_to(target)
    for name, original in COPIES.items():
        (out / name).write_bytes((out / original).read_bytes())


def _merge_package(package: Path, out: Path) -> None:
    """Link one package's files into the root; directories that several packages have are shared."""
    top = os.fspath(package)
    for directory, names, files in os.walk(top):
        target = out / Path(directory).relative_to(package)
        for name in [name for name in names if os.path.islink(os.path.join(directory, name))]:  # noqa: PTH114, PTH118
            names.remove(name)
            files.append(name)
        for name in names:
            place = target / name
            if not place.is_dir():
                place.mkdir()
        for name in files:
            place = target / name
            if place.is_symlink() and place.parent == out:
                continue  # base-files has the links of the merged /usr, too
            _link(Path(directory, name), place)


def _link(source: Path, place: Path) -> None:
    """A hard link, or a copy where the file system cannot."""
    if source.is_symlink():
        place.symlink_to(source.readlink())
        return
    try:
        place.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, place)
        place.chmod(source.stat().st_mode)
