"""Generations on real directories: cut between any two steps, whatever boots is whole, and going on ends the same."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from tests.integration.system.switching.small import SmallHost, SystemText

from anicca import process
from anicca.errors import AniccaError, RefusedError
from anicca.store import StorePath
from anicca.store import gc as store_gc
from anicca.system.boot import Copy, Write, _named
from anicca.system.changes import Change, NoteGood, plan_blessed, plan_forgetting, plan_next, plan_return
from anicca.system.generations import Seen, plan_deletion
from anicca.system.switching.esp import read_esp
from anicca.system.switching.host import (
    HostPlaces,
    apply,
    check_name,
    check_whole,
    current_number,
    hold,
    keep_built,
    look,
    note_origins,
    read_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anicca.system.boot import Esp

pytestmark = pytest.mark.integration

NEW = SystemText(initrd="initrd 2")


class Cut(Exception):  # noqa: N818
    """The power is gone."""


def cut_after(count: int) -> Callable[[Change], None]:
    left = [count]

    def after(_change: Change) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise Cut

    return after


def check_bootable(places: HostPlaces, allowed: set[int]) -> None:
    """Every entry's files are there with the content that their names tell; what boots has its link and objects."""
    esp = read_esp(places.boot)
    for text in esp.entries.values():
        for path in _named(text):
            assert (places.boot / path).read_text().split()[0] in ("kernel", "initrd")
    following = esp.next_boot()
    assert following is not None
    assert following.generation in allowed
    generation = look(places, esp).get(following.generation)
    assert generation is not None, f"{following} has no link"
    check_whole(places, generation.system)
    assert (places.boot / "loader/entries/debian.conf").exists()


def plans() -> dict[str, Callable[[Seen, Esp, HostPlaces, SmallHost], Sequence[Change]]]:
    return {
        "next": lambda seen, esp, places, host: plan_next(
            seen, esp, host.workshop.system(NEW), places.want, current=current_number(places), now=9
        ),
        "return": lambda seen, esp, places, _host: plan_return(
            seen, esp, 1, places.want, current=current_number(places)
        ),
        "forget": lambda seen, esp, places, _host: plan_forgetting(
            seen, esp, plan_deletion(seen, numbers=[2]), places.want
        ),
    }


@pytest.mark.parametrize("name", ["next", "return", "forget"])
def test_cut_between_any_two_steps(new_host: Callable[[], SmallHost], name: str) -> None:
    count, done = 1, False
    while not done:
        host = new_host()
        for number in (1, 2, 3):
            host.add(SystemText(kernel=f"kernel {number}", initrd=f"initrd {number}0"))
        host.run(3)
        places = host.places

        def plan(host: SmallHost = host, places: HostPlaces = places) -> Sequence[Change]:
            esp = read_esp(places.boot)
            return plans()[name](look(places, esp), esp, places, host)

        steps = plan()
        done = count >= len(steps)
        with pytest.raises(Cut):
            apply(steps, places, after=cut_after(count))
        check_bootable(places, {3, 4} if name == "next" else {3, 1} if name == "return" else {3})
        if name == "forget" and look(places).get(2) is None:
            break
        apply(plan(), places)
        check_bootable(places, {4} if name == "next" else {1} if name == "return" else {3})
        assert not plan() if name != "forget" else look(places).get(2) is None
        count += 1
    assert count > 2


