from __future__ import annotations

from dataclasses import replace

from anicca.declare.root import F2fs, Tmpfs, Zfs
from anicca.declare.spec import (
    DirectorySpec,
    DiskSpec,
    FileSpec,
    GroupSpec,
    Kernel,
    LinkSpec,
    PersistSpec,
    Spec,
    UnitSpec,
    UserSpec,
    digest,
    resolution_key,
    to_json,
)
from anicca.errors import Fault, Place

SPEC = Spec(
    name="h",
    kernel=Kernel(package="linux-image-amd64", parameters=("quiet",)),
    packages=("less", "linux-image-amd64"),
    users=(UserSpec(name="ann", home="/home/ann", groups=("sudo",), ssh_keys=("ssh-ed25519 A",)),),
    groups=(GroupSpec(name="ann"),),
    files=(
        FileSpec(path="/etc/bin", content=b"\xff\x00", mode=0o600),
        LinkSpec(path="/etc/link", target="motd"),
        FileSpec(path="/etc/motd", content="grüezi\n".encode()),
        DirectorySpec(path="/srv/x", owner="ann", group="ann", mode=0o2750),
    ),
    units=(UnitSpec(name="a.service", content="[Unit]\n", state="static"), UnitSpec(name="b.timer", state="masked")),
    persist=(PersistSpec(path="/var/x"), PersistSpec(path="/var/y", kind="f", owner="ann", group="ann", mode=0o600)),
    timezone="Etc/UTC",
    locale="C.UTF-8",
    root=F2fs(),
    disk=DiskSpec(esp_bytes=1, nix_bytes=2, root_bytes=3),
)

GOLDEN = (
    '{"architecture":"amd64","components":["main"],"disk":{"esp_bytes":1,"nix_bytes":2,"root_bytes":3},'
    '"files":{"/etc/bin":{"content":{"base64":"/wA="},"group":"root","mode":"0600","owner":"root","type":"file"},'
    '"/etc/link":{"target":"motd","type":"link"},'
    '"/etc/motd":{"content":"grüezi\\n","group":"root","mode":"0644","owner":"root","type":"file"},'
    '"/srv/x":{"group":"ann","mode":"2750","owner":"ann","type":"directory"}},'
    '"groups":{"ann":{"members":[]}},"kernel":{"package":"linux-image-amd64","parameters":["quiet"]},'
    '"locale":"C.UTF-8","name":"h","packages":["less","linux-image-amd64"],'
    '"persist":{"/var/x":{"group":null,"kind":"d","mode":null,"owner":null},'
    '"/var/y":{"group":"ann","kind":"f","mode":"0600","owner":"ann"}},'
    '"release":"trixie","root":{"backend":"f2fs","compress":false,"compress_algorithm":"zstd","forget":"revert","lazytime":true},"snapshot":null,'
    '"timezone":"Etc/UTC","units":{"a.service":{"content":"[Unit]\\n","state":"static"},'
    '"b.timer":{"content":null,"state":"masked"}},'
    '"users":{"ann":{"comment":"","groups":["sudo"],"home":"/home/ann","shell":"/bin/bash",'
    '"ssh_keys":["ssh-ed25519 A"]}}}\n'
)


def test_the_canonical_json_is_these_bytes() -> None:
    assert to_json(SPEC) == GOLDEN.encode()
    assert digest(SPEC) == "25bded28b07f66597b679eef69e7a3902a657d4cd2537dafb26ff776b5e0f0c0"


def test_origins_and_warnings_are_no_part_of_it() -> None:
    place = Place("host.py", 1)
    said = replace(SPEC, origins={"name": (place,)}, warnings=(Fault(message="x", places=(place,)),))
    assert to_json(said) == to_json(SPEC)
    assert said == SPEC
    assert resolution_key(said) == resolution_key(SPEC)


def test_a_root_in_memory_is_written_too() -> None:
    assert b'"root":{"backend":"tmpfs","size":"1G"}' in to_json(replace(SPEC, root=Tmpfs(size="1G")))


def test_the_resolution_key_depends_on_what_apt_is_asked_and_on_nothing_else() -> None:
    key = resolution_key(SPEC)
    assert key == "772eb182577e94c0ee5619c2b9a2a6f1895d54ee8ce6332d5173e59b18baf30c"
    assert resolution_key(replace(SPEC, packages=("less",))) == key
    for other in (
        replace(SPEC, name="other"),
        replace(SPEC, files=()),
        replace(SPEC, units=()),
        replace(SPEC, users=(), groups=()),
        replace(SPEC, persist=()),
        replace(SPEC, timezone="Asia/Tokyo"),
        replace(SPEC, kernel=Kernel(package="linux-image-amd64")),
        replace(SPEC, root=Tmpfs()),
        replace(SPEC, snapshot="https://example.org/"),
    ):
        assert resolution_key(other) == key
    others = {
        resolution_key(other)
        for other in (
            replace(SPEC, packages=("less", "linux-image-amd64", "vim")),
            replace(SPEC, packages=("linux-image-amd64",)),
            replace(SPEC, kernel=Kernel(package="linux-image-cloud-amd64")),
            replace(SPEC, components=("main", "non-free")),
            replace(SPEC, release="forky"),
            replace(SPEC, architecture="arm64"),
            replace(SPEC, root=Zfs()),
        )
    }
    assert len(others) == 7
    assert key not in others
