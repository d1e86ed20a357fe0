"""A host that moves: live to a new system and not a path missing meanwhile; back from one that fails; by a reboot.

One machine, in order; each step asks the machine what must be true.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.vm.system.hosts import SECONDS, Declared, Mover

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(5400)]

MORE_FILES = ('"/srv/www/default/more.html": File("more\\n")',)
NOTES = ('Persist("/var/lib/notes", mode=0o750)',)
TICKER = 'timer("ticker", "/usr/bin/true", calendar="daily")'
GOOD = ('service("sleeper", "/usr/bin/sleep infinity", restart="no")', TICKER)
BAD = ('service("sleeper", "/usr/bin/false", restart="no")', TICKER)
UNWELL = (
    'Part(units=[Unit("check.service", "[Unit]\\nBefore=boot-complete.target\\n[Service]\\nType=oneshot\\n'
    'ExecStart=/usr/bin/false\\n[Install]\\nRequiredBy=boot-complete.target\\n")])'
)
HOSTS = {
    "b": Declared(motd="B\n", parts=GOOD, files=MORE_FILES, persist=NOTES),
    "c": Declared(motd="C\n", parts=BAD, files=MORE_FILES, persist=NOTES),
    "d": Declared(motd="D\n", packages=("tree",), parts=GOOD, files=MORE_FILES, persist=NOTES),
    "unwell": Declared(motd="U\n", parts=(UNWELL,)),
    "other": Declared(name="other"),
}
UNDER_WAY = '"ended": null'
SWITCHES = int(os.environ.get("ANICCA_SWITCHES", "50"))

LOOP = b"""
import os, subprocess
times = bad = 0
while not os.path.exists("/run/stop"):
    times += 1
    try:
        open("/etc/passwd").read()
        bad += subprocess.call(["/usr/bin/true"]) != 0
    except OSError as error:
        bad += 1
        print(error)
