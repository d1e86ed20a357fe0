"""A host that moves: live to a new system and not a path missing meanwhile; back from one that fails; by a reboot.

One machine, in order; each step asks the machine what must be true.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.store import LocalStore, StorePath
from anicca.store.export import export
from anicca.vm.machine import Machine, MachineConfig
from anicca.vm.probe import choose_accelerator
from anicca.vm.qemu import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(3600)]

SECONDS = 900
"""For one command in a guest under emulation, on a loaded machine."""
CACHE = Path(os.environ.get("ANICCA_TEST_CACHE") or Path.home() / ".cache/anicca-test") / "mover"

HOST = """\
from anicca.declare import Dhcp, Disk, F2fs, File, Host, Persist, User
from anicca.declare.services import nginx, ssh, sudo, tool
from anicca.declare.units import service, timer

host = Host(
    name="mover",
    packages=[{packages}],
    users=[User("ann", groups=["sudo"])],
    files={{"/etc/motd": File("{letter}\\n"){files}}},
    timezone="UTC",
    locale="C.UTF-8",
    network=Dhcp(),
    root=F2fs(compress_algorithm="zstd", lazytime=True),
    disk=Disk(esp="256M", nix="4G", root="1G"),
    persist=[{persist}],
    parts=[ssh(), sudo(), tool(), nginx(page="{letter}\\n"){parts}],
)
"""
MORE = {
    "packages": "",
    "files": ', "/srv/www/default/more.html": File("more\\n")',
    "persist": 'Persist("/var/lib/notes", mode=0o750)',
}
PARTS = ', service("sleeper", "{program}", restart="no"), timer("ticker", "/usr/bin/true", calendar="daily")'
HOSTS = {
    "a": HOST.format(letter="A", files="", packages="", persist="", parts=""),
    "b": HOST.format(letter="B", **MORE, parts=PARTS.format(program="/usr/bin/sleep infinity")),
    "c": HOST.format(letter="C", **MORE, parts=PARTS.format(program="/usr/bin/false")),
    "d": HOST.format(
        letter="D", **{**MORE, "packages": '"tree"'}, parts=PARTS.format(program="/usr/bin/sleep infinity")
    ),
}

LOOP = b"""
import os, subprocess
times = bad = 0
while not os.path.exists("/run/stop"):
    times += 1
    try:
        open("/etc/passwd").read()
        bad += subprocess.call(["/usr/bin/true"])
    except OSError as error:
        bad += 1
        print(error)