def test_each_file_is_durable_under_its_last_name(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What FAT takes: to sync a file before it is renamed, as other filesystems want it, and again afterwards."""
    synced: list[str] = []

    def sync(fd: int, fsync: Callable[[int], None] = os.fsync) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 (text)
        fsync(fd)

    system = host.workshop.system(SystemText(kernel="kernel 2", initrd="initrd 2"))
    esp = read_esp(host.places.boot)
    steps = plan_next(look(host.places, esp), esp, system, host.places.want, current=1, now=5)
    monkeypatch.setattr(os, "fsync", sync)
    kinds = set()
    for step in steps:
        synced.clear()
        apply([step], host.places)
        if isinstance(step, (Copy, Write)):
            kinds.add(type(step))
            file = host.places.boot / step.path
            assert synced[-2:] == [str(file), str(file.parent)]
            assert synced[0] != str(file)
    assert kinds == {Copy, Write}


def test_killed_for_real(host: SmallHost) -> None:
    """A process that dies by SIGKILL between two steps; its lock dies with it."""
    system = host.workshop.system(NEW)
    places = host.places
    code = (
        "import os,sys; from pathlib import Path; from anicca.store import LocalStore, StorePath\n"
        "from anicca.system.changes import plan_next\n"
        "from anicca.system.switching.host import *\n"
        "from anicca.system.switching.esp import read_esp\n"
        "root=Path(sys.argv[1]); left=int(sys.argv[3])\n"
        "p=HostPlaces(store=LocalStore.open(root),boot=root/'boot',run=root/'run',command_line=root/'cmdline')\n"
        "def after(change):\n"
        "    global left; left-=1\n"
        "    if left==0: os.kill(os.getpid(),9)\n"
        "with hold(p,'boot'):\n"
        "    esp=read_esp(p.boot); s=StorePath.parse(sys.argv[2])\n"
        "    apply(plan_next(look(p,esp),esp,s,p.want,current=current_number(p),now=5),p,after=after)\n"
    )
    for count in range(1, 20):
        done = process.run([sys.executable, "-c", code, places.store.root, str(system), str(count)], check=False)
        check_bootable(places, {1, 2})
        if done.status == 0:
            break
        assert done.status == -9
    assert count > 1
    assert read_esp(places.boot).next_boot() is not None
    assert [one.number for one in look(places).generations] == [1, 2]
    assert current_number(places) == 2


def test_the_newest_again_is_no_new_generation(host: SmallHost) -> None:
    assert host.add(SystemText()) == 1
    assert host.add(NEW) == 2
    assert host.add(NEW) == 2


def test_a_number_is_never_given_twice(host: SmallHost) -> None:
    assert host.add(NEW) == 2
    places = host.places
    esp = read_esp(places.boot)
    apply(plan_return(look(places, esp), esp, 1, places.want, current=2), places)
    esp = read_esp(places.boot)
    seen = look(places, esp)
    apply(plan_forgetting(seen, esp, plan_deletion(seen, numbers=[2]), places.want), places)
    assert [one.number for one in look(places).generations] == [1]
    assert read_manifest(places, 2) is None
    assert host.add(NEW) == 3


def test_a_manifest_tells_what_it_was_made_from(host: SmallHost) -> None:
    manifest = read_manifest(host.places, 1)
    assert manifest is not None
    assert manifest["number"] == 1
    assert set(manifest) >= {"system", "spec", "packages", "anicca", "created"}


def test_who_may_not_is_told_what_it_takes(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: object) -> int:
        raise PermissionError

    monkeypatch.setattr("anicca.system.switching.host.locks.open_lock", refuse)
    with pytest.raises(AniccaError, match="anicca boot changes this host, which takes root"), hold(host.places, "boot"):
        pass


def test_a_manifest_tells_where_a_system_built_here_was_declared(host: SmallHost) -> None:
    system = host.workshop.system(NEW)
    origins = {"files[/etc/motd]": ("host.py:9", "more.py:3")}
    note_origins(host.places.run, system, origins)
    number = host.add(NEW)
    manifest = read_manifest(host.places, number)
    assert manifest is not None
    assert manifest["origins"] == {"files[/etc/motd]": ["host.py:9", "more.py:3"]}
    # Of another system nothing is said.
    later = read_manifest(host.places, host.add(SystemText(initrd="initrd 3")))
    assert later is not None
    assert "origins" not in later


def test_what_was_built_elsewhere_gets_no_tools_of_another_build(host: SmallHost) -> None:
    places, store = host.places, host.places.store
    here, elsewhere = (host.workshop.system(SystemText(initrd=f"initrd {word}")) for word in "ab")
    keep_built(store, places.run, here, host.workshop.system(SystemText(name="tools")))
    keep_built(store, places.run, elsewhere, StorePath.parse(f"/nix/store/{'0' * 32}-tools"))
    host.add(SystemText(initrd="initrd b"))
    assert list((store.state_dir / "gcroots").glob("anicca-tools-*")) == []


def test_what_built_a_generation_here_stays_with_it(host: SmallHost) -> None:
    places, store = host.places, host.places.store
    system, other = (host.workshop.system(SystemText(initrd=f"initrd {word}")) for word in "ab")
    tools, unused = (host.workshop.system(SystemText(name=word)) for word in ("tools", "unused"))
    keep_built(store, places.run, system, tools)
    first = host.add(SystemText(initrd="initrd a"))
    # As after a boot.
    (places.run / "built").unlink()
    (places.run / "tools").unlink()
    second = host.add(SystemText(initrd="initrd b"))

    def collect() -> list[bool]:
        store.close()
        store_gc.collect(store)
        return [store.is_valid(path) for path in (system, tools, other, unused)]

    assert collect() == [True, True, True, False]
    esp = read_esp(places.boot)
    seen = look(places, esp)
    doomed = plan_deletion(seen, numbers=(first,), keep=None, older_than_seconds=None, now=0)
    apply(plan_forgetting(seen, esp, doomed, places.want), places)
    assert collect() == [False, False, True, False]
    assert [path.name for path in (store.state_dir / "gcroots").glob("anicca-tools-*")] == []
    assert {one.number for one in look(places).generations} == {1, second}


def test_what_runs_is_kept_from_the_collector_although_no_generation_has_it(host: SmallHost) -> None:
    places = host.places
    tried = host.workshop.system(NEW)
    other = host.workshop.system(SystemText(initrd="initrd 3"))
    (places.run / "system").unlink()
    (places.run / "system").symlink_to(str(tried))
    with hold(places, "gc"):
        pass
    places.store.close()
    store_gc.collect(places.store)
    assert places.store.is_valid(tried)
    assert not places.store.is_valid(other)


def test_two_at_once(host: SmallHost) -> None:
    with (
        hold(host.places, "switch"),
        pytest.raises(RefusedError, match="anicca switch, process"),
        hold(host.places, "gc"),
    ):
        raise AssertionError
    with hold(host.places, "gc"):
        pass


def test_a_damaged_system_is_refused(host: SmallHost) -> None:
    store = host.places.store
    system = host.workshop.system(SystemText(packages={"p": ("1", {"/usr/bin/p": "x"})}))
    check_whole(host.places, system)
    lost = next(p for p in store.closure([system]) if p != system)
    file = store.physical(lost) / "usr/bin/p"
    file.chmod(0o644)
    file.write_text("y")
    file.chmod(0o444)
    with pytest.raises(RefusedError, match="nothing was changed") as refused:
        check_whole(host.places, system)
    assert str(refused.value.detail) == f"{lost}: changed since it was registered"
    # What runs shares it: it is not read again, but it must be there.
    check_whole(host.places, system, beside=system)
    store.physical(lost).rename(store.root / "lost")
    with pytest.raises(RefusedError, match="1 objects") as refused:
        check_whole(host.places, system, beside=system)
    assert str(refused.value.detail) == f"{lost}: gone"


@pytest.mark.parametrize("text", [SystemText(name="other"), SystemText(parameters="rw anicca.nix=PARTUUID=2")])
def test_another_hosts_system_is_refused(host: SmallHost, text: SystemText) -> None:
    system = host.places.system(host.workshop.system(text))
    with pytest.raises(RefusedError):
        check_name(host.places, system)
    check_name(host.places, system, force=True)


def test_nothing_before_the_first(host: SmallHost) -> None:
    esp = read_esp(host.places.boot)
    with pytest.raises(AniccaError, match="no generation before"):
        plan_return(look(host.places, esp), esp, None, host.places.want, current=1)


def test_proven_good_it_is_what_comes_if_the_next_fails(host: SmallHost) -> None:
    places = host.places
    host.add(NEW)
    apply([NoteGood(number=2)], places)
    host.add(SystemText(initrd="initrd 3"))
    (entry,) = [name for name in read_esp(places.boot).entries if name.generation == 3]
    assert (entry.rank, entry.left) == (0, 3)
    path = places.boot / "loader/entries" / str(entry)
    path.rename(path.with_name("anicca-3+0-3.conf"))
    following = read_esp(places.boot).next_boot()
    assert following is not None
    assert following.generation == 2


def test_a_healthy_boot_is_remembered_once(host: SmallHost) -> None:
    places = host.places
    host.add(NEW)
    host.run(2)
    esp = read_esp(places.boot)
    steps = plan_blessed(look(places, esp), esp)
    assert [type(step).__name__ for step in steps] == ["NoteGood", "Write", "Delete"]
    apply(steps, places)
    esp = read_esp(places.boot)
    seen = look(places, esp)
    assert seen.good == 2
    assert (places.boot / "loader/entries/anicca-2.conf").exists()
    assert plan_blessed(seen, esp) == ()
