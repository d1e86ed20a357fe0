"""What cannot be built is said, with the path or the command that mends it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.declare.load import evaluate
from anicca.declare.spec import DirectorySpec, FileSpec
from anicca.errors import AniccaError, DeclarationError
from anicca.store import LocalStore
from anicca.store.verify import verify
from anicca.system.build import realise
from anicca.system.locking import require_lock
from anicca.system.plan import plan_system

if TYPE_CHECKING:
    from tests.integration.system.conftest import BuiltHost

    from anicca.declare.spec import EntrySpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAA\n"
EXAMPLE = Path(__file__).parents[3] / "examples/sundryvm/host.py"


def build_with(host: BuiltHost, entry: EntrySpec, part: str) -> str:
    """What the build of one part says about one more declared path."""
    spec = dataclasses.replace(host.spec, files=(*host.spec.files, entry))
    plan = plan_system(spec, host.lock)
    with pytest.raises(AniccaError) as caught:
        realise(host.store, [getattr(plan, part)], plan.environment, host.fetcher)
    return f"{caught.value}\n{caught.value.detail}"


@pytest.mark.parametrize(
    ("entry", "part", "words"),
    [
        (
            FileSpec(path="/etc/os-release/x", content=b""),
            "etc",
            "/etc/os-release/x: /etc/os-release is a symlink of the tree, not a directory",
        ),
        (
            FileSpec(path="/var/run/x", content=b""),
            "seed",
            "/var/run/x: /var/run is a symlink of the tree, not a directory",
        ),
        (FileSpec(path="/etc/ssl", content=b""), "etc", "/etc/ssl: is a directory in the tree, declared as a file"),
        (DirectorySpec(path="/etc/passwd"), "etc", "/etc/passwd: is a file in the tree, declared as a directory"),
        (
            FileSpec(path="/etc/ssh/my_key", content=KEY),
            "etc",
            "/etc/ssh/my_key: looks like a private key, which must never be in the store",
        ),
        (
            FileSpec(path="/srv/key", content=b"\n" + KEY),
            "seed",
            "/srv/key: looks like a private key, which must never be in the store",
        ),
    ],
)
def test_what_does_not_fit_the_tree_is_named(built_host: BuiltHost, entry: EntrySpec, part: str, words: str) -> None:
    assert words in build_with(built_host, entry, part)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE.parent, tmp_path / "host")
    return tmp_path / "host" / EXAMPLE.name


def faults_of(file: Path) -> list[tuple[str, str | None]]:
    with pytest.raises(DeclarationError) as caught:
        require_lock(evaluate(file), file)
    return [(str(fault), fault.hint) for fault in caught.value.faults]


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_host_without_a_lock_is_told_how_to_get_one(copy: Path) -> None:
    lock = copy.with_suffix(".lock")
    lock.unlink()
    assert faults_of(copy) == [(f"{lock}:1: this host has no lock yet", f"make it: anicca lock {copy}")]


def test_a_lock_that_lacks_a_package_names_it_and_the_command(copy: Path) -> None:
    edit(copy, '"less"', '"less", "chrony"')
    lock = copy.with_suffix(".lock")
    assert faults_of(copy) == [
        (
            f"{lock}:1: the lock is not this declaration's any more: it does not pin chrony",
            f"bring it up to date, moving no other pin: anicca lock {copy}",
        )
    ]


def test_a_lock_with_a_package_too_many_is_as_stale(copy: Path) -> None:
    edit(copy, ', "less"', "")
    ((message, hint),) = faults_of(copy)
    assert "other packages, release or components were asked for" in message
    assert hint == f"bring it up to date, moving no other pin: anicca lock {copy}"


def test_a_new_user_needs_an_id_from_the_lock(copy: Path) -> None:
    edit(copy, "users=[", 'users=[\n        User("bob"),')
    ((message, hint),) = faults_of(copy)
    assert message.endswith("the lock has no ids for bob")
    assert hint == f"allocate them, moving no other: anicca lock {copy}"


def test_an_undeclared_group_on_a_file_is_named_with_its_line(copy: Path) -> None:
    edit(copy.with_name("web.py"), "File(GREETING)", 'File(GREETING, group="wwwdata")')
    ((message, hint),) = faults_of(copy)
    assert "wwwdata" in message
    assert "web.py:" in message
    assert hint is not None
    assert "www-data" in hint


def test_a_full_disk_ends_the_build_and_the_next_one_goes_on(built_host: BuiltHost, tmp_path: Path) -> None:
    root = tmp_path / "small"
    root.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", root])
    try:
        goals = [built_host.plan.toolchain]
        with LocalStore.open(root) as store:
            with pytest.raises(AniccaError) as caught:
                realise(store, goals, built_host.plan.environment, built_host.fetcher)
            words = f"{caught.value}\n{caught.value.detail}"
            assert "no space left on" in words.lower() or "database or disk is full" in words
        with LocalStore.open(root) as store:
            assert verify(store, check_contents=True) == []
            before = len(store.all_valid())
            process.run(["mount", "-o", "remount,size=2g", root])
            realise(store, goals, built_host.plan.environment, built_host.fetcher)
            assert before > 20
            assert store.is_valid(built_host.plan.toolchain.out)
            assert verify(store, check_contents=True) == []
    finally:
        process.run(["umount", "--lazy", root])


@pytest.fixture
def as_nobody(tmp_path: Path) -> list[str]:
    """What runs a command as an ordinary user who may read the checkout and write here."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    home = tmp_path / "home"
    home.mkdir()
    for path in [home, *list(home.parents)[:-1]]:
        if path.stat().st_uid == os.geteuid() and "pytest" in str(path):
            path.chmod(0o755)
    os.chown(home, 65534, 65534)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    modules = f"{EXAMPLE.parents[2] / 'src'}:{sysconfig.get_path('purelib')}"
    words = [*user, "env", f"HOME={home}", f"ANICCA_CACHE={home}/cache", "PYTHONDONTWRITEBYTECODE=1"]
    words += [f"PYTHONPATH={modules}"]
    # Our own interpreter may lie in root's home.
    for python in (sys.executable, "/usr/bin/python3"):
        if process.run([*words, python, "-c", "import anicca, click"], check=False).status == 0:
            return [*words, python, "-m", "anicca", "--store", f"{home}/store"]
    pytest.skip("an ordinary user cannot run this checkout")


