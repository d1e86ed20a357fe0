"""Nothing is missed, nothing is invented: one of everything is planted, and exactly that is found."""

from __future__ import annotations

import os
import socket
import stat
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.drift.baseline import open_baseline
from anicca.drift.examine import compare_to_baseline, examine, save_baseline
from anicca.drift.rules import SUSPICIOUS

if TYPE_CHECKING:
    from anicca.drift.findings import Findings

pytestmark = pytest.mark.integration

TERABYTE = 1 << 40


def planted_kinds(findings: Findings) -> set[tuple[bytes, str]]:
    return {(one.drift.path, one.drift.kind) for one in findings.found}


def rewrite_unnoticed(path: Path) -> None:
    """Change content, keep size and time."""
    seen = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def make_deep(top: Path, depth: int) -> None:
    """Directories in one another, each from the one before: the whole path is longer than any one call takes."""
    top.mkdir()
    fd = os.open(top, os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d" * 99, dir_fd=fd)
        deeper = os.open("d" * 99, os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def test_one_of_everything_is_found_by_its_kind_and_nothing_else(  # noqa: PLR0915 (one of everything)
    root: Path, tmp_path: Path
) -> None:
    for name in ("file", "moved", "gone", "linked", "capable", "listed", "tagged", "covered/below", "bound", "over/a"):
        (root / "srv" / name).parent.mkdir(exist_ok=True)
        (root / "srv" / name).write_text("content\n")
    (root / "srv/link").symlink_to("file")
    (root / "srv/sparse").touch()
    os.truncate(root / "srv/sparse", TERABYTE)
    baseline = tmp_path / "before.zst"
    began = time.monotonic()
    save_baseline(root, baseline)
    seconds_to_read = time.monotonic() - began
    before = open_baseline(baseline)
    assert planted_kinds(compare_to_baseline(root, before)) == set()

    expected: set[tuple[bytes, str]] = set()

    def plant(path: str | bytes, *kinds: str) -> None:
        expected.update((path.encode() if isinstance(path, str) else path, kind) for kind in kinds)

    srv = root / "srv"
    rewrite_unnoticed(root / "usr/bin/env")
    plant("/usr/bin/env", "content")
    (root / "usr/bin/env").chmod(0o4755)
    plant("/usr/bin/env", "mode")
    os.chown(root / "etc/hosts", 12, 34)
    plant("/etc/hosts", "owner", "group")
    (srv / "new").write_text("new")
    plant("/srv/new", "added")
    (srv / "empty").touch()
    plant("/srv/empty", "added")
    (srv / "empty.d").mkdir()
    plant("/srv/empty.d", "added")
    (srv / "gone").unlink()
    plant("/srv/gone", "removed")
    (srv / "moved").rename(srv / "renamed")
    plant("/srv/moved", "removed")
    plant("/srv/renamed", "added")
    (srv / "link").unlink()
    (srv / "link").symlink_to("/etc/shadow")
    plant("/srv/link", "target")
    (srv / "linked.too").hardlink_to(srv / "linked")
    plant("/srv/linked", "hard link")
    plant("/srv/linked.too", "added")
    os.setxattr(srv / "tagged", "user.note", b"planted")
    plant("/srv/tagged", "xattr")
    process.run(["setcap", "cap_net_raw+ep", srv / "capable"])
    plant("/srv/capable", "xattr")
    process.run(["setfacl", "-m", "u:daemon:r", srv / "listed"])
    plant("/srv/listed", "xattr")
    with socket.socket(socket.AF_UNIX) as listening:
        where = Path.cwd()
        os.chdir(srv)
        listening.bind("socket")
        os.chdir(where)
    plant("/srv/socket", "added")
    os.mkfifo(srv / "fifo")
    plant("/srv/fifo", "added")
    os.mknod(srv / "device", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    plant("/srv/device", "added")
    (root / "etc/motd").unlink()
    (root / "etc/motd").mkdir()
    plant("/etc/motd", "type")
    for odd in (b"new\nline", b"not \xff UTF-8", b"n" * 255):
        os.close(os.open(os.fsencode(srv) + b"/" + odd, os.O_CREAT | os.O_WRONLY))
        plant(b"/srv/" + odd, "added")
    make_deep(srv / "deep", 90)
    for depth in range(91):
        plant("/srv/deep" + f"/{'d' * 99}" * depth, "added")
    plant("/srv/deep" + f"/{'d' * 99}" * 90 + "/end", "added")
    with (srv / "sparse").open("r+b") as file:
        file.seek(TERABYTE // 2)
        file.write(b"x")
    plant("/srv/sparse", "content")

    with ExitStack() as mounted:
        mounted.callback(process.run, ["rm", "-r", srv / "deep"])

        def mount(*words: str | Path) -> None:
            process.run(["mount", *words])
            mounted.callback(process.run, ["umount", words[-1]])

        (srv / "covered/added before").touch()
        mount("-t", "tmpfs", "over", srv / "covered")
        (srv / "covered/in the tmpfs").touch()
        plant("/srv/covered", "mount")
        plant("/srv/covered/added before", "added")
        mount("--bind", root / "etc/passwd", srv / "bound")
        plant("/srv/bound", "mount")
        for name in ("upper", "work"):
            (tmp_path / name).mkdir()
        mount("-t", "overlay", "-o", f"lowerdir={srv}/over,upperdir={tmp_path}/upper,workdir={tmp_path}/work", "o",
              srv / "over")  # fmt: skip
        plant("/srv/over", "mount")
        began = time.monotonic()
        found = compare_to_baseline(root, before)
        seconds_to_compare = time.monotonic() - began

    assert planted_kinds(found) == expected
    assert found.sees_beneath
    assert seconds_to_read < 60
    assert seconds_to_compare < 60
    suspicious = {one.drift.path for one in found.drift if one.judgement.name == SUSPICIOUS}
    assert suspicious == {
        b"/usr/bin/env", b"/srv/capable", b"/srv/device", b"/srv/covered", b"/srv/bound", b"/srv/over",
    }  # fmt: skip


def test_a_file_that_changes_while_it_is_read_is_said_to_change(root: Path, tmp_path: Path) -> None:
    busy = root / "srv/busy"
    busy.write_bytes(bytes(64 << 20))
    baseline = tmp_path / "before.zst"
    save_baseline(root, baseline)
    program = "import os, sys\nwhile True: os.utime(sys.argv[1])"
    writer = process.start([sys.executable, "-c", program, busy], output=tmp_path / "log")
    try:
        found = compare_to_baseline(root, open_baseline(baseline))
    finally:
        writer.end()
    assert planted_kinds(found) == {(b"/srv/busy", "changing")}
    assert not found.drift
    assert [one.drift.path for one in found.unread] == [b"/srv/busy"]


def test_a_plain_debian_root_has_no_drift_from_dpkgs_records(debian_root: Path) -> None:
    findings = examine(debian_root)
    assert [(one.drift.kind, one.drift.path) for one in findings.drift] == []
    assert findings.declared > 5000


def test_what_dpkg_knows_is_found_without_a_baseline(root: Path) -> None:
    rewrite_unnoticed(root / "usr/bin/env")
    (root / "usr/bin/cat").unlink()
    (root / "usr/bin/cat").symlink_to("/tmp/cat")
    (root / "usr/bin/id").unlink()
    (root / "usr/bin/dd").chmod(0o4755)
    (root / "usr/bin/tty").chmod(0o777)
    os.chown(root / "usr/bin/yes", 1000, 0)
    (root / "etc/cron.d/evil").write_text("* * * * * root true\n")
    (root / "etc/ld.so.preload").write_text("/tmp/evil.so\n")
    (root / "etc/sudo.conf").write_text("changed\n")
    (root / "etc/alternatives/pager").unlink()
    (root / "etc/alternatives/pager").symlink_to("/tmp/pager")
    (root / "etc/systemd/system/multi-user.target.wants/debug-shell.service").symlink_to(
        "/usr/lib/systemd/system/debug-shell.service"
    )
    (root / "root/.ssh").mkdir(exist_ok=True)
    (root / "root/.ssh/authorized_keys").write_text("key\n")
    (root / "usr/lib/python3/dist-packages/evil.pth").parent.mkdir(parents=True, exist_ok=True)
    (root / "usr/lib/python3/dist-packages/evil.pth").write_text("import evil\n")
    (root / "var/lib/nobody").mkdir()
    process.run(["setcap", "cap_setuid+ep", root / "usr/bin/who"])

    found = examine(root)

    drift = {(one.drift.path.decode(), one.drift.kind): one.judgement.name for one in found.drift}
    assert drift == {
        ("/usr/bin/env", "content"): "suspicious",
        ("/usr/bin/cat", "type"): "suspicious",
        ("/usr/bin/id", "removed"): "software",
        ("/usr/bin/dd", "mode"): "suspicious",
        ("/usr/bin/tty", "mode"): "suspicious",
        ("/usr/bin/yes", "owner"): "suspicious",
        ("/etc/cron.d/evil", "added"): "suspicious",
        ("/etc/ld.so.preload", "added"): "suspicious",
        ("/etc/sudo.conf", "content"): "configuration",
        ("/etc/alternatives/pager", "target"): "configuration",
        ("/etc/systemd/system/multi-user.target.wants/debug-shell.service", "added"): "suspicious",
        ("/root/.ssh/authorized_keys", "added"): "suspicious",
        ("/usr/lib/python3/dist-packages/evil.pth", "added"): "suspicious",
        ("/usr/bin/who", "xattr"): "suspicious",
        ("/usr/lib/python3", "added"): "software",
        ("/usr/lib/python3/dist-packages", "added"): "software",
        ("/var/lib/nobody", "added"): "state",
    }


def test_looking_moves_no_access_time_and_writes_nothing(root: Path, tmp_path: Path) -> None:
    old = time.time_ns() - 10 * 86400 * 10**9
    watched = [root / "usr/bin/env", root / "usr/bin", root / "usr/bin/awk", root / "etc/passwd"]
    for path in watched:
        os.utime(path, ns=(old, path.lstat().st_mtime_ns), follow_symlinks=False)
    before = [path.lstat() for path in watched]
    save_baseline(root, tmp_path / "b.zst")
    examine(root)
    after = [path.lstat() for path in watched]
    assert [one.st_atime_ns for one in after] == [one.st_atime_ns for one in before] == [old] * len(watched)
    assert [one.st_ctime_ns for one in after] == [one.st_ctime_ns for one in before]


def test_what_cannot_be_read_is_never_no_drift(root: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "before.zst"
    (root / "srv/secret").mkdir(mode=0o700)
    (root / "srv/secret/file").write_text("x")
    (root / "srv/hidden").write_text("x")
    (root / "srv/hidden").chmod(0o600)
    os.chown(root / "srv/secret", 12, 12)
    os.chown(root / "srv/hidden", 12, 12)
    save_baseline(root, baseline)
    done = process.run(
        [
            # Root without root's rights.
            *("setpriv", "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-m", "anicca", "--json"),
            *("baseline", "compare", baseline, "--root", root),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.status == 1, done.stderr
    for path in ('"/srv/secret"', '"/srv/hidden"'):
        assert path in done.text


def test_without_proc_nothing_is_looked_at(tmp_path: Path) -> None:
    script = "from anicca.drift.scan import Scan; import sys; sys.exit(len(list(Scan(sys.argv[1].encode()))))"
    hidden = 'mount -t tmpfs none /proc && exec "$@"'
    done = process.run(
        ["unshare", "--mount", "sh", "-c", hidden, "sh", sys.executable, "-c", script, tmp_path], check=False
    )
    assert done.status == 1
    assert b"without /proc no extended attributes can be read" in done.stderr
