"""How long a switch takes on a host, and what is down meanwhile; all in one guest.

    python -m bench.switch [--rounds N]

- A switch with nothing to do: on this machine, of a copy of the host's store and boot files, as an emulator's seconds
  say nothing. It stops and mounts nothing, so it is the whole command but for mounting the ESP.
- A switch that changes one file of /etc, beside one that changes a thousand: both boot files, link and trial included.
- How long nginx is down when a switch restarts it, beside `systemctl restart nginx`: from systemd's own clock, from
  leaving the active state to being in it again.
- A soft reboot beside a full one: from the command until all that starts has started.

Needs root and what building a host needs; hosts are built once and kept where tests keep theirs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.vm.system.hosts import CACHE, Declared, Mover, build, make_image, pack

from anicca import process
from anicca.disks.esp import FILES_DIRECTORY
from anicca.store import LocalStore, StorePath
from anicca.system.boot import ENTRIES
from anicca.system.changes import plan_next
from anicca.system.image import _staged_nix
from anicca.system.switching.esp import read_esp
from anicca.system.switching.host import HostPlaces, apply, current_number, look
from anicca.vm.machine import Machine, MachineConfig
from anicca.vm.probe import choose_accelerator
from anicca.vm.qemu import Disk

MANY = 1000

if TYPE_CHECKING:
    from collections.abc import Iterator


def files(first: int, rest: int) -> tuple[str, ...]:
    """The words that declare a thousand files of /etc, the first with a content of its own."""
    return (f'**{{f"/etc/many/{{n}}": File(f"{{{rest} if n else {first}}}\\n") for n in range({MANY})}}',)


DROPIN = 'Part(files={"/etc/systemd/system/nginx.service.d/bench.conf": File("[Service]\\nEnvironment=BENCH=1\\n")})'
HOSTS = {
    "many": Declared(files=files(0, 0)),
    "one": Declared(files=files(1, 0)),
    "all": Declared(files=files(1, 1)),
    "restarted": Declared(files=files(0, 0), parts=(DROPIN,)),
}
DOWN = "systemctl show nginx --property={} --value"
NOTHING, TWICE, DOWNTIME, SOFT = 0.5, 1.5, 1.1, 0.5
"""What issue 5 asks for: seconds, then ratios."""


def nothing_to_do(system: StorePath, times: int) -> Iterator[float]:
    """Seconds of processor time of each switch to a system that runs, of a host that is a few directories."""
    with (
        LocalStore.open(CACHE / "store") as store,
        _staged_nix(system, store, None) as nix,
        LocalStore.open(nix.parent) as copy,
        tempfile.TemporaryDirectory(prefix="anicca-bench-") as directory,
    ):
        work = Path(directory)
        places = HostPlaces(store=copy, boot=work / "boot", run=work / "run", command_line=work / "cmdline")
        for needed in (places.boot / ENTRIES, places.boot / FILES_DIRECTORY, places.run):
            needed.mkdir(parents=True)
        (places.run / "system").symlink_to(str(system))
        places.command_line.write_text(f"anicca.system={system}\n")
        esp = read_esp(places.boot)
        apply(plan_next(look(places, esp), esp, system, places.want, current=current_number(places), now=1), places)
        command: list[str | Path] = [sys.executable, "-m", "anicca", "--store", nix.parent, "switch", str(system)]
        command += ["--boot", places.boot, "--run", places.run, "--command-line", places.command_line]
        for _ in range(times):
            before = os.times()
            done = process.run(command)
            after = os.times()
            yield after.children_user + after.children_system - before.children_user - before.children_system
            assert done.text.strip() == "nothing to do", done.text


class Bench:
    """A host, and what was measured on it."""

    def __init__(self, mover: Mover, rounds: int) -> None:
        self.mover = mover
        self.rounds = rounds
        self.missed: list[str] = []

    def row(self, what: str, value: float, limit: float, said: str) -> None:
        """Print a line; remember it if it is not what was asked for."""
        print(f"{what}: {said}; asked for: at most {limit:g}{'' if value <= limit else '  MISSED'}", flush=True)
        if value > limit:
            self.missed.append(what)

    def switch(self, name: str) -> float:
        """Switch to a host; seconds of the guest's own clock."""
        system = self.mover.systems[name]
        before, after = self.mover.ask(
            f"cut -d' ' -f1 /proc/uptime; anicca switch {system} > /dev/null; cat /proc/uptime"
        ).split("\n")
        return float(after.split()[0]) - float(before)

    def nothing(self) -> None:
        """A switch to what runs, on this machine."""
        times = [*nothing_to_do(self.mover.systems["base"], 5 * self.rounds)]
        seconds = statistics.median(times)
        self.row("nothing to do", seconds, NOTHING, f"{seconds:.2f} s of processor time")

    def one_and_many(self) -> None:
        """One file of /etc, and a thousand."""
        one, many = [], []
        for _ in range(self.rounds):
            one.append(self.switch("one"))
            self.switch("many")
            many.append(self.switch("all"))
            self.switch("many")
        ratio = statistics.median(many) / statistics.median(one)
        said = f"{statistics.median(one):.1f} s and {statistics.median(many):.1f} s emulated, ratio {ratio:.2f}"
        self.row(f"one file of /etc and {MANY}", ratio, TWICE, said)

    def down(self) -> float:
        """Milliseconds that nginx was down the last time."""
        names = ("ActiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
        left, came = (int(self.mover.ask(DOWN.format(name))) for name in names)
        return (came - left) / 1000

    def downtime(self) -> None:
        """nginx, restarted by systemctl and by a switch in turn."""
        plain, switched = [], []
        for round_number in range(2 * self.rounds):
            self.mover.ask("systemctl restart nginx")
            plain.append(self.down())
            self.switch("many" if round_number % 2 else "restarted")
            switched.append(self.down())
        ratio = statistics.median(switched) / statistics.median(plain)
        said = f"{statistics.median(switched):.0f} ms, systemctl {statistics.median(plain):.0f} ms, ratio {ratio:.2f}"
        self.row("nginx is down", ratio, DOWNTIME, said)

    def reboots(self) -> None:
        """A fresh root, softly and not."""
        soft, full = [], []
        for _ in range(self.rounds):
            started = time.monotonic()
            self.mover.soft_reboot()
            soft.append(time.monotonic() - started)
            started = time.monotonic()
            self.mover.boot()
            full.append(time.monotonic() - started)
        ratio = statistics.median(soft) / statistics.median(full)
        said = f"{statistics.median(soft):.0f} s, a full one {statistics.median(full):.0f} s, ratio {ratio:.2f}"
        self.row("a soft reboot", ratio, SOFT, said)


def main() -> int:
    """Build, boot, measure; 1 if something is not what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    systems = {name: build(declared) for name, declared in {"base": Declared(), **HOSTS}.items()}
    with tempfile.TemporaryDirectory(prefix="anicca-bench-") as directory:
        work = Path(directory)
        make_image(Declared(), work / "disk.raw")
        pack(systems.values(), systems["base"], work / "more.raw")
        disks = (Disk(path=work / "disk.raw"), Disk(path=work / "more.raw"))
        config = MachineConfig(name="anicca-bench", disks=disks, accelerator=choose_accelerator(CACHE))
        with Machine(config, run_dir=work) as machine:
            bench = Bench(Mover(machine=machine, systems=systems), rounds)
            machine.start()
            bench.mover.wait()
            bench.mover.ask("anicca store import < /dev/vdb")
            bench.switch("many")
            bench.nothing()
            bench.one_and_many()
            bench.downtime()
            bench.reboots()
    return 1 if bench.missed else 0


if __name__ == "__main__":
    sys.exit(main())