def test_an_ordinary_user_is_told_what_takes_root_before_anything_is_fetched(
    as_nobody: list[str], copy: Path, tmp_path: Path
) -> None:
    done = process.run([*as_nobody, "build", copy], check=False)
    words = done.stderr.decode()
    assert done.status == 1
    assert "you are not root, and 6 steps must be built as root: tree-trixie, " in words
    assert "use sudo, or copy what a machine has built that may" in words
    assert not (tmp_path / "home/cache").exists()
    assert not (tmp_path / "home/store").exists()


def test_an_ordinary_user_may_look(as_nobody: list[str], copy: Path) -> None:
    assert process.run([*as_nobody, "build", "--dry-run", copy]).text.count("\nunpack ") > 150
    assert "nginx-light" in process.run([*as_nobody, "show", copy]).text


UNPACK = """
import sys
from pathlib import Path
from anicca.debian.environment import BuildEnvironment, plan_package
from anicca.debian.fetch import Fetcher
from anicca.debian.lock import read_lock
from anicca.store import LocalStore
from anicca.system.build import realise
lock = read_lock(Path(sys.argv[1]))
pin = next(pin for pin in lock.packages if pin.name == "sudo")
contents = plan_package(pin, "x86_64-linux").contents
with LocalStore.open(Path(sys.argv[2]) / "store") as store:
    fetcher = Fetcher(cache=Path(sys.argv[2]) / "cache", find_mirrors=None, epoch=lock.epoch)
    realise(store, [contents], BuildEnvironment(system="x86_64-linux", toolchain=contents), fetcher)
    print(contents.out, store.info(contents.out).nar_hash)
"""


def test_what_an_ordinary_user_unpacks_is_the_same_to_the_bit(
    built_host: BuiltHost, as_nobody: list[str], tmp_path: Path
) -> None:
    package = next(package for package in built_host.plan.tree.packages if package.pin.name == "sudo")
    home = tmp_path / "home"
    cached = home / "cache/debs" / package.pin.sha256[:2] / f"{package.pin.sha256}.deb"
    cached.parent.mkdir(parents=True)
    shutil.copyfile(built_host.fetcher.path(package.pin), cached)
    script, lock = tmp_path / "unpack.py", home / "host.lock"
    script.write_text(UNPACK)
    shutil.copyfile(built_host.file.with_suffix(".lock"), lock)
    python = as_nobody[: as_nobody.index("-m")]
    said = process.run([*python, script, lock, home]).text
    assert said == f"{package.contents.out} {built_host.store.info(package.contents.out).nar_hash}\n"
