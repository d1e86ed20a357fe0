"""The builders' own parts on small trees: splitting, laying out, accounts."""

from __future__ import annotations

import base64
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import accounts
import manifest
import pytest
from declared import Layout
from manifest import Entry, Ids

from anicca.debian.builders import assemble
from anicca.debian.builders.assemble import Names, Splitter
from anicca.debian.environment import without_bytecode
from anicca.store import source_path_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="files are given to other users"),
]

EPOCH = 1_700_000_000
NAMES = Names(users={"root": 0, "postgres": 999}, groups={"root": 0, "shadow": 42, "postgres": 999})
KEY = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAo\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir(mode=0o755)
    return made


def split(root: Path, owners: dict[str, Path] | None = None) -> dict[str, Entry]:
    delta = root.parent / "delta"
    delta.mkdir(exist_ok=True)
    entries = Splitter(root=root, delta=delta, owners=owners or {}).split(NAMES, EPOCH)
    return {entry.path: entry for entry in entries}


def refused(root: Path) -> str:
    with pytest.raises(SystemExit) as caught:
        split(root)
    return str(caught.value)


# Splitting


def test_a_file_equal_to_its_packages_copy_is_that_and_any_other_goes_to_the_delta(root: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for name, packaged, there in (("same", b"a", b"a"), ("changed", b"a", b"b"), ("longer", b"a", b"ab")):
        (package / name).write_bytes(packaged)
        (root / name).write_bytes(there)
    (root / "made").write_bytes(b"made")
    (root / "empty").write_bytes(b"")
    found = split(root, {f"/{name}": package / name for name in ("same", "changed", "longer")})
    delta = tmp_path / "delta"
    assert {path: entry.source for path, entry in found.items()} == {
        "/": None,
        "/same": str(package / "same"),
        "/changed": str(delta / "changed"),
        "/longer": str(delta / "longer"),
        "/made": str(delta / "made"),
        "/empty": None,
    }
    assert (delta / "changed").read_bytes() == b"b"
    assert not (delta / "same").exists()


def test_metadata_is_kept_with_names_for_numbers_and_times_up_to_the_epoch(root: Path) -> None:
    (root / "su").write_bytes(b"x")
    os.chown(root / "su", 0, 42)
    (root / "su").chmod(0o6755)
    os.utime(root / "su", (1, 5))
    (root / ".hidden").mkdir(mode=0o700)
    os.chown(root / ".hidden", 999, 999)
    os.utime(root / ".hidden", (1, EPOCH + 5))
    (root / "link").symlink_to("../elsewhere")
    found = split(root)
    assert (found["/su"].mode, found["/su"].user, found["/su"].group, found["/su"].mtime) == (
        0o6755,
        "root",
        "shadow",
        5,
    )
    hidden = found["/.hidden"]
    assert (hidden.kind, hidden.mode, hidden.user, hidden.group, hidden.mtime) == (
        "directory",
        0o700,
        "postgres",
        "postgres",
        EPOCH,
    )
    assert (found["/link"].kind, found["/link"].target) == ("symlink", "../elsewhere")


def test_hard_links_share_a_number_and_one_copy(root: Path) -> None:
    (root / "a").write_bytes(b"x")
    (root / "b").hardlink_to(root / "a")
    (root / "c").write_bytes(b"y")
    found = split(root)
    assert found["/a"].link == found["/b"].link == 0
    assert found["/a"].source == found["/b"].source
    assert found["/c"].link is None


def test_capabilities_and_user_attributes_are_kept_and_others_are_not(root: Path) -> None:
    file = root / "ping"
    file.write_bytes(b"x")
    capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
    os.setxattr(file, "security.capability", capability)
    os.setxattr(file, "user.note", b"n")
    os.setxattr(file, "trusted.other", b"o")
    assert split(root)["/ping"].xattrs == (("security.capability", capability), ("user.note", b"n"))


def access_list(gid: int) -> bytes:
    nobody = 0xFFFFFFFF
    entries = [(1, 7, nobody), (4, 5, nobody), (8, 5, gid), (16, 5, nobody), (32, 5, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_an_access_list_is_kept_for_debians_fixed_ids_and_refused_for_others(root: Path) -> None:
    (root / "journal").mkdir()
    os.setxattr(root / "journal", "system.posix_acl_access", access_list(4))
    assert split(root)["/journal"].xattrs == (("system.posix_acl_access", access_list(4)),)
    os.setxattr(root / "journal", "system.posix_acl_access", access_list(997))
    assert "/journal: its access list names the id 997" in refused(root)


def test_what_looks_like_a_private_key_is_refused_unless_a_package_ships_it(root: Path, tmp_path: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/made.key").write_bytes(KEY)
    assert "/etc/made.key: looks like a private key, which must never be in the store" in refused(root)
    example = tmp_path / "example.key"
    example.write_bytes(KEY)
    assert split(root, {"/etc/made.key": example})["/etc/made.key"].source == str(example)


def test_devices_pipes_sockets_and_nameless_owners_are_all_named(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
    (root / "theirs").write_bytes(b"")
    os.chown(root / "theirs", 12345, 0)
    words = refused(root)
    assert words.startswith("the tree cannot be kept:\n")
    assert "/pipe: file type" in words
    assert "/socket: file type" in words
    assert "/theirs: owner id 12345 has no name" in words


def test_the_first_of_two_names_with_one_number_is_the_owner(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    names = Names.read(root)
    assert names.users == {"root": 0, "toor": 0}
    assert assemble.by_number(names.users) == {0: "root"}


def test_scrubbing_takes_links_into_what_was_scrubbed(root: Path) -> None:
    for path in ("etc/ssh/ssh_host_rsa_key", "etc/ssl/certs/ssl-cert-snakeoil.pem", "etc/passwd-", "var/log/dpkg.log"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    (root / "etc/ssl/certs/abcd.0").symlink_to("ssl-cert-snakeoil.pem")
    (root / "etc/ssl/certs/kept.0").symlink_to("real.pem")
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)
    assemble.scrub(root)
    left = sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink())
    assert left == ["etc/ssl/certs/kept.0"]
    assert list((root / "var/lib/apt/lists").iterdir()) == []


def test_a_clock_behind_the_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("out", "delta", "NIX_BUILD_TOP"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(time.time()) + 3600))
    with pytest.raises(SystemExit, match=r"clock .* is behind the time of the lock"):
        assemble.main()


# Laying out


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    contents = tmp_path / "contents"
    contents.mkdir()
    made = Layout(entries={}, contents=contents, epoch=EPOCH)
    made.directory("/etc")
    made.link("/etc/os-release", "../usr/lib/os-release")
    made.file("/etc/motd", b"tree's")
    return made


def declared(path: str, kind: str = "file", **more: Any) -> dict[str, Any]:
    content = base64.b64encode(b"declared").decode()
    return {"path": path, "kind": kind, "user": "root", "group": "root", "mode": "0644", "content": content, **more}


def test_declared_files_replace_the_trees_and_bring_their_directories(layout: Layout) -> None:
    layout.add([declared("/etc/motd"), declared("/etc/a/b/c", mode="0600", group="shadow")])
    assert layout.text("/etc/motd") == "declared"
    entries = {entry.path: entry for entry in layout.sorted()}
    assert (entries["/etc/a/b/c"].mode, entries["/etc/a/b/c"].group) == (0o600, "shadow")
    assert [entries[path].mode for path in ("/etc/a", "/etc/a/b")] == [0o755, 0o755]


def test_a_declared_link_may_replace_a_file(layout: Layout) -> None:
    layout.add([{"path": "/etc/motd", "kind": "symlink", "target": "/run/motd"}])
    assert layout.entries["/etc/motd"].target == "/run/motd"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (declared("/etc"), "/etc: is a directory in the tree, declared as a file"),
        (declared("/etc/motd", "directory"), "/etc/motd: is a file in the tree, declared as a directory"),
        (declared("/etc/motd/x"), "/etc/motd/x: /etc/motd is a file of the tree, not a directory"),
        (declared("/etc/os-release/x"), "/etc/os-release/x: /etc/os-release is a symlink of the tree"),
    ],
)
def test_what_does_not_fit_is_told_all_at_once(layout: Layout, record: dict[str, Any], words: str) -> None:
    with pytest.raises(SystemExit) as caught:
        layout.add([record, declared("/etc/motd/other")])
    assert words in str(caught.value)
    assert "/etc/motd/other: /etc/motd is a file of the tree" in str(caught.value)


def test_declared_keys_are_refused_and_the_trees_own_files_are_not_read(layout: Layout) -> None:
    layout.entries["/etc/tree"] = Entry(
        path="/etc/tree", kind="file", mode=0o644, user="root", group="root", mtime=0, source="/nix/store/not-there"
    )
    layout.refuse_keys()
    layout.add([declared("/etc/key", content=base64.b64encode(KEY).decode())])
    with pytest.raises(SystemExit, match="/etc/key: looks like a private key"):
        layout.refuse_keys()


def test_a_layout_is_written_out_with_owners_modes_times_and_links(layout: Layout, tmp_path: Path) -> None:
    layout.add([declared("/etc/secret", mode="4640", user="postgres", group="shadow")])
    layout.entries["/etc/twin"] = Entry(
        path="/etc/twin", kind="file", mode=0o644, user="root", group="root", mtime=7, size=0, link=3
    )
    layout.entries["/etc/twin2"] = Entry(
        path="/etc/twin2", kind="file", mode=0o644, user="root", group="root", mtime=7, size=0, link=3
    )
    out = tmp_path / "out"
    out.mkdir()
    manifest.copy_out(
        layout.sorted(), str(out), Ids(users={"root": 0, "postgres": 777}, groups={"root": 0, "shadow": 42})
    )
    status = (out / "etc/secret").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime) == (0o4640, 777, 42, EPOCH)
    assert (out / "etc/secret").read_bytes() == b"declared"
    assert (out / "etc/twin").stat().st_ino == (out / "etc/twin2").stat().st_ino
    assert (out / "etc").stat().st_mtime == EPOCH


# Accounts


@pytest.fixture
def with_accounts(layout: Layout) -> Layout:
    layout.file("/etc/passwd", b"root:x:0:0:root:/root:/bin/bash\nsshd:x:998:65534::/run/sshd:/usr/sbin/nologin\n")
    layout.file("/etc/group", b"root:x:0:\nsudo:x:27:old\nnogroup:x:65534:\nshadow:x:42:\ncrontab:x:997:\n")
    layout.file("/etc/shadow", b"root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n")
    layout.file("/etc/gshadow", b"root:*::\nsudo:*::old\nnogroup:*::\nshadow:*::\ncrontab:!::\n")
    return layout


IDS = Ids(
    users={"root": 0, "sshd": 990, "ann": 1000, "bob": 1003},
    groups={
        "root": 0,
        "sudo": 27,
        "nogroup": 65534,
        "shadow": 42,
        "crontab": 999,
        "ann": 1000,
        "bob": 1003,
        "web": 1001,
    },
)


def person(name: str, *groups: str) -> dict[str, Any]:
    return {"name": name, "comment": "", "home": f"/home/{name}", "shell": "/bin/bash", "groups": list(groups)}


def test_accounts_have_the_locks_numbers_and_no_password(with_accounts: Layout) -> None:
    groups = [{"name": "ann", "members": []}, {"name": "bob", "members": []}, {"name": "web", "members": ["sshd"]}]
    accounts.rewrite(with_accounts, IDS, [person("ann", "sudo", "web"), person("bob")], groups)
    assert with_accounts.text("/etc/passwd").splitlines() == [
        "root:x:0:0:root:/root:/bin/bash",
        "sshd:x:990:65534::/run/sshd:/usr/sbin/nologin",
        "ann:x:1000:1000::/home/ann:/bin/bash",
        "bob:x:1003:1003::/home/bob:/bin/bash",
    ]
    assert with_accounts.text("/etc/group").splitlines() == [
        "root:x:0:",
        "sudo:x:27:old,ann",
        "nogroup:x:65534:",
        "shadow:x:42:",
        "crontab:x:999:",
        "ann:x:1000:",
        "bob:x:1003:",
        "web:x:1001:ann,sshd",
    ]
    shadow = with_accounts.text("/etc/shadow").splitlines()
    assert shadow[2:] == [f"{name}:!:{EPOCH // 86400}:0:99999:7:::" for name in ("ann", "bob")]
    assert "web:!::ann,sshd" in with_accounts.text("/etc/gshadow").splitlines()
    assert with_accounts.text("/etc/subuid") == "ann:100000:65536\nbob:296608:65536\n"
    entry = with_accounts.entries["/etc/shadow"]
    assert (entry.mode, entry.user, entry.group) == (0o640, "root", "shadow")


# Sources


def test_byte_code_beside_the_builders_changes_no_derivation(tmp_path: Path) -> None:
    library = tmp_path / "lib"
    library.mkdir()
    (library / "keys.py").write_text("")
    clean = source_path_of("lib", library, without_bytecode)
    (library / "__pycache__").mkdir()
    (library / "__pycache__/keys.cpython-311.pyc").write_bytes(b"x")
    assert source_path_of("lib", library, without_bytecode) == clean
    assert source_path_of("lib", library) != clean