print(times, "times,", bad, "bad")
"""
TO_AND_FRO = Path(__file__).with_name("to_and_fro.py")
UNITS = (
    "systemctl list-units --state=active --plain --no-legend --type=service,socket,timer,mount,path,target"
    " | awk '{print $1}' | grep -Ev '^(systemd-tmpfiles-clean|user@|user-runtime-dir@|session-|run-user|looper)' | sort"
)
PIDS = "systemctl show --property=MainPID --value ssh nginx systemd-networkd systemd-resolved systemd-journald dbus"


def start_loop(mover: Mover) -> str:
    """Have a program open and execute without end; the main processes that run now."""
    mover.ask("rm -f /run/stop; cat > /run/loop.py", stdin=LOOP)
    mover.ask("systemd-run -q --unit=looper -p StandardOutput=truncate:/run/loop python3 /run/loop.py")
    return mover.ask(PIDS)


def end_loop(mover: Mover) -> str:
    """What the loop says at its end."""
    mover.ask("touch /run/stop; while systemctl -q is-active looper; do sleep 1; done")
    return mover.ask("cat /run/loop")


def test_a_host_moves_and_moves_back(start: Callable[..., AbstractContextManager[Mover]]) -> None:
    with start(HOSTS) as mover:
        a, b, c, d = (str(mover.systems[name]) for name in ("base", "b", "c", "d"))
        assert mover.generations() == {1: ["running", "booted", "next", "good"]}
        to_one_that_is_good(mover, b)
        live = mover.ask(UNITS)
        back_from_one_that_fails(mover, b, c)
        assert mover.ask(UNITS) == live

        # Booted into B it is what it was live, and B has proven good.
        mover.boot()
        assert mover.ask(UNITS) == live
        assert mover.generations() == {1: [], 2: ["running", "booted", "next", "good"]}
        entries = mover.ask("mount /dev/disk/by-partlabel/esp /mnt; ls /mnt/loader/entries; umount /mnt").split()
        assert entries == ["anicca-1-1.conf", "anicca-2.conf"]

        with_a_package_more(mover, d)
        to_and_fro(mover, b, d)

        # Back to A live, and what is not needed any more goes.
        mover.ask("anicca switch 1")
        assert mover.ask("cat /etc/motd") == "A"
        assert mover.ask("readlink /run/anicca/system") == a
        assert mover.ask("systemctl is-active sleeper || :") == "inactive"
        assert mover.ask("tree --version 2> /dev/null || echo gone") == "gone"
        assert c in json.loads(mover.ask("anicca --json gc --dry-run"))["objects"]

        undone(mover, str(mover.systems["unwell"]), b)
        lost(mover, b)
        killed(mover, b)
        refused(mover, c, str(mover.systems["other"]))


def to_one_that_is_good(mover: Mover, b: str) -> None:
    """Live to B, under a loop that opens and executes; what did not change keeps running."""
    before = start_loop(mover)
    plan = json.loads(mover.ask(f"anicca --json switch {b} --dry-run"))
    assert "replace /etc in place" in plan["live"]
    assert "start sleeper.service (the new system wants it)" in plan["live"]
    mover.ask(f"anicca switch {b}")
    assert end_loop(mover).endswith("times, 0 bad")
    assert mover.ask(PIDS) == before
    assert mover.ask("cat /etc/motd /srv/www/default/index.html /srv/www/default/more.html") == "B\nB\nmore"
    assert mover.ask("systemctl is-active sleeper.service ticker.timer") == "active\nactive"
    assert mover.ask("findmnt -no SOURCE /var/lib/notes").endswith("[/persist/var/lib/notes]")
    assert mover.ask("stat -c %a /var/lib/notes") == "750"
    assert mover.ask("touch /etc/x 2> /dev/null || echo refused") == "refused"
    assert mover.generations() == {1: ["booted", "good"], 2: ["running", "next"]}
    assert mover.ask(f"anicca switch {b}") == "nothing to do"


def back_from_one_that_fails(mover: Mover, b: str, c: str) -> None:
    """C's service fails: the host is B again, units and all, and B still boots next."""
    failed = mover.machine.run(f"anicca switch {c}", timeout_seconds=SECONDS, check=False)
    assert failed.status == 1
    assert "sleeper.service failed" in failed.stderr.decode()
    assert mover.ask("cat /etc/motd /srv/www/default/index.html; systemctl is-active sleeper") == "B\nB\nactive"
    assert mover.ask("readlink /run/anicca/system") == b
    assert mover.generations() == {1: ["booted", "good"], 2: ["running", "next"]}


def with_a_package_more(mover: Mover, d: str) -> None:
    """/usr is replaced under the same loop, and nothing restarts."""
    before = start_loop(mover)
    said = mover.ask(f"anicca switch {d}")
    assert end_loop(mover).endswith("times, 0 bad")
    assert "replace /usr in place" in said
    assert "restart" not in said
    assert "waits" not in said
    assert mover.ask(PIDS) == before
    assert mover.ask("tree --version").startswith("tree v")
    assert mover.generations() == {1: [], 2: ["booted", "good"], 3: ["running", "next"]}


def to_and_fro(mover: Mover, b: str, d: str) -> None:
    """Many switches, /usr and /etc each time: not once is a path missing, nothing restarts, no mount is left behind."""
    before = start_loop(mover)
    mounts = mover.ask("wc -l < /proc/self/mountinfo")
    program = f"PYTHONPATH=/etc/anicca/python python3 - {SWITCHES // 2} {d} {b}"
    mover.machine.run(program, stdin=TO_AND_FRO.read_bytes(), timeout_seconds=3 * SECONDS)
    said = end_loop(mover)
    assert said.endswith("times, 0 bad")
    assert int(said.split()[-4]) > SWITCHES
    assert mover.ask(PIDS) == before
    assert mover.ask("wc -l < /proc/self/mountinfo") == mounts


