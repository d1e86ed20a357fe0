"""Locks against an archive of our own, by real apt."""

from __future__ import annotations

import dataclasses
import email.utils
import hashlib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from anicca.debian import apt as private_apt
from anicca.debian.apt import open_apt
from anicca.debian.archive import Mirrors
from anicca.debian.fetch import Fetcher
from anicca.debian.lock import Lock, diff_pins
from anicca.debian.resolve import TOOLCHAIN
from anicca.declare.root import F2fs, Zfs
from anicca.declare.spec import DiskSpec, Kernel, Spec
from anicca.errors import AniccaError, DeclarationError, Place, UsageError
from anicca.events import Event, Notice
from anicca.system.locking import resolve, wish_of
from anicca.system.successors import find_successors

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

pytestmark = pytest.mark.integration

EPOCH = 1_795_000_000
REAL_SOURCES = private_apt.sources


@dataclass(slots=True, kw_only=True)
class Suite:
    """A suite's packages by component, and its date."""

    archive: str
    name: str
    date: int
    stanzas: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, version: str, *lines: str, component: str = "main") -> None:
        pool = "pool/updates" if self.archive.endswith("security") else "pool"
        digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
        filename = f"{pool}/{component}/{name}_{version}_amd64.deb"
        stanza = [f"Package: {name}", f"Version: {version}", "Architecture: amd64", *lines]
        stanza += [f"Filename: {filename}", "Size: 10", f"SHA256: {digest}", f"Description: {name}"]
        self.stanzas.setdefault(component, []).append("\n".join(stanza) + "\n")

    def drop(self, name: str, version: str) -> None:
        head = f"Package: {name}\nVersion: {version}\n"
        for component, found in self.stanzas.items():
            self.stanzas[component] = [stanza for stanza in found if not stanza.startswith(head)]

    def files(self) -> dict[str, bytes]:
        found = {}
        rows = ""
        for component in ("main", "contrib"):
            text = "\n".join(self.stanzas.get(component, [])).encode()
            path = f"{component}/binary-amd64/Packages"
            found[f"{self.archive}/dists/{self.name}/{path}"] = text
            rows += f" {hashlib.sha256(text).hexdigest()} {len(text)} {path}\n"
        date = email.utils.formatdate(self.date, usegmt=True).replace("GMT", "UTC")
        found[f"{self.archive}/dists/{self.name}/Release"] = (
            f"Origin: Debian\nSuite: {self.name}\nCodename: {self.name}\nDate: {date}\n"
            f"Architectures: amd64\nComponents: main contrib\nSHA256:\n{rows}"
        ).encode()
        return found


@dataclass(slots=True, kw_only=True)
class World:
    """Our archive, and a host that is locked against it."""

    served: dict[str, bytes]
    mirrors: Mirrors
    directory: Path
    main: Suite
    security: Suite
    events: list[Event] = field(default_factory=list)

    def publish(self) -> None:
        updates = Suite(archive="debian", name="trixie-updates", date=EPOCH)
        for suite in (self.main, updates, self.security):
            self.served.update(suite.files())

    def lock(self, host: Spec, old: Lock | None = None, update: Collection[str] | None = None) -> Lock:
        self.publish()
        return resolve(
            host,
            old,
            apt_directory=self.directory,
            mirrors=self.mirrors,
            update=update,
            report=self.events.append,
        )


def spec(*packages: str, components: tuple[str, ...] = ("main",)) -> Spec:
    return Spec(
        name="web",
        components=components,
        kernel=Kernel(package="linux-image-amd64"),
        packages=("linux-image-amd64", *packages),
        timezone="UTC",
        locale="C.UTF-8",
        root=F2fs(),
        disk=DiskSpec(esp_bytes=0, nix_bytes=0, root_bytes=0),
        origins={f"packages[{name}]": (Place("host.py", 7 + at),) for at, name in enumerate(packages)},
    )


