from __future__ import annotations

from pathlib import Path

from anicca.vm.machine import MachineConfig, plain_text, plan_machine
from anicca.vm.qemu import Disk, Firmware, SerialTerminal
from anicca.vm.ssh import CREDENTIAL, SshAccess, ssh_argv

ACCESS = SshAccess(port=2222, key=Path("/r/id"), known_hosts=Path("/r/known hosts"), control_socket=Path("/t/ssh"))


def test_root_gets_the_runs_key_beside_other_credentials() -> None:
    config = MachineConfig(name="a", disks=(Disk(path=Path("/d")),), accelerator="tcg", credentials={"x": b"y"})
    plan = plan_machine(
        config,
        firmware=Firmware(code=Path("/c"), variables=Path("/v")),
        serial=SerialTerminal(),
        ssh_port=1,
        public_key=b"ssh-ed25519 K",
    )
    assert plan.credentials == {CREDENTIAL: b"ssh-ed25519 K", "x": b"y"}
    assert plan.network is not None
    assert plan.network.isolated


def test_ssh_uses_nothing_of_the_users_and_pins_the_host_key() -> None:
    argv = ssh_argv(ACCESS, "true")
    assert argv[:3] == ["ssh", "-F", "/dev/null"]
    assert "IdentitiesOnly=yes" in argv
    assert "StrictHostKeyChecking=accept-new" in argv
    assert 'UserKnownHostsFile="/r/known hosts"' in argv
    assert argv[-2:] == ["root@127.0.0.1", "true"]
    assert "BatchMode=yes" in argv


def test_a_person_is_asked_as_usual() -> None:
    assert "BatchMode=yes" not in ssh_argv(ACCESS)


def test_plain_text_has_no_terminal_codes() -> None:
    assert plain_text(b"[\x1b[0;32m  OK  \x1b[0m] Up\r\n\x1b[!p\x1b]104\x07\x1b[?7hlogin: ") == "[  OK  ] Up\nlogin: "
