"""A baseline that was touched is refused; one that was not says all there was."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path

import pytest
import zstandard

from anicca import process
from anicca.drift.baseline import open_baseline, read_lines
from anicca.drift.examine import compare_baselines, compare_to_baseline, save_baseline
from anicca.drift.facts import differences, facts_of
from anicca.drift.lines import from_line, path_of
from anicca.drift.scan import Options, Scan
from anicca.errors import AniccaError, RefusedError
from anicca.store.signature import generate

pytestmark = pytest.mark.integration


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with one of most things."""
    top = tmp_path / "tree"
    (top / "etc").mkdir(parents=True)
    (top / "etc/os-release").write_text('PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n')
    (top / "etc/hostname").write_text("one\n")
    for number in range(1500):
        (top / f"file-{number}").write_text(str(number))
    (top / "link").symlink_to(os.fsdecode(b"to \xff"))
    (top / "hard").hardlink_to(top / "file-1")
    os.mkfifo(top / "fifo")
    return top


def rewritten(baseline: Path, change: tuple[bytes, bytes]) -> None:
    packed = zstandard.ZstdDecompressor().stream_reader(baseline.read_bytes()).read()
    assert change[0] in packed
    baseline.write_bytes(zstandard.ZstdCompressor().compress(packed.replace(*change)))


def test_what_is_saved_is_what_a_scan_sees(tree: Path, tmp_path: Path) -> None:
    save_baseline(tree, tmp_path / "b")
    kept = [from_line(line) for line in b"".join(read_lines(open_baseline(tmp_path / "b"))).splitlines()]
    seen = list(Scan(os.fsencode(tree), Options(want=lambda _path: "sha256")))
    known = ("path", "mode", "uid", "gid", "mtime_ns", "rdev", "target", "xattrs", "digest")
    assert [[getattr(one, name) for name in known] for one, _ in kept] == [
        [getattr(one, name) for name in known] for one in seen
    ]
    assert [leader for one, leader in kept if one.path == b"/hard"] == [b"/file-1"]