@pytest.fixture
def world(archive: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(
        private_apt,
        "sources",
        lambda wish, mirrors: REAL_SOURCES(wish, mirrors).replace("signed-by=", "trusted=yes signed-by="),
    )
    address, served = archive.address, archive.files  # type: ignore[attr-defined]
    main = Suite(archive="debian", name="trixie", date=EPOCH)
    security = Suite(archive="debian-security", name="trixie-security", date=EPOCH + 86_400)
    for name in sorted({*TOOLCHAIN, "base-files", "linux-image-amd64"}):
        main.add(name, "1", *(["Essential: yes"] if name == "base-files" else []))
    main.add("libfoo", "1.0")
    main.add("foo", "1.0", "Depends: libfoo (>= 1.0)", "Recommends: unwanted")
    main.add("bar", "1.0", "Depends: libfoo")
    main.add("unwanted", "1.0")
    main.add("postfix", "3", "Provides: mail-transport-agent")
    main.add("exim4", "4", "Provides: mail-transport-agent")
    main.add("firmware", "1", component="contrib")
    mirrors = Mirrors(bases={"debian": f"{address}/debian", "debian-security": f"{address}/debian-security"})
    return World(served=served, mirrors=mirrors, directory=tmp_path / "apt", main=main, security=security)


def versions(lock: Lock) -> dict[str, str]:
    return {pin.name: pin.version for pin in lock.packages}


def moves(old: Lock, new: Lock) -> list[str]:
    return [f"{change.name} {change.old} {change.new}" for change in diff_pins(old.packages, new.packages)]


def test_the_closure_is_essential_packages_and_what_was_asked_for_without_recommends(world: World) -> None:
    made = world.lock(spec("foo"))
    # apt counts itself as essential.
    assert versions(made) == {"apt": "1", "base-files": "1", "foo": "1.0", "libfoo": "1.0", "linux-image-amd64": "1"}
    assert {pin.name for pin in made.toolchain} == {*TOOLCHAIN, "base-files"}


def test_the_epoch_is_the_newest_indexs_so_that_a_snapshot_of_then_has_every_pin(world: World) -> None:
    assert world.lock(spec("foo")).epoch == EPOCH + 86_400


def test_the_security_suite_wins_by_default(world: World) -> None:
    world.security.add("libfoo", "1.1")
    (pin,) = [pin for pin in world.lock(spec("foo")).packages if pin.name == "libfoo"]
    assert (pin.version, pin.archive, pin.filename) == (
        "1.1",
        "debian-security",
        "pool/updates/main/libfoo_1.1_amd64.deb",
    )


def test_a_new_index_alone_moves_nothing_and_not_even_the_epoch(world: World) -> None:
    old = world.lock(spec("foo"))
    world.security.date += 86_400
    world.security.add("libfoo", "1.1")
    assert world.lock(spec("foo"), old) == old


def test_an_added_package_moves_no_other(world: World) -> None:
    old = world.lock(spec("foo"))
    world.security.add("libfoo", "1.1")
    assert moves(old, world.lock(spec("foo", "bar"), old)) == ["bar None 1.0"]


def test_update_of_one_package_moves_that_one(world: World) -> None:
    old = world.lock(spec("foo", "bar"))
    world.security.date += 86_400
    for name in ("libfoo", "bar"):
        world.security.add(name, "1.1")
    new = world.lock(spec("foo", "bar"), old, update=["bar"])
    assert moves(old, new) == ["bar 1.0 1.1"]
    assert new.epoch == EPOCH + 2 * 86_400


def test_update_of_a_package_that_is_not_pinned_is_refused_with_near_ones(world: World) -> None:
    old = world.lock(spec("foo", "bar"))
    with pytest.raises(UsageError, match="the lock has no libfo that could be updated") as caught:
        world.lock(spec("foo", "bar"), old, update=["libfo", "bar"])
    assert caught.value.faults[0].hint == "did you mean libfoo?"


def test_update_of_all_moves_all(world: World) -> None:
    old = world.lock(spec("foo", "bar"))
    for name in ("libfoo", "bar", "mtools"):
        world.security.add(name, "1.1")
    new = world.lock(spec("foo", "bar"), old, update=[])
    assert moves(old, new) == ["bar 1.0 1.1", "libfoo 1.0 1.1"]
    assert [change.name for change in diff_pins(old.toolchain, new.toolchain)] == ["mtools"]


def test_a_pin_that_the_mirror_has_dropped_moves_and_the_others_stay(world: World) -> None:
    old = world.lock(spec("foo", "bar"))
    world.main.drop("libfoo", "1.0")
    world.main.add("libfoo", "1.2")
    world.security.add("bar", "1.1")
    assert moves(old, world.lock(spec("foo", "bar"), old)) == ["libfoo 1.0 1.2"]


def test_what_an_updated_package_needs_moves_with_it_and_is_said(world: World) -> None:
    old = world.lock(spec("foo", "bar"))
    world.security.add("libfoo", "1.1")
    world.security.add("bar", "1.1")
    world.security.add("foo", "1.1", "Depends: libfoo (>= 1.1)")
    assert moves(old, world.lock(spec("foo", "bar"), old, update=["foo"])) == ["foo 1.0 1.1", "libfoo 1.0 1.1"]
    assert Notice(text="moved too, because others need it: libfoo") in world.events


def test_a_package_that_does_not_exist_is_named_with_near_ones_and_its_line(world: World) -> None:
    with pytest.raises(DeclarationError) as caught:
        world.lock(spec("libfo", "foo", "zzzzzz"))
    near, far = caught.value.faults
    assert str(near) == "host.py:7: trixie has no package 'libfo' in main"
    assert near.hint == "did you mean libfoo?"
    assert str(far) == "host.py:9: trixie has no package 'zzzzzz' in main"
    assert caught.value.exit_status == 3


def test_a_name_that_others_provide_is_no_package_and_they_are_listed(world: World) -> None:
    with pytest.raises(DeclarationError) as caught:
        world.lock(spec("mail-transport-agent"))
    (fault,) = caught.value.faults
    assert str(fault) == "host.py:7: 'mail-transport-agent' is no package of trixie but a name that others provide"
    assert fault.hint == "choose one of exim4, postfix"


def test_packages_that_conflict_are_told_in_apts_words(world: World) -> None:
    world.main.add("anti-foo", "1", "Conflicts: foo")
    with pytest.raises(AniccaError, match="no way to install the declared packages together") as caught:
        world.lock(spec("foo", "anti-foo"))
    assert "anti-foo" in str(caught.value.detail)


def test_components_are_asked_for_and_no_others(world: World) -> None:
    with pytest.raises(DeclarationError, match="no package 'firmware' in main"):
        world.lock(spec("firmware"))
    assert versions(world.lock(spec("firmware", components=("main", "contrib"))))["firmware"] == "1"


def test_a_mirror_that_does_not_answer_fails_the_lock_in_apts_words(world: World) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    world.mirrors = Mirrors(
        bases={"debian": f"http://127.0.0.1:{port}/debian", "debian-security": f"http://127.0.0.1:{port}/security"}
    )
    with pytest.raises(AniccaError, match="the package indexes of trixie could not be fetched") as caught:
        world.lock(spec("foo"))
    assert f"127.0.0.1:{port}" in str(caught.value.detail)
    assert "ANICCA_MIRROR" in str(caught.value.faults[0].hint)


def test_one_suite_that_is_gone_fails_the_lock_and_old_indexes_are_not_taken(world: World) -> None:
    world.lock(spec("foo"))
    world.publish()
    for path in [path for path in world.served if "trixie-security" in path]:
        del world.served[path]
    with pytest.raises(AniccaError, match="could not be fetched") as caught:
        resolve(spec("foo"), None, apt_directory=world.directory, mirrors=world.mirrors, update=None)
    assert "trixie-security" in str(caught.value.detail)


def test_an_archive_without_a_signature_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_apt, "sources", REAL_SOURCES)
    with pytest.raises(AniccaError, match="could not be fetched") as caught:
        world.lock(spec("foo"))
    assert "not signed" in str(caught.value.detail)


