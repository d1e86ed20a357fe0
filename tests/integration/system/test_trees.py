"""Trees of other packages than the example's: ids that stay, keys that are never made, metadata to the bit."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import keys
import manifest
import pytest

from anicca import fs, process
from anicca.debian.builders.assemble import DPKG, SCRUBBED
from anicca.process import ProgramError
from anicca.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.integration.system.conftest import Assembled, BuiltHost, Workshop

    from anicca.debian.fetch import Fetcher
    from anicca.debian.lock import Lock
    from anicca.store import StorePath

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]


# Ids


def test_adding_chrony_to_a_host_with_cron_moves_no_id(workshop: Workshop, built_host: BuiltHost) -> None:
    before = workshop.assemble(workshop.lock("cron", "udev"), built_host.store)
    wanted = workshop.lock("cron", "udev", "chrony", "dbus")
    after = workshop.assemble(replace(wanted, users=before.lock.users, groups=before.lock.groups), built_host.store)
    assert "_chrony" in after.facts["users"]
    floated = [name for name, gid in before.facts["groups"].items() if after.facts["groups"][name] != gid]
    assert floated, "Debian's own numbers did not move, so this test shows nothing: add other packages"
    for ids, old in ((after.lock.users, before.lock.users), (after.lock.groups, before.lock.groups)):
        assert {name: ids[name] for name in old} == dict(old)
        assert len(set(ids.values())) == len(ids)
    # And the mounted tree has the lock's numbers, not the assembly's.
    with mounted(built_host.store, after.image.out) as tree:
        assert (tree / "usr/bin/crontab").stat().st_gid == after.lock.groups["crontab"]


# Metadata

SCRUBBED_PATTERNS = tuple(f"/{pattern}" for pattern in SCRUBBED)
MOVED = {"/var/lib/dpkg": f"/{DPKG}"}
MADE = frozenset({f"/{DPKG}".rpartition("/")[0], "/var/lib/dpkg"})
"""All that the mounted tree has otherwise than a plain mmdebstrap of the same packages: what is not there, what lies
elsewhere, what is there for that. Directories that lost or got an entry so have the time of the lock's epoch, as has
all that is newer; owners are compared by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One path of a tree, as lstat and a reader see it."""

    kind: int
    mode: int
    user: str
    group: str
    mtime: int
    size: int
    target: str
    content: str
    xattrs: tuple[tuple[str, str], ...]
    links: tuple[str, ...]


def look(root: Path, users: Mapping[int, str], groups: Mapping[int, str], epoch: int) -> dict[str, Seen]:
    """Every path below `root`."""
    found: dict[str, Seen] = {}
    inodes: dict[int, list[str]] = {}
    top = os.fspath(root)
    todo = [top]
    while todo:
        path = todo.pop()
        status = os.lstat(path)
        name = path.removeprefix(top) or "/"
        content = ""
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:  # noqa: PTH123
                content = hashlib.file_digest(file, "sha256").hexdigest()
            if status.st_nlink > 1:
                inodes.setdefault(status.st_ino, []).append(name)
        elif stat.S_ISDIR(status.st_mode):
            todo += [f"{path.rstrip('/')}/{child}" for child in os.listdir(path)]  # noqa: PTH208
        found[name] = Seen(
            kind=stat.S_IFMT(status.st_mode),
            mode=stat.S_IMODE(status.st_mode),
            user=users[status.st_uid],
            group=groups[status.st_gid],
            mtime=min(int(status.st_mtime), epoch),
            size=status.st_size if content else 0,
            target=os.readlink(path) if stat.S_ISLNK(status.st_mode) else "",  # noqa: PTH115
            content=content,
            xattrs=tuple(
                (xattr, os.getxattr(path, xattr, follow_symlinks=False).hex())
                for xattr in sorted(os.listxattr(path, follow_symlinks=False))
                if xattr in manifest.XATTRS or xattr.startswith("user.")
            ),
            links=(),
        )
    for names in inodes.values():
        for name in names:
            found[name] = replace(found[name], links=tuple(sorted(names)))
    return found


def names_of(table: Path) -> dict[int, str]:
    rows = [line.split(":") for line in table.read_text().splitlines()]
    return {int(row[2]): row[0] for row in reversed(rows)}


@contextmanager
def mounted(store: LocalStore, image: StorePath) -> Iterator[Path]:
    """The tree as a host mounts it. Skips where this machine cannot."""
    top = store.state_dir / f"mounted-{os.getpid()}"
    meta, tree = top / "meta", top / "tree"
    for directory in (meta, tree):
        directory.mkdir(parents=True, exist_ok=True)
    done: list[Path] = []
    options = f"ro,metacopy=on,redirect_dir=on,lowerdir={meta}::{store.store_dir}"
    try:
        try:
            process.run(["mount", "-t", "erofs", "-o", "loop,ro", store.physical(image) / "tree.erofs", meta])
            done.append(meta)
            process.run(["mount", "-t", "overlay", "overlay", "-o", options, tree])
            done.append(tree)
        except ProgramError as error:
            pytest.skip(f"loop, EROFS or overlay with data-only layers (Linux 6.5) is not to be had: {error.detail}")
        yield tree
    finally:
        for place in reversed(done):
            process.run(["umount", place])
        fs.remove_tree(top)


def plain(lock: Lock, fetcher: Fetcher, directory: Path) -> Path:
    """A plain mmdebstrap of the lock's packages, by this machine's own."""
    repository, root = directory / "repository", directory / "root"
    repository.mkdir()
    stanzas = []
    for pin in lock.packages:
        (repository / f"{pin.name}.deb").symlink_to(fetcher.fetch(pin))
        control = process.run(["dpkg-deb", "-f", repository / f"{pin.name}.deb"]).text.rstrip()
        stanzas.append(f"{control}\nFilename: ./{pin.name}.deb\nSize: {pin.size_bytes}\nSHA256: {pin.sha256}\n")
    index = "\n".join(stanzas).encode()
    (repository / "Packages").write_bytes(index)
    (repository / "Release").write_text(
        f"Suite: trixie\nCodename: trixie\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nArchitectures: amd64 all\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )
    process.run(
        [
            "mmdebstrap",
            "--mode=root",
            "--variant=essential",
            "--format=directory",
            f"--include={','.join(pin.name for pin in lock.packages)}",
            "--skip=check/empty",
            "--aptopt=APT::Install-Recommends false",
            "--dpkgopt=force-unsafe-io",
            "trixie",
            root,
            f"deb [trusted=yes] copy://{repository} ./",
        ],
        env={
            "PATH": os.environ["PATH"],
            "SOURCE_DATE_EPOCH": str(lock.epoch),
            "INITRD": "No",
            "TMPDIR": str(directory),
        },
        timeout_seconds=1200,
    )
    return root


def expected(seen: Mapping[str, Seen], epoch: int) -> dict[str, Seen]:
    """What a plain tree is with the deliberate differences."""
    found = {}
    touched = {path.rpartition("/")[0] for path in (*MOVED, *MOVED.values(), *MADE)}
    for path, entry in seen.items():
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in SCRUBBED_PATTERNS):
            touched.add(path.rpartition("/")[0] or "/")
            continue
        place = path
        for old, new in MOVED.items():
            if manifest.is_below(path, old):
                place = new + path.removeprefix(old)
        found[place] = entry
    for path in touched & found.keys():
        found[path] = replace(found[path], mtime=epoch)
    return found


def compare(assembled_lock: Lock, image: StorePath, store: LocalStore, root: Path) -> dict[str, Seen]:
    """Fail unless the mounted image is the plain tree but for the deliberate differences; what was seen in it."""
    epoch = assembled_lock.epoch
    wanted = expected(look(root, names_of(root / "etc/passwd"), names_of(root / "etc/group"), epoch), epoch)
    with mounted(store, image) as tree:
        users = {number: name for name, number in assembled_lock.users.items()}
        groups = {number: name for name, number in assembled_lock.groups.items()}
        seen = look(tree, users, groups, epoch)
    assert seen.keys() - wanted.keys() == MADE
    assert wanted.keys() - seen.keys() == set()
    differing = {path: (seen[path], entry) for path, entry in wanted.items() if seen[path] != entry}
    assert differing == {}
    return seen


def test_the_mounted_tree_is_a_plain_mmdebstrap_of_the_same_packages(built_host: BuiltHost, tmp_path: Path) -> None:
    root = plain(built_host.lock, built_host.fetcher, tmp_path)
    seen = compare(built_host.lock, built_host.plan.image.out, built_host.store, root)
    fs.remove_tree(tmp_path)
    assert len(seen) > 10_000
    assert any(entry.mode & stat.S_ISUID for entry in seen.values())
    assert any(entry.mode & stat.S_ISGID and entry.kind == stat.S_IFREG for entry in seen.values())
    assert any(entry.links for entry in seen.values())
    assert any(entry.user != "root" for entry in seen.values())


# Keys

KEY_MAKERS = ("openssh-server", "ssl-cert", "postgresql", "libcap2-bin", "mtr-tiny", "iputils-ping", "polkitd")
"""Packages whose scripts make host keys, a certificate, a cluster; and some with file capabilities."""


@pytest.fixture(scope="module")
def key_makers(workshop: Workshop, built_host: BuiltHost) -> Assembled:
    return workshop.assemble(workshop.lock(*KEY_MAKERS), built_host.store)


@pytest.mark.nightly
def test_what_makes_keys_is_scrubbed_and_no_key_is_in_the_store(key_makers: Assembled, built_host: BuiltHost) -> None:
    outputs = key_makers.tree.tree.outputs
    entries = {
        entry.path: entry for entry in manifest.read(built_host.store.physical(outputs["out"]) / "manifest.jsonl")
    }
    assert {"/usr/sbin/sshd", "/etc/ssl/private", "/usr/lib/postgresql"} <= entries.keys()
    for pattern in ("/etc/ssh/ssh_host_*", "/etc/ssl/*snakeoil*", "/etc/ssl/certs/*snakeoil*", "/etc/machine-id"):
        assert fnmatch.filter(entries, pattern) == []
    assert fnmatch.filter(entries, "/var/lib/postgresql/*/main*") == []
    assert not any("snakeoil" in entry.target for entry in entries.values() if entry.kind == "symlink")
    delta = built_host.store.physical(outputs["delta"])
    files = [path for path in delta.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert [path for path in files if keys.looks_private(path.read_bytes())] == []


@pytest.mark.nightly
def test_what_makes_keys_is_built_twice_equal(
    key_makers: Assembled, workshop: Workshop, built_host: BuiltHost, tmp_path: Path
) -> None:
    with LocalStore.open(tmp_path / "store") as store:
        again = workshop.assemble(key_makers.lock, store)
        for step in (again.tree.tree, again.image):
            paths = list(step.outputs.values())
            assert {path: info.nar_hash for path, info in store.infos(paths).items()} == {
                path: info.nar_hash for path, info in built_host.store.infos(paths).items()
            }
    fs.remove_tree(tmp_path)


@pytest.mark.nightly
def test_file_capabilities_are_those_of_a_plain_mmdebstrap(
    key_makers: Assembled, built_host: BuiltHost, tmp_path: Path
) -> None:
    facts = json.loads((built_host.store.physical(key_makers.tree.tree.out) / "facts.json").read_bytes())
    assert "postgres" in facts["users"]
    entries = list(manifest.read(built_host.store.physical(key_makers.tree.tree.out) / "manifest.jsonl"))
    capable = {
        entry.path: dict(entry.xattrs)["security.capability"]
        for entry in entries
        if entry.xattrs and "security.capability" in dict(entry.xattrs)
    }
    assert capable
    with mounted(built_host.store, key_makers.image.out) as tree:
        for path, value in capable.items():
            assert os.getxattr(f"{tree}{path}", "security.capability") == value
    assert tmp_path.exists()
