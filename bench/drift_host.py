"""A host for bench/drift.py, made from a Debian tree: its objects in a store, its root blank but for the seed.

/usr is mounted there as on a host: an image of metadata whose files' contents are the store's (docs/internals/tree.md).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anicca import process
from anicca.drift import records
from anicca.drift.scan import Options, Scan
from anicca.drift.system import ELSEWHERE
from anicca.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.drift.entry import Entry
    from anicca.store.path import StorePath

DRIFTED = 1000
STORE = "/nix/store"
METACOPY, REDIRECT = "trusted.overlay.metacopy", "trusted.overlay.redirect"
CHUNK_BYTES = 65536
"""As in anicca/debian/builders/image.py, which a sandbox alone can import."""
OBJECTS = 200
PARTS = ("usr", "var", "opt", "srv", "root", "home")
"""What of a tree is in its objects; the rest is links, mount points and /etc, which is an image."""


def make_host(tree: Path, top: Path) -> Path:
    """The host's root, blank but for the seed. `inside` mounts its store, /usr, /etc and /run there, as on a host."""
    host, volume, work = top / "host", top / "volume", top / "work"
    for directory in (host, volume, work, volume / "run/anicca"):
        directory.mkdir(parents=True)
    for part in PARTS:
        if (tree / part).is_dir():
            process.run(["cp", "-a", "--reflink=auto", tree / part, work / part])
    with LocalStore.open(volume) as store:
        objects = add_objects(store, work)
        system = top / "system"
        (system / "layout").mkdir(parents=True)
        (system / "layout/persist").write_text("")
        (system / "spec.json").write_text(json.dumps({"name": "bench", "files": {}, "units": {}}))
        (system / "packages.json").write_text("[]")
        entries = manifest(tree, objects)
        with (system / "manifest.jsonl").open("w") as lines:
            for record in entries:
                lines.write(json.dumps(record, separators=(",", ":")) + "\n")
        process.run(["mkfs.erofs", "--quiet", "-T1", system / "etc.erofs", tree / "etc"])
        make_image(tree, entries, system / "tree.erofs", work)
        found = store.add_path("system", system, references=list(objects.values()))
    host.chmod(0o755)
    for path, mode in ELSEWHERE.items():
        (host / os.fsdecode(path[1:])).mkdir(exist_ok=True)
        (host / os.fsdecode(path[1:])).chmod(mode)
    (volume / "run/anicca/system").symlink_to(str(found))
    for name in sorted({one.name for one in tree.iterdir()} - {os.fsdecode(path[1:]) for path in ELSEWHERE}):
        process.run(["cp", "-a", tree / name, host / name])
    process.run(["rm", "-rf", work, system])
    return host


def add_objects(store: LocalStore, work: Path) -> dict[bytes, StorePath]:
    """The files of a tree as objects, as many as a small host has packages; which one a directory's files are in."""
    found = {}
    for top, _, names in os.walk(work):
        if names:
            directory = os.fsencode(top[len(os.fspath(work)) :])
            part = work.parent / f"part-{zlib.crc32(directory) % OBJECTS}"
            (part / top[len(os.fspath(work)) + 1 :]).mkdir(parents=True, exist_ok=True)
            for name in names:
                Path(top, name).rename(part / top[len(os.fspath(work)) + 1 :] / name)
            found[directory] = part
    objects = {}
    for part in set(found.values()):
        objects[part] = store.add_path(part.name, part)
        process.run(["rm", "-r", part])
    return {directory: objects[part] for directory, part in found.items()}


def make_image(tree: Path, records: list[dict[str, Any]], image: Path, work: Path) -> None:
    """The image of /usr: all of its metadata, and where in the store the contents are."""
    with mounted_memory(work):
        process.run(["cp", "-a", "--attributes-only", tree / "usr", work])
        for record in records:
            path = os.fsencode(work) + os.fsencode(record["path"])
            if record["path"].startswith("/usr/") and record.get("source"):
                os.truncate(path, record["size"])
                os.setxattr(path, METACOPY, b"")
                os.setxattr(path, REDIRECT, os.fsencode(record["source"].removeprefix(STORE)))
                for name, value in record.get("xattrs", {}).items():
                    # A capability went when the file got its size.
                    os.setxattr(path, name, base64.b64decode(value))
        process.run(["mkfs.erofs", "--quiet", f"--chunksize={CHUNK_BYTES}", "-T1", image, work])


@contextlib.contextmanager
def mounted_memory(at: Path) -> Iterator[None]:
    """A filesystem in memory: on a disk each file's attributes take a block."""
    process.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", at])
    try:
        yield
    finally:
        process.run(["umount", at])


def plant(host: Path) -> None:
    """What a thousand files are that nobody declared."""
    for number in range(DRIFTED):
        directory = host / f"var/lib/app/{number // 100}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / str(number)).write_text(f"{number}\n" * 100)


def inside(host: Path, words: list[str]) -> list[str]:
    """A command that sees the host as it runs, in mounts of its own."""
    volume, meta, tree = (host.parent / name for name in ("volume", "meta", "tree"))
    for directory in (meta, tree):
        directory.mkdir(exist_ok=True)
    system = f"{volume}$(readlink {volume}/run/anicca/system)"
    script = f"""
        set -e
        image() {{ mount -t erofs -o ro,X-mount.noloop "$@" 2>/dev/null || mount -t erofs -o ro,loop "$@"; }}
        image {system}/tree.erofs {meta}
        image {system}/etc.erofs {host}/etc
        mount -t overlay -o ro,metacopy=on,redirect_dir=on,lowerdir={meta}::{volume}/nix/store tree {tree}
        mount --bind {tree}/usr {host}/usr
        mount --bind {volume}/nix {host}/nix
        mount --bind {volume}/run {host}/run
        exec "$@"
    """
    return ["unshare", "--mount", "sh", "-c", script, "sh", *words]


def manifest(tree: Path, objects: dict[bytes, StorePath]) -> list[dict[str, Any]]:
    """The tree as builders write it down."""
    users = {number: name for name, number in records.parse_names((tree / "etc/passwd").read_bytes()).items()}
    groups = {number: name for name, number in records.parse_names((tree / "etc/group").read_bytes()).items()}
    return [
        _record(entry, objects, users, groups)
        for entry in Scan(os.fsencode(tree), Options(cross_mounts=False))
        if entry.path != b"/"
    ]


def _record(
    entry: Entry, objects: dict[bytes, StorePath], users: dict[int, str], groups: dict[int, str]
) -> dict[str, Any]:
    path = entry.path.decode("utf-8", "surrogateescape")
    record: dict[str, Any] = {
        "path": path,
        "kind": entry.kind,
        "mode": f"{stat.S_IMODE(entry.mode):04o}",
        "user": users.get(entry.uid, "root"),
        "group": groups.get(entry.gid, "root"),
    }
    if entry.kind == "symlink":
        record["target"] = entry.target.decode("utf-8", "surrogateescape")
    if entry.kind == "file":
        record["size"] = entry.size
        if entry.size:
            record["source"] = f"{objects.get(entry.path.rpartition(b'/')[0], '/none')}{path}"
    if entry.xattrs:
        record["xattrs"] = {name: base64.b64encode(value).decode() for name, value in entry.xattrs}
    return record