def test_what_took_a_pins_place_is_found_in_the_index_and_its_date_at_the_mirror(world: World, tmp_path: Path) -> None:
    old = world.lock(spec("foo", "bar"))
    world.main.drop("libfoo", "1.0")
    world.main.add("libfoo", "1.2+deb13u1")
    world.main.drop("bar", "1.0")
    world.publish()
    world.served["debian/pool/main/libfoo_1.2%2Bdeb13u1_amd64.deb"] = b"newer"
    fetcher = Fetcher(cache=tmp_path, find_mirrors=lambda: world.mirrors, epoch=EPOCH)
    gone = [pin for pin in old.packages if pin.name in {"libfoo", "bar", "foo"}]
    assert find_successors(spec("foo", "bar"), world.directory)(gone, fetcher) == {
        "bar": "no longer in the archive",
        "libfoo": "superseded by 1.2+deb13u1 since 2026-11-18",
    }


def test_two_at_once_wait_for_each_other(world: World) -> None:
    world.publish()
    first_is_in, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with open_apt(world.directory, wish_of(spec("foo")), world.mirrors):
            first_is_in.set()
            go_on.wait(30)

    holding = threading.Thread(target=hold)
    holding.start()
    first_is_in.wait(30)
    threading.Timer(0.5, go_on.set).start()
    with open_apt(world.directory, wish_of(spec("foo")), world.mirrors, world.events.append):
        assert go_on.is_set()
    holding.join()
    assert world.events[0] == Notice(text="waiting for another anicca that is asking apt")