def undone(mover: Mover, unwell: str, b: str) -> None:
    """A health check that says no, and nobody who confirms: the host is A again, and nothing is left of the trial."""
    units, before = mover.ask(UNITS), mover.generations()
    failed = mover.machine.run(f"anicca switch {unwell}", timeout_seconds=SECONDS, check=False)
    assert failed.status == 1
    assert "check.service failed" in failed.stderr.decode()
    assert "GOING BACK FAILED" not in failed.stderr.decode()
    assert mover.ask("cat /etc/motd; systemctl is-system-running") == "A\nrunning"
    assert (mover.ask(UNITS), mover.generations()) == (units, before)

    alone = mover.machine.run(f"anicca switch {b} --confirm-within 5", timeout_seconds=SECONDS, check=False)
    assert alone.status == 1
    assert "nobody confirmed within 5 seconds" in alone.stderr.decode()
    assert mover.ask("cat /etc/motd; systemctl is-system-running; findmnt /var/lib/notes || :") == "A\nrunning"
    assert (mover.ask(UNITS), mover.generations()) == (units, before)


def lost(mover: Mover, b: str) -> None:
    """A terminal is lost in the middle of a switch: it goes on, who comes meanwhile is told, and it tells its end."""
    terminal = mover.on_a_terminal(f"anicca switch {b} --confirm-within 600")
    mover.ask(f"until grep -q '{UNDER_WAY}' /run/anicca/trial.json; do sleep 0.2; done")
    assert mover.ask("pgrep -f '[s]ystemd-run --quiet --wait'")
    terminal.kill()
    mover.ask("while pgrep -f '[s]ystemd-run --quiet --wait'; do sleep 0.2; done")
    assert f"to {b}: under way, process" in mover.ask("anicca status")
    second = mover.machine.run("anicca switch 1", timeout_seconds=SECONDS, check=False)
    assert second.status == 5
    assert "somebody else changes this host now: anicca switch, process" in second.stderr.decode()
    mover.ask("until anicca switch --confirm; do sleep 1; done")
    mover.ask(f"while grep -q '{UNDER_WAY}' /run/anicca/trial.json; do sleep 0.2; done")
    assert f"to {b}: done" in mover.ask("anicca status")
    assert mover.ask("cat /etc/motd; systemctl is-system-running") == "B\nrunning"
    assert "next" in mover.generations()[max(mover.generations())]
    mover.ask("anicca switch 1")


def killed(mover: Mover, b: str) -> None:
    """One that is killed as soon as /etc is new: the host is between two systems and says so; the next goes back."""
    units = mover.ask(UNITS)
    assert mover.stop_after("replace", b).startswith("stopped after replace /etc")
    mover.ask("systemctl kill --signal=KILL cut; while systemctl -q is-active cut; do sleep 0.2; done")
    assert mover.ask("cat /etc/motd; systemctl is-active sleeper || :") == "B\ninactive"
    assert "CUT OFF, the host is between two systems" in mover.ask("anicca status")
    mover.ask("anicca switch 1")
    assert mover.ask("cat /etc/motd; systemctl is-system-running; findmnt /var/lib/notes || :") == "A\nrunning"
    assert mover.ask(UNITS) == units
    assert "it was cut off; the host went back later" in mover.ask("anicca status")


def refused(mover: Mover, damaged: str, other: str) -> None:
    """What is damaged, another host's, or asked for by somebody who may not: said, before anything is touched."""
    before = mover.generations()
    mover.ask(
        f"mount --bind /nix /mnt; file=$(readlink {damaged}/etc.erofs); chmod u+w /mnt${{file#/nix}};"
        " printf x >> /mnt${file#/nix}; umount /mnt"
    )
    for command, says in (
        (f"anicca switch {damaged}", "damaged; nothing was changed"),
        (f"anicca boot {damaged}", "damaged; nothing was changed"),
        (f"anicca soft-reboot {damaged}", "damaged; nothing was changed"),
        (f"anicca switch {other}", "this host is mover, the system is other's"),
        (f"anicca boot {other}", "this host is mover, the system is other's"),
        ("runuser -u ann -- /etc/anicca/bin/anicca switch 1", "root"),
    ):
        done = mover.machine.run(command, timeout_seconds=SECONDS, check=False)
        assert done.status != 0
        assert says in done.stderr.decode(), done.stderr.decode()
    assert mover.ask("cat /etc/motd") == "A"
    assert mover.generations() == before