print(times, "times,", bad, "bad")
"""
UNITS = (
    "systemctl list-units --state=active --plain --no-legend --type=service,socket,timer,mount,path,target"
    " | awk '{print $1}' | sort"
)
PIDS = "systemctl show --property=MainPID --value ssh nginx systemd-networkd systemd-resolved systemd-journald dbus"
PASSING = re.compile(r"(systemd-tmpfiles-clean|user-runtime-dir@|user@|session-|run-user|apt-daily|looper).*")
"""Units that come and go by themselves."""


@dataclass(slots=True, kw_only=True)
class Mover:
    machine: Machine
    store: LocalStore
    systems: dict[str, StorePath]

    def ask(self, command: str, stdin: bytes | None = None) -> str:
        return self.machine.run(command, timeout_seconds=SECONDS, stdin=stdin).text.strip()

    def send(self, letter: str, has: str) -> None:
        """Copy what the host lacks of a system, as a person would."""
        lacking = self.store.closure([self.systems[letter]]) - self.store.closure([self.systems[has]])
        data = b"".join(export(self.store, sorted(lacking)))
        self.machine.run("anicca store import", stdin=data, timeout_seconds=SECONDS)

    def generations(self) -> dict[int, list[str]]:
        return {one["number"]: one["roles"] for one in json.loads(self.ask("anicca --json generations"))}

    def start_loop(self) -> str:
        """Have a program open and execute without end; the main processes that run now."""
        self.ask("rm -f /run/stop; cat > /run/loop.py", stdin=LOOP)
        self.ask("systemd-run -q --unit=looper -p StandardOutput=truncate:/run/loop python3 /run/loop.py")
        return self.ask(PIDS)

    def end_loop(self) -> str:
        """What the loop says at its end."""
        self.ask("touch /run/stop; while systemctl -q is-active looper; do sleep 1; done")
        return self.ask("cat /run/loop")

    def units(self) -> set[str]:
        return {unit for unit in self.ask(UNITS).split() if not PASSING.fullmatch(unit)}


def anicca(*words: str | Path) -> str:
    return process.run([sys.executable, "-m", "anicca", "--store", CACHE / "store", *words], timeout_seconds=3000).text


@pytest.fixture(scope="module")
def mover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mover]:
    """The host as A, booted."""
    if os.geteuid() != 0:
        pytest.skip("trees are built as root")
    systems = {}
    for letter, text in HOSTS.items():
        file = CACHE / letter / "host.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        lock = file.with_name("host.lock")
        if not lock.exists():
            if letter != "a":
                # Numbers that a host has stay its own.
                lock.write_bytes((CACHE / "a/host.lock").read_bytes())
            if letter in "ad":
                anicca("lock", file)
        systems[letter] = StorePath.parse(anicca("build", file).strip())
    work = tmp_path_factory.mktemp("mover")
    anicca("image", "-o", work / "disk.raw", CACHE / "a/host.py")
    config = MachineConfig(
        name="anicca-mover", disks=(Disk(path=work / "disk.raw"),), accelerator=choose_accelerator(CACHE)
    )
    with LocalStore.open(CACHE / "store") as store, Machine(config, run_dir=work) as machine:
        machine.start()
        machine.wait_for_ssh(timeout_seconds=SECONDS)
        machine.run("systemctl is-system-running --wait", timeout_seconds=SECONDS)
        yield Mover(machine=machine, store=store, systems=systems)


def test_a_host_moves_and_moves_back(mover: Mover) -> None:
    a, b, c, d = (str(mover.systems[letter]) for letter in "abcd")
    assert mover.generations() == {1: ["running", "booted", "next", "good"]}

    # Live to B, under a loop that opens and executes; what did not change keeps running.
    mover.send("b", has="a")
    before = mover.start_loop()
    plan = json.loads(mover.ask(f"anicca --json switch {b} --dry-run"))
    assert "replace /etc in place" in plan["live"]
    assert "start sleeper.service (the new system wants it)" in plan["live"]
    mover.ask(f"anicca switch {b}")
    assert mover.end_loop().endswith("times, 0 bad")
    assert mover.ask(PIDS) == before
    assert mover.ask("cat /etc/motd /srv/www/default/index.html /srv/www/default/more.html") == "B\nB\nmore"
    assert mover.ask("systemctl is-active sleeper.service ticker.timer") == "active\nactive"
    assert mover.ask("findmnt -no SOURCE /var/lib/notes").endswith("[/persist/var/lib/notes]")
    assert mover.ask("stat -c %a /var/lib/notes") == "750"
    assert mover.ask("touch /etc/x || echo refused") == "refused"
    assert mover.generations() == {1: ["booted", "good"], 2: ["running", "next"]}
    assert mover.ask(f"anicca switch {b}") == "nothing to do"
    live = mover.units()

    # C's service fails: the host is B again, units and all, and B still boots next.
    mover.send("c", has="b")
    failed = mover.machine.run(f"anicca switch {c}", timeout_seconds=SECONDS, check=False)
    assert failed.status == 1
    assert "sleeper.service failed" in failed.stderr.decode()
    assert mover.ask("cat /etc/motd /srv/www/default/index.html; systemctl is-active sleeper") == "B\nB\nactive"
    assert mover.ask("readlink /run/anicca/system") == b
    assert mover.generations() == {1: ["booted", "good"], 2: ["running", "next"]}
    assert mover.units() == live

    # Booted into B it is what it was live, and B has proven good.
    mover.machine.reboot()
    mover.machine.wait_for_ssh(timeout_seconds=SECONDS)
    mover.machine.run("systemctl is-system-running --wait", timeout_seconds=SECONDS)
    assert mover.units() == live
    assert mover.generations() == {1: [], 2: ["running", "booted", "next", "good"]}
    assert mover.ask("ls /boot/loader/entries").split() == ["anicca-1-1.conf", "anicca-2.conf"]

    # A package more: /usr is replaced under the same loop, and nothing restarts.
    mover.send("d", has="b")
    before = mover.start_loop()
    said = mover.ask(f"anicca switch {d}")
    assert mover.end_loop().endswith("times, 0 bad")
    assert "replace /usr in place" in said
    assert "restart" not in said
    assert "waits for a reboot: initrd: content changed" in said
    assert mover.ask(PIDS) == before
    assert mover.ask("tree --version").startswith("tree v")
    assert mover.generations() == {1: [], 2: ["booted", "good"], 3: ["running", "next"]}

    # Back to A live, and what is not needed any more goes.
    mover.ask("anicca switch 1")
    assert mover.ask("cat /etc/motd") == "A"
    assert mover.ask("readlink /run/anicca/system") == a
    assert mover.ask("systemctl is-active sleeper || :") == "inactive"
    assert mover.ask("tree --version 2> /dev/null || echo gone") == "gone"
    assert mover.generations() == {1: ["running", "next"], 2: ["booted", "good"], 3: []}
    assert c in json.loads(mover.ask("anicca --json gc --dry-run"))["objects"]