def test_ids_of_the_old_lock_are_kept(world: World) -> None:
    old = dataclasses.replace(world.lock(spec("foo")), users={"ann": 1000}, groups={"ann": 1000})
    assert world.lock(spec("foo", "bar"), old).users == {"ann": 1000}


KERNEL = "6.12.118+deb13-amd64"


def with_zfs(world: World, *, version: str = "6.12.118-1") -> Spec:
    """A host with a root on ZFS, and what the archive must have for it: the kernel's headers in this version."""
    world.main.drop("linux-image-amd64", "1")
    world.main.add("linux-image-amd64", "1", f"Depends: linux-image-{KERNEL}")
    world.main.add(f"linux-image-{KERNEL}", "6.12.118-1")
    world.main.add(f"linux-headers-{KERNEL}", version, "Depends: kbuild")
    for name in ("kbuild", "gcc", "make"):
        world.main.add(name, "1")
    world.main.add("zfs-dkms", "2.3", component="contrib")
    world.main.add("zfsutils-linux", "2.3", component="contrib")
    return dataclasses.replace(spec("foo", components=("contrib", "main")), root=Zfs())


def test_what_builds_a_module_is_pinned_beside_the_tree_for_its_kernel(world: World) -> None:
    host = with_zfs(world)
    made = world.lock(host)
    names = {pin.name for pin in made.modules}
    assert {"zfs-dkms", "zfsutils-linux", "gcc", "make", "python3", f"linux-headers-{KERNEL}", "kbuild"} <= names
    assert not {"zfs-dkms", "zfsutils-linux", "gcc"} & versions(made).keys()
    assert world.lock(host, made) == made
    assert world.lock(spec("foo"), made).modules == ()


def test_the_modules_source_and_its_programs_move_together_and_the_headers_with_the_kernel(world: World) -> None:
    host = with_zfs(world)
    made = world.lock(host)
    world.security.add("zfs-dkms", "2.4", component="contrib")
    world.security.add("zfsutils-linux", "2.4", component="contrib")
    world.security.add("gcc", "2")
    world.security.add(f"linux-image-{KERNEL}", "6.12.118-2")
    world.security.add(f"linux-headers-{KERNEL}", "6.12.118-2", "Depends: kbuild")
    assert world.lock(host, made).modules == made.modules

    def moved(*names: str) -> list[str]:
        found = diff_pins(made.modules, world.lock(host, made, update=names).modules)
        return [f"{change.name} {change.new}" for change in found]

    assert moved("zfs-dkms") == ["zfs-dkms 2.4", "zfsutils-linux 2.4"]
    assert moved(f"linux-image-{KERNEL}") == [f"linux-headers-{KERNEL} 6.12.118-2"]


def test_headers_of_another_version_than_the_kernels_fail_the_lock(world: World) -> None:
    with pytest.raises(AniccaError, match=r"needs linux-headers-\S+ 6\.12\.118-1, and the archive has 6\.12\.118-2"):
        world.lock(with_zfs(world, version="6.12.118-2"))