@pytest.mark.parametrize(
    "change",
    [
        (b'"p":"/fifo"', b'"p":"/fofo"'),
        (b'"m":"0644"', b'"m":"4644"'),
        (b'"host": "one"', b'"host": "two"'),
        (b'{"seal": ', b'{"lies": '),
    ],
)
def test_an_altered_one_is_refused(tree: Path, tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    save_baseline(tree, tmp_path / "b")
    rewritten(tmp_path / "b", change)
    with pytest.raises(RefusedError):
        open_baseline(tmp_path / "b")


def test_one_that_was_cut_off_is_refused(tree: Path, tmp_path: Path) -> None:
    save_baseline(tree, tmp_path / "b")
    whole = (tmp_path / "b").read_bytes()
    for size in (len(whole) // 2, len(whole) - 1, 0):
        (tmp_path / "b").write_bytes(whole[:size])
        with pytest.raises(RefusedError):
            open_baseline(tmp_path / "b")


def test_what_is_no_baseline_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(zstandard.compress(b'{"hello": 1}\n'))
    with pytest.raises(AniccaError, match="not a baseline"):
        open_baseline(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"hello")
    with pytest.raises(RefusedError):
        open_baseline(tmp_path / "b")
    with pytest.raises(AniccaError, match="no such"):
        open_baseline(tmp_path / "nothing")


def test_a_signature_holds_for_its_key_only(tree: Path, tmp_path: Path) -> None:
    key, other = generate("ours"), generate("ours")
    save_baseline(tree, tmp_path / "signed", key=key)
    (tree / "fifo").unlink()
    save_baseline(tree, tmp_path / "plain")
    assert open_baseline(tmp_path / "signed", str(key.public)).signed_by == "ours"
    with pytest.raises(RefusedError, match="not signed by"):
        open_baseline(tmp_path / "signed", other.public)
    with pytest.raises(RefusedError, match="not signed"):
        open_baseline(tmp_path / "plain", key.public)
    # Whoever has no key can make the digest right, but not the signature.
    packed = zstandard.ZstdDecompressor().stream_reader((tmp_path / "plain").read_bytes()).read()
    seal = json.loads(packed.splitlines()[-1])["seal"]
    signature = open_baseline(tmp_path / "signed").seal.signature
    rewritten(tmp_path / "plain", (json.dumps(seal).encode(), json.dumps({**seal, "signature": signature}).encode()))
    with pytest.raises(RefusedError, match="not signed by"):
        open_baseline(tmp_path / "plain", key.public)


def test_two_machines_in_one_state_have_one_digest_whatever_their_times(tree: Path, tmp_path: Path) -> None:
    one = save_baseline(tree, tmp_path / "one")
    os.utime(tree / "file-7", ns=(1, 1))
    two = save_baseline(tree, tmp_path / "two")
    assert one.state == two.state
    assert one.sha256 != two.sha256
    (tree / "file-7").chmod(0o600)
    assert save_baseline(tree, tmp_path / "three").state != one.state
    found = compare_baselines(open_baseline(tmp_path / "one"), open_baseline(tmp_path / "three"))
    assert [(one.drift.path, one.drift.kind) for one in found.found] == [(b"/file-7", "mode")]


def test_one_of_another_host_is_named_as_such(tree: Path, tmp_path: Path) -> None:
    save_baseline(tree, tmp_path / "b")
    (tree / "etc/hostname").write_text("two\n")
    found = compare_to_baseline(tree, open_baseline(tmp_path / "b"))
    assert found.notes == ("the baseline is of another host: one, not two",)
    assert {one.drift.path for one in found.drift} == {b"/etc/hostname"}


def test_one_of_another_architecture_or_root_is_named_as_such(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    process.run(["cp", "-a", tree, other])
    for root, machine in ((tree, "amd64"), (other, "arm64")):
        (root / "var/lib/dpkg").mkdir(parents=True)
        status = f"Package: dpkg\nStatus: install ok installed\nArchitecture: {machine}\nVersion: 1\n\n"
        (root / "var/lib/dpkg/status").write_text(status)
    save_baseline(tree, tmp_path / "b")
    notes = compare_to_baseline(other, open_baseline(tmp_path / "b")).notes
    assert "the baseline is of another architecture: amd64, not arm64" in notes
    assert f"the baseline is of another root: {tree}, not {other}" in notes


def test_facts_that_an_older_baseline_lacks_are_no_difference(tree: Path) -> None:
    facts = facts_of(os.fsencode(tree))
    older = {name: value for name, value in facts.items() if name != "system"}
    assert differences(older, facts) == differences(facts, older) == differences(older, older) == []


def test_a_disk_below_the_root_is_visited_and_what_lies_beneath_it_is_found(tree: Path, tmp_path: Path) -> None:
    image, data = tmp_path / "disk", tree / "data"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    process.run(["mkfs.ext4", "-q", image])
    data.mkdir()
    (data / "beneath").write_text("forgotten")
    process.run(["mount", "-o", "loop", image, data])
    try:
        (data / "on disk").write_text("seen")
        save_baseline(tree, tmp_path / "b")
        paths = set(map(path_of, b"".join(read_lines(open_baseline(tmp_path / "b"))).splitlines()))
        assert {b"/data/on disk", b"/data/lost+found"} <= paths
        assert b"/data/beneath" not in paths
        (data / "on disk").write_text("new!")
        found = compare_to_baseline(tree, open_baseline(tmp_path / "b")).found
        inside = compare_to_baseline(tree, open_baseline(tmp_path / "b"), cross_mounts=False).found
    finally:
        process.run(["umount", data])
    assert [(one.drift.path, one.drift.kind, one.drift.hidden) for one in found] == [
        (b"/data/on disk", "content", False),
        (b"/data/beneath", "added", True),
    ]
    assert {(one.drift.path, one.drift.kind) for one in inside} >= {
        (b"/data/beneath", "added"),
        (b"/data/on disk", "removed"),
        (b"/data", "mount"),
    }


def test_few_open_files_are_enough_for_any_depth(tmp_path: Path) -> None:
    top = tmp_path / "deep"
    top.mkdir()
    fd = os.open(top, os.O_DIRECTORY)
    for depth in range(1500):
        for name in ("a", "b"):
            os.close(os.open(f"{depth}{name}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        for workers in (1, 2):
            seen = list(Scan(os.fsencode(top), Options(want=lambda _path: "sha256", workers=workers)))
            assert len(seen) == 1 + 1500 * 3
            assert not [one for one in seen if one.error]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        # pytest's own clean-up recurses.
        process.run(["rm", "-r", top])


def test_stopping_a_scan_ends_its_processes_and_closes_its_files(tree: Path) -> None:
    for number in range(3000):
        (tree / f"more-{number}").touch()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (a count)
    scan = Scan(os.fsencode(tree), Options(want=lambda _path: "sha256", workers=2))
    helpers = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    assert len(helpers) == 2
    next(iter(scan))
    scan.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 (a count)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_all_others_come_first_while_it_looks_and_not_longer(tree: Path) -> None:
    def priority(pid: int) -> str:
        return process.run(["ionice", "-p", str(pid)]).text.strip()

    before = priority(os.getpid())
    scan = Scan(os.fsencode(tree), Options(want=lambda _path: "sha256", workers=2, polite=True))
    entries = iter(scan)
    next(entries)
    helpers = [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and {priority(pid) for pid in helpers} != {"best-effort: prio 7"}:
        time.sleep(0.05)
    assert {priority(pid) for pid in (os.getpid(), *helpers)} == {"best-effort: prio 7"}
    assert len(helpers) == 2
    assert {os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, 0) for pid in helpers} == {5}
    assert len(list(entries)) > 1500
    assert priority(os.getpid()) == before
