"""A host that remembers what it forgets: services' last words too, no secret, and nothing after a power cut."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from tests.vm.system.hosts import CACHE, Declared, Mover, anicca, build

from anicca.vm.machine import Machine, MachineConfig
from anicca.vm.probe import choose_accelerator
from anicca.vm.qemu import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(5400)]

LATE = (
    'Part(units=[Unit("late.service", "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n'
    'ExecStop=/bin/sh -c \\"echo bye > /srv/last-words\\"\\n[Install]\\nWantedBy=multi-user.target\\n")])'
)


LOGIN = {"/root/.ssh/authorized_keys"}
"""How this test reaches the machine: nobody declared that."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mover]:
    if os.geteuid() != 0:
        pytest.skip("trees are built as root")
    work: Path = tmp_path_factory.mktemp("lost")
    declared = Declared(name="lost", parts=(LATE,))
    system = build(declared)
    anicca("image", "--force", "-o", work / "disk.raw", declared.file)
    config = MachineConfig(
        name="anicca-lost", disks=(Disk(path=work / "disk.raw"),), accelerator=choose_accelerator(CACHE)
    )
    with Machine(config, run_dir=work) as machine:
        mover = Mover(machine=machine, systems={"base": system})
        machine.start()
        mover.wait()
        yield mover


def drift(host: Mover, *options: str) -> set[str]:
    done = host.machine.run(f"anicca --json drift {' '.join(options)}", timeout_seconds=900, check=False)
    assert done.status in (0, 4), done.stderr
    return {one["path"] for one in json.loads(done.text)["drift"]} - LOGIN


def test_a_fresh_boot_has_no_drift_however_deep(host: Mover) -> None:
    assert host.ask("systemctl is-active anicca-remember.service") == "active"
    assert drift(host) == set()
    assert drift(host, "--deep") == set()
    assert "the declaration of lost" in host.ask("anicca why /etc/motd")
    host.ask("mount --bind /usr/bin/false /usr/bin/true && mkdir -p /srv/own && chown www-data /srv/own")
    assert drift(host, "--deep") == {"/usr/bin/true", "/srv/own"}
    assert "written by user www-data" in host.ask("anicca why /srv/own")
    host.ask("umount /usr/bin/true && rmdir /srv/own")


def test_what_is_forgotten_is_remembered(host: Mover) -> None:
    host.ask("su ann -c 'mkdir -p ~/.ssh && echo years of work > ~/thesis && echo s3cret > ~/.ssh/id_ed25519'")
    host.ask("mkdir /var/lib/app && echo state > /var/lib/app/state && chown -R ann:ann /var/lib/app")
    # What is kept is not forgotten, once it is declared; until then it is a copy that no generation declares.
    assert 'Persist("/var/lib/app", owner="ann", group="ann", mode=0o755)' in host.ask("anicca keep /var/lib/app")
    assert "/var/lib/app  directory, 2 paths" in host.ask("anicca orphans")
    host.boot()
    assert drift(host) == set()
    told = json.loads(host.ask("anicca --json lost"))
    assert {"/home/ann/thesis", "/srv/last-words", "/var/lib/app/state"} <= set(told["saved"])
    assert not [path for path in told["saved"] if "id_ed25519" in path]
    assert "/home/ann/.ssh/id_ed25519" in {one["path"] for one in told["findings"]["drift"]}
    assert host.ask("grep -rl s3cret /nix/persist || echo none") == "none"
    host.ask("anicca rescue /home/ann/thesis --boot -1")
    assert host.ask("cat /home/ann/thesis; stat -c %U /home/ann/thesis") == "years of work\nann"
    assert host.ask("cat /nix/persist/var/lib/app/state") == "state"


def test_after_a_power_cut_it_says_that_it_does_not_know(host: Mover) -> None:
    host.ask("echo x > /srv/gone; sync")
    host.machine.reset()
    host.wait()
    cut = host.machine.run("anicca lost", timeout_seconds=900, check=False)
    assert cut.status == 1
    assert b"ended without a word" in cut.stderr
    assert "cut off" in host.ask("anicca lost --list")
    assert "/home/ann/thesis" in host.ask("anicca lost --boot -2")
