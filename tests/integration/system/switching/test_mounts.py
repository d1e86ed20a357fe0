"""/etc and /usr replaced under programs that never stop using them, in mount namespaces of their own."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from tests.integration.system.switching.small import Workshop

from anicca import process
from anicca.system.switching.mounts import mount_points

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

SETUP = """
import os, subprocess, sys, threading
from pathlib import Path
from anicca.errors import AniccaError
from anicca.system.switching.mounts import *
work = Path(sys.argv[1])
at, etc, usr = work / "at", work / "etc", work / "usr"
for place in (at, etc, usr):
    place.mkdir()
def put(name, path, *, first=False):
    with mounted_image(work / name, at):
        made = clone(at, read_only=True)
    attach(made, path) if first else replace(path, made)
    made.close()
put("etc-a", etc, first=True)
put("usr-a", usr, first=True)
"""

SWAPS = """
stop, failures, opened, ran, seen = threading.Event(), [], 0, 0, set()
def reader():
    global opened
    while not stop.is_set():
        try:
            seen.add((etc / "passwd").read_text())
            opened += 1
        except OSError as error:
            failures.append(f"open: {error}")
def runner():
    global ran
    while not stop.is_set():
        try:
            done = subprocess.run([str(usr / "bin/true")], check=False)
            if done.returncode:
                failures.append(f"status {done.returncode}")
            ran += 1
        except OSError as error:
            failures.append(f"exec: {error}")
threads = [threading.Thread(target=one) for one in (reader, reader, runner)]
for one in threads:
    one.start()
held = (etc / "passwd").open()
for number in range(50):
    which = "ba"[number % 2]
    put(f"etc-{which}", etc)
    put(f"usr-{which}", usr)
    assert (etc / "passwd").read_text() == which
stop.set()
for one in threads:
    one.join()
assert not failures, (len(failures), failures[:3])
assert seen == {"a", "b"}, seen
assert opened > 100 and ran > 20, (opened, ran)
assert held.read() == "a"  # who has a file open keeps it
here = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
assert here.count(str(etc)) == 1 and here.count(str(usr)) == 1, here
assert str(at) not in here
print(opened, ran)
"""

READ_ONLY = """
for change in (lambda: (etc / "new").write_text("x"), lambda: os.chmod(etc / "passwd", 0o777)):
    try:
        change()
    except OSError as error:
        assert error.errno == 30, error
    else:
        raise AssertionError("written")
"""

OTHERS = """
# A service with a mount namespace of its own sees the change, as all of systemd's do.
subprocess.run(["mount", "--make-rshared", "/"], check=True)
child = subprocess.Popen(["unshare", "-m", "--propagation", "slave", "sh", "-c",
    f"cat {etc}/passwd; echo; read line; cat {etc}/passwd; grep -c ' {etc} ' /proc/self/mountinfo"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
assert child.stdout.readline() == "a\\n"
put("etc-b", etc)
rest = child.communicate("go\\n")[0]
assert rest == "b1\\n", rest
"""

NOTHING_THERE = """
try:
    replace(work, clone(etc, read_only=True))
except AniccaError as error:
    print(error)
else:
    raise AssertionError
assert not os.path.ismount(work)
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Images of two /etc and two /usr."""
    workshop = Workshop.__new__(Workshop)
    workshop._work, workshop._count = tmp_path, 0
    busybox = shutil.which("busybox")
    assert busybox is not None
    for which in "ab":
        workshop.image(tmp_path / f"etc-{which}", {"/passwd": which})
        tree = tmp_path / f"usr-tree-{which}"
        (tree / "bin").mkdir(parents=True)
        shutil.copy2(busybox, tree / "bin/true")
        (tree / which).touch()
        process.run(["mkfs.erofs", "--quiet", tmp_path / f"usr-{which}", tree], timeout_seconds=60)
    return tmp_path


def alone(code: str, work: Path) -> str:
    """Run code in a mount namespace of its own; what it prints."""
    return process.run(["unshare", "-m", sys.executable, "-c", SETUP + code, work], timeout_seconds=300).text


def test_fifty_switches_under_a_loop_that_opens_and_executes(work: Path) -> None:
    alone(SWAPS, work)


def test_the_new_mount_is_read_only(work: Path) -> None:
    alone(READ_ONLY, work)


def test_services_with_namespaces_of_their_own_see_it(work: Path) -> None:
    alone(OTHERS, work)


def test_where_nothing_is_mounted_nothing_is_changed(work: Path) -> None:
    assert "mounting" in alone(NOTHING_THERE, work)


def test_mount_points_the_deepest_first() -> None:
    text = "".join(
        f"1 0 0:1 / {path} rw - ext4 x rw\n" for path in ("/", "/etc", "/etc/a/b", "/etcetera", "/etc/a\\040c")
    )
    assert mount_points(["/etc"], mountinfo=text) == ["/etc/a/b", "/etc/a c", "/etc"]
