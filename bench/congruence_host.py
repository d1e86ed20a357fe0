"""The same two configurations and the same mishaps on an anicca host, in a virtual machine."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from anicca import process
from anicca.store import LocalStore, StorePath
from anicca.store.export import export
from anicca.vm.machine import Machine, MachineConfig
from anicca.vm.probe import choose_accelerator
from anicca.vm.qemu import Disk

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 1800
TEXT = """\
from anicca.declare import Disk, Host
from anicca.declare.services import ssh, tool

host = Host(
    name="congruence",
    packages=["cron"{packages}],
    files={{{files}"/etc/app/second.conf": "second\\n"}},
    disk=Disk(esp="256M", nix="4G", root="1G"),
    parts=[ssh(), tool()],
)
"""
PACKAGE = """\
set -e; mkdir -p /tmp/note/DEBIAN /tmp/note/opt/note && echo noted > /tmp/note/opt/note/note
printf 'Package: note\nVersion: 1\nArchitecture: all\nMaintainer: a person <a@localhost>\nDescription: a note\n' \
    > /tmp/note/DEBIAN/control
dpkg-deb --build /tmp/note /tmp/note.deb > /dev/null"""
"""Made there, since the machine has no archive to ask."""
MISHAPS = {
    "a cron job is written to `/etc/cron.d`": "echo '* * * * * root /bin/true' > /etc/cron.d/evil",
    "the declared `second.conf` is edited": "echo edited by hand > /etc/app/second.conf",
    "a package is installed from its file, by `apt-get`": f"{PACKAGE} && apt-get install -y /tmp/note.deb",
    "the same by `dpkg`": "dpkg -i /tmp/note.deb",
    "a cron job is given to `crontab`": "echo '* * * * * /bin/true' | crontab -",
}


def run_host(cache: Path, work: Path) -> list[tuple[str, str]]:
    """What was asked of the host, and found."""
    store = cache / "store"
    systems = {name: _build(store, work / name, text) for name, text in _texts().items()}
    _anicca(store, "image", "-o", work / "disk.raw", work / "v1/host.py")
    with LocalStore.open(store) as opened, (work / "more.raw").open("wb") as file:
        for chunk in export(opened, sorted(opened.closure([systems["v2"]]) - opened.closure([systems["v1"]]))):
            file.write(chunk)
        file.truncate(file.tell() + 512 - file.tell() % 512)
    disks = (Disk(path=work / "disk.raw"), Disk(path=work / "more.raw"))
    config = MachineConfig(name="congruence", disks=disks, accelerator=choose_accelerator(cache))
    with Machine(config, run_dir=work) as machine:
        machine.start()
        machine.wait_for_ssh(timeout_seconds=SECONDS)
        return _story(machine, systems["v2"])


def reason(said: str) -> str:
    """The line that says why: ours, if there is one, else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("anicca:")), lines[-1] if lines else "without a word")


def _texts() -> dict[str, str]:
    first = '"/etc/app/first.conf": "first\\n", '
    return {
        "v1": TEXT.format(packages=', "hello"', files=first),
        "v2": TEXT.format(packages="", files=""),
    }


def _build(store: Path, directory: Path, text: str) -> StorePath:
    directory.mkdir()
    (directory / "host.py").write_text(text)
    _anicca(store, "lock", directory / "host.py")
    return StorePath.parse(_anicca(store, "build", directory / "host.py").strip())


def _anicca(store: Path, *words: str | Path) -> str:
    argv: list[str | Path] = [sys.executable, "-m", "anicca", "--store", store, *words]
    return process.run(argv, env=dict(os.environ), timeout_seconds=3000).text


def _story(machine: Machine, later: StorePath) -> list[tuple[str, str]]:
    def ask(command: str) -> str:
        return machine.run(command, timeout_seconds=SECONDS).text.strip()

    def boot() -> None:
        machine.reboot(timeout_seconds=SECONDS)
        machine.wait_for_ssh(timeout_seconds=SECONDS)
        machine.run("systemctl is-system-running --wait", timeout_seconds=SECONDS, check=False)

    def drift(*options: str) -> list[str]:
        text = machine.run(f"anicca --json drift {' '.join(options)}", timeout_seconds=SECONDS, check=False).text
        # This look reaches the machine by a key that nobody declared.
        return sorted(one["path"] for one in json.loads(text)["drift"] if not one["path"].startswith("/root/.ssh"))

    def keep(number: int) -> None:
        ask(f"anicca baseline save --system /nix/persist/{number}.zst")

    def told(paths: list[str]) -> str:
        return ", ".join(f"`{path}`" for path in paths) or "no drift"

    rows = []
    ask("anicca store import < /dev/vdb")
    ask(f"anicca boot {later}")
    boot()
    there = "test -e /etc/app/first.conf && echo there || echo gone"
    rows.append(("`first.conf`, after the boot into version 2", ask(there)))
    rows.append(("package `hello`, after that boot", ask("dpkg -s hello > /dev/null 2>&1 && echo there || echo gone")))
    rows.append(("`anicca drift`", told(drift())))
    keep(0)
    for what, command in MISHAPS.items():
        done = machine.run(command, timeout_seconds=SECONDS, check=False)
        rows.append((what, "done" if done.status == 0 else f"refused: {reason(done.stderr.decode(errors='replace'))}"))
    rows.append(("`anicca drift` then", told(drift())))
    keep(1)
    boot()
    rows.append(("`anicca drift --deep` after a reboot", told(drift("--deep"))))
    keep(2)
    verdict = json.loads(
        ask("anicca --json classify --disturbed /nix/persist/0.zst /nix/persist/1.zst /nix/persist/2.zst")
    )
    rows.append(("verdict of `anicca classify`", f"**{verdict['class']}**: {verdict['why']}"))
    return rows
