"""The guard on real volumes of this machine's kernel: a boot in a second. Only f2fs needs one: tests/vm/roots."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.integration.roots.volumes import MIB, Host, open_host
from tests.vm.roots.guest import make_tree

from anicca import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount"),
]

JUNK = "mkdir -p a/b && echo x > a/b/c && cp /usr/bin/busybox su && chmod 4755 su && chmod 700 . && chown 5:5 . && sync"


@pytest.fixture(scope="session")
def tree() -> Path:
    return make_tree()


@pytest.fixture
def make_host(tree: Path, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    with ExitStack() as hosts:
        yield lambda parameters: hosts.enter_context(open_host(tree, tmp_path, parameters))


KINDS = ("btrfs", "afresh:ext4", "overlay:ext4", "afresh:xfs", "afresh:btrfs", "overlay:xfs", "overlay:btrfs")
SOME = [*KINDS[:3], *(pytest.param(kind, marks=pytest.mark.nightly) for kind in KINDS[3:])]


def blank(kind: str) -> list[str]:
    found = [". drwxr-xr-x 0:0"]
    return [*found, "./lost+found drwx------ 0:0"] if kind == "afresh:ext4" else found


def first_outcome(kind: str) -> str:
    return "blank" if kind.startswith("afresh") else "made"


def type_of(kind: str) -> str:
    return "overlay" if kind.startswith("overlay") else kind.rpartition(":")[2]


@pytest.mark.parametrize("kind", SOME)
def test_each_boot_begins_blank(kind: str, make_host: Callable[..., Host]) -> None:
    host = make_host(f"anicca.backend={kind}")
    facts, root = host.boot(JUNK)
    assert (facts["outcome"], facts["reasons"], root) == (first_outcome(kind), [], blank(kind))
    for _ in range(3):
        facts, root = host.boot(JUNK)
        assert (facts["outcome"], facts["reasons"], root) == ("blank", [], blank(kind))
        assert facts["root"] == type_of(kind)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_root_is_blank_again(kind: str, make_host: Callable[..., Host]) -> None:
    host = make_host(f"anicca.backend={kind}")
    host.boot(
        "dd if=/dev/urandom of=big bs=1M 2> /dev/null; n=0; while true > f$n; do n=$((n + 1)); done 2> /dev/null; sync"
    )
    facts, root = host.boot()
    assert facts["root"] == type_of(kind)
    assert root == blank(kind)


@pytest.mark.parametrize("kind", SOME)
def test_damage_is_made_afresh(kind: str, make_host: Callable[..., Host]) -> None:
    host = make_host(f"anicca.backend={kind}")
    host.boot(JUNK)
    with host.volume.open("r+b") as file:
        file.write(bytes(2 * MIB))
    facts, root = host.boot()
    assert facts["outcome"] == ("blank" if kind.startswith("afresh") else "made-afresh")
    assert root == blank(kind)
    assert host.boot()[0]["outcome"] == "blank"


def test_a_full_root_in_memory_is_full_and_no_more(make_host: Callable[..., Host]) -> None:
    host = make_host("anicca.backend=tmpfs anicca.rootopts=size=8m,mode=0755")
    facts, said = host.boot("dd if=/dev/zero of=big bs=1M 2>&1 | grep -o 'No space left'; rm big; touch x && echo ok")
    assert (facts["outcome"], facts["device"]) == ("blank", "")
    assert said == [". drwxr-xr-x 0:0", "No space left", "ok"]


@pytest.mark.nightly
def test_a_volume_of_somebody_else_is_not_touched(make_host: Callable[..., Host]) -> None:
    for kind in ("btrfs", "afresh:ext4"):
        host = make_host(f"anicca.backend={kind}")
        process.run(["mkfs.ext4", "-q", "-F", "-L", "data", host.volume])
        before = host.volume.read_bytes()
        facts, _ = host.boot()
        assert facts["outcome"] == "fell-back"
        assert "not touched" in facts["reasons"][0]
        assert host.volume.read_bytes() == before


def test_what_is_nested_goes_too(make_host: Callable[..., Host]) -> None:
    host = make_host("anicca.backend=btrfs")
    host.boot()
    nested = (
        "for name in a a/b a/b/c d; do btrfs -q subvolume create $name; done; btrfs -q subvolume snapshot -r a e; sync"
    )
    host.boot(nested)
    assert host.boot()[1] == blank("btrfs")
    left = host.run(
        'mount -o subvolid=5 "$1" "$2" && ls "$2" "$2/old" && chroot "$3" btrfs --version && find "$2"'
    ).split()
    assert not {"a", "b", "c", "d", "e"} & {name.rpartition("/")[2] for name in left}


def test_old_roots_are_kept_and_can_be_read(make_host: Callable[..., Host]) -> None:
    host = make_host("anicca.backend=btrfs anicca.keep=2")
    for number in range(5):
        host.boot(f"echo {number} > said; sync")
    said = host.run('mount -o subvolid=5 "$1" "$2" && cat "$2"/old/*/said').split()
    assert said[-2:] == ["2", "3"]


@pytest.mark.nightly
def test_of_nothing_but_age_they_go(make_host: Callable[..., Host]) -> None:
    host = make_host("anicca.backend=btrfs anicca.keep=9,1")
    for _ in range(2):
        host.boot("echo x > said; sync")
    host.run(
        'mount -o subvolid=5 "$1" "$2" && cd "$2/old" && for name in *; do mv "$name" "1000000000-${name#*-}"; done'
    )
    host.boot()
    left = host.run('mount -o subvolid=5 "$1" "$2" && ls "$2/old"').split()
    assert len(left) == 1
    assert not left[0].startswith("1000000000")


@pytest.mark.parametrize(
    "deed",
    [
        "btrfs property set blank ro false; btrfs subvolume delete blank",
        "btrfs property set blank ro false; touch blank/x",
    ],
)
def test_without_its_blank_subvolume_it_is_made_afresh(deed: str, make_host: Callable[..., Host]) -> None:
    host = make_host("anicca.backend=btrfs")
    host.boot()
    host.run(f'mount --bind "$3" "$2" && mount -o subvolid=5 "$1" "$2/mnt" && chroot "$2" sh -ec "cd /mnt; {deed}"')
    facts, root = host.boot()
    assert facts["outcome"] == "made-afresh"
    assert root == blank("btrfs")
