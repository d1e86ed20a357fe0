"""A guest that can be started, asked, rebooted and cut off. Every wait ends; every error carries the console's end.

What the guest is told and how: docs/internals/virtual-machines.md.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from anicca import process
from anicca.errors import AniccaError
from anicca.vm.firmware import prepare_firmware
from anicca.vm.qemu import Accelerator, DirectKernel, Disk, Firmware, Network, QemuPlan, Serial, SerialFile, qemu_argv
from anicca.vm.qmp import Qmp, QmpError
from anicca.vm.ssh import CREDENTIAL, SshAccess, free_port, make_key, ssh_answers, ssh_argv

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

TAIL_LINES = 40
"""How many of the console's last lines an error keeps."""
_POLL_SECONDS = 0.2
_START_TRIES = 3
_LOGIN_SECONDS = 60.0
_TERMINAL_CODES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\r\x00-\x08]"
)


class MachineError(AniccaError):
    """The guest did not do what was waited for, or is not there."""


class HostKeyChangedError(MachineError):
    """The guest came back with another ssh host key than at first contact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineConfig:
    """What a machine is made of; its key, firmware variables, ports and sockets are made in the run directory."""

    name: str
    disks: tuple[Disk, ...]
    accelerator: Accelerator
    direct_kernel: DirectKernel | None = None
    """Loaded by QEMU; None: UEFI firmware finds a boot loader on the first disk."""
    credentials: Mapping[str, bytes] = field(default_factory=dict)
    boot_parameters: tuple[str, ...] = ("console=ttyS0",)
    """Added to the kernel command line by systemd-boot, beside what the boot entry says."""
    memory_mib: int = 1024
    cpus: int = 2
    isolated: bool = True
    """The guest reaches nothing outside; ssh into it works all the same."""


def plan_machine(
    config: MachineConfig,
    *,
    firmware: Firmware | None,
    serial: Serial,
    ssh_port: int,
    public_key: bytes,
    qmp_socket: Path | None = None,
) -> QemuPlan:
    """The QEMU machine of a configuration; `firmware` where it has no kernel of its own."""
    boot = config.direct_kernel or firmware
    assert boot is not None
    return QemuPlan(
        name=config.name,
        accelerator=config.accelerator,
        boot=boot,
        disks=config.disks,
        serials=(serial,),
        network=Network(ssh_port=ssh_port, isolated=config.isolated),
        credentials={CREDENTIAL: public_key, **config.credentials},
        boot_parameters=config.boot_parameters,
        memory_mib=config.memory_mib,
        cpus=config.cpus,
        qmp_socket=qmp_socket,
    )


class Machine:
    """One guest. As a context manager it ends its own QEMU, whatever happened.

    `run_dir` keeps what outlives a boot: `console.log` (all boots, appended), `qemu.log`, the ssh key and the pinned
    host key, the firmware's variables. QEMU also ends when the thread that started it does.
    """

    def __init__(self, config: MachineConfig, *, run_dir: Path) -> None:
        self.config = config
        self.run_dir = run_dir
        self.console_log = run_dir / "console.log"
        self.qemu_log = run_dir / "qemu.log"
        self._known_hosts = run_dir / "known_hosts"
        self._child: process.Child | None = None
        self._qmp: Qmp | None = None
        self._sockets: Path | None = None
        self._access: SshAccess | None = None
        self._boot_offset = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    # Starting and stopping

    def start(self) -> None:
        """Switch the machine on; returns as soon as QEMU runs. Raises `MachineError` if it does not."""
        if self.is_running():
            raise MachineError(f"{self.config.name}: runs already")
        self.end()
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._mark_boot()
        # Unix sockets have short names: not in a run directory that may be deep.
        self._sockets = Path(tempfile.mkdtemp(prefix="anicca-vm-"))
        for remaining in reversed(range(_START_TRIES)):
            try:
                self._start_qemu(self._sockets)
            except (MachineError, QmpError) as error:
                self._end_qemu()
                # Somebody took the port between our look and QEMU's.
                if remaining and "forwarding" in self._qemu_tail():
                    continue
                raise MachineError(f"{self.config.name}: QEMU does not start", detail=self._qemu_tail()) from error
            return

    def _start_qemu(self, sockets: Path) -> None:
        key, public = make_key(self.run_dir)
        port = free_port()
        self._access = SshAccess(port=port, key=key, known_hosts=self._known_hosts, control_socket=sockets / "ssh")
        plan = plan_machine(
            self.config,
            firmware=None if self.config.direct_kernel else prepare_firmware(self.run_dir),
            serial=SerialFile(path=self.console_log),
            ssh_port=port,
            public_key=public,
            qmp_socket=sockets / "qmp",
        )
        # setpriv: if we are killed, the guest must not stay behind.
        argv = ["setpriv", "--pdeathsig", "KILL", *qemu_argv(plan)]
        self._child = process.start(argv, output=self.qemu_log)
        self._qmp = Qmp(sockets / "qmp", is_alive=self.is_running)
        if self._child.poll() is not None:
            raise MachineError(f"{self.config.name}: QEMU ended at once")

    def power_off(self, *, timeout_seconds: float = 180) -> None:
        """Ask systemd, over ssh, to switch the machine off, and wait until it has."""
        self.run("systemctl --no-block poweroff", check=False)
        self._hang_up()
        self.wait_for_end(timeout_seconds=timeout_seconds)

    def press_power_button(self, *, timeout_seconds: float = 180) -> None:
        """Ask by ACPI, for guests without ssh, and wait until the machine is off."""
        self._control().execute("system_powerdown")
        self._hang_up()
        self.wait_for_end(timeout_seconds=timeout_seconds)

    def wait_for_end(self, *, timeout_seconds: float) -> None:
        """Return when the guest has switched itself off; raises `MachineError` if it does not, or QEMU failed."""
        if self._child is None:
            raise MachineError(f"{self.config.name}: does not run")
        status = self._child.wait(timeout_seconds)
        if status is None:
            raise self._error(f"still on after {timeout_seconds:g} s")
        if status != 0:
            raise self._error(f"QEMU ended with status {status}: {self._qemu_tail()}")
        self._end_qemu()

    def reboot(self, *, timeout_seconds: float = 180) -> None:
        """Ask systemd, over ssh, for a reboot; returns when the next boot has begun. Then wait for ssh again.

        That is a new QEMU: after a reset in the same one, an emulated processor spends minutes in the firmware.
        """
        control = self._control()
        control.forget_events()
        control.execute("set-action", reboot="shutdown")
        self.run("systemctl --no-block reboot", check=False)
        self._hang_up()
        try:
            ended = control.wait_for_event("SHUTDOWN", timeout_seconds=timeout_seconds)
        except QmpError as error:
            raise self._error(f"no reboot within {timeout_seconds:g} s ({error})") from error
        if ended["reason"] != "guest-reset":
            raise self._error(f"no reboot: {ended['reason']}")
        self.wait_for_end(timeout_seconds=timeout_seconds)
        self.start()

    def reset(self) -> None:
        """Press the reset button: the guest gets no warning."""
        self._hang_up()
        self._control().execute("system_reset")
        self._mark_boot()

    def cut_power(self) -> None:
        """End QEMU at once: the guest gets no warning, and what it had not written is lost. `start` comes next."""
        if self._child is None:
            raise MachineError(f"{self.config.name}: does not run")
        self._child.kill()
        self._end_qemu()

    def end(self) -> None:
        """Make sure that our QEMU does not run, and remove what only a running one needs. May be called at any time."""
        self._end_qemu()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    def is_running(self) -> bool:
        """Whether QEMU runs."""
        return self._child is not None and self._child.poll() is None

    # Asking

    def wait_for_console(self, pattern: str, *, timeout_seconds: float) -> re.Match[str]:
        """Return when the console has shown this since the last start, reset or reboot (`re.MULTILINE`)."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout_seconds
        while True:
            running = self.is_running()
            if found := expression.search(self.console_text()):
                return found
            if not running:
                raise self._error(f"switched off before the console showed {pattern!r}")
            if time.monotonic() > deadline:
                raise self._error(f"the console did not show {pattern!r} within {timeout_seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def wait_for_ssh(self, *, timeout_seconds: float = 300) -> None:
        """Return when root can log in. Raises `HostKeyChangedError` at once if the guest is another than before."""
        access = self._ssh_access()
        deadline = time.monotonic() + timeout_seconds
        last = "no ssh server answered"
        while True:
            if not self.is_running():
                raise self._error("switched off before ssh was up")
            if ssh_answers(access.port, 5):
                last = self._try_login(access)
                if not last:
                    return
            if time.monotonic() > deadline:
                raise self._error(f"no ssh within {timeout_seconds:g} s: {last}")
            time.sleep(_POLL_SECONDS)

    def _try_login(self, access: SshAccess) -> str:
        """Log in once: nothing if that works, else why it does not."""
        try:
            tried = process.run(ssh_argv(access, "true"), check=False, timeout_seconds=_LOGIN_SECONDS)
        except process.ProgramError as error:
            return str(error)
        if tried.status == 0:
            return ""
        said = tried.stderr.decode("utf-8", "replace").strip()
        if "HOST IDENTIFICATION HAS CHANGED" in said or "Host key verification failed" in said:
            raise HostKeyChangedError(f"{self.config.name}: the guest has another host key than before", detail=said)
        return said or f"ssh ended with status {tried.status}"

    def run(
        self, command: str, *, stdin: bytes | None = None, timeout_seconds: float = 120, check: bool = True
    ) -> process.Completed:
        """Run a shell command as root on the guest. With `check`, `MachineError` if its status is not 0."""
        if not self.is_running():
            raise self._error("does not run")
        argv = ssh_argv(self._ssh_access(), command)
        try:
            done = process.run(argv, stdin=stdin, timeout_seconds=timeout_seconds, check=False)
        except process.ProgramError as error:
            raise self._error(f"{command!r} did not end within {timeout_seconds:g} s") from error
        if check and done.status != 0:
            said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
            raise self._error(f"{command!r} ended with status {done.status}: {said}")
        return done

    def console_text(self) -> str:
        """What the console has shown since the last start, reset or reboot, without terminal codes."""
        try:
            with self.console_log.open("rb") as file:
                file.seek(self._boot_offset)
                return plain_text(file.read())
        except FileNotFoundError:
            return ""

    def host_keys(self) -> bytes:
        """The host keys pinned so far, in the form of known_hosts; empty before first contact."""
        return self._known_hosts.read_bytes() if self._known_hosts.exists() else b""

    def forget_host_keys(self) -> None:
        """The next contact pins anew: for a disk that was written afresh."""
        self._known_hosts.unlink(missing_ok=True)

    def ssh_command(self) -> list[str]:
        """The command with which a person reaches the running guest."""
        return ssh_argv(self._ssh_access())

    # Inside

    def _mark_boot(self) -> None:
        """What the console shows from now on belongs to the next boot."""
        self._boot_offset = self.console_log.stat().st_size if self.console_log.exists() else 0

    def _hang_up(self) -> None:
        """End the shared ssh connection: a guest that restarts would leave it hanging."""
        access = self._access
        if access is None or access.control_socket is None or not access.control_socket.exists():
            return
        argv = ssh_argv(access)
        with contextlib.suppress(process.ProgramError):
            process.run([argv[0], "-O", "exit", *argv[1:]], check=False, timeout_seconds=10)
        access.control_socket.unlink(missing_ok=True)

    def _end_qemu(self) -> None:
        self._hang_up()
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        if self._child is not None:
            self._child.end()
            self._child = None

    def _control(self) -> Qmp:
        if self._qmp is None or not self.is_running():
            raise self._error("does not run")
        return self._qmp

    def _ssh_access(self) -> SshAccess:
        if self._access is None:
            raise MachineError(f"{self.config.name}: was never started")
        return self._access

    def _qemu_tail(self) -> str:
        if not self.qemu_log.exists():
            return ""
        return "\n".join(self.qemu_log.read_text(errors="replace").splitlines()[-5:])

    def _error(self, what: str) -> MachineError:
        tail = "\n".join(self.console_text().splitlines()[-TAIL_LINES:])
        return MachineError(
            f"{self.config.name}: {what}",
            hint=f"the whole console is in {self.console_log}",
            detail=tail or "(the console showed nothing)",
        )


def plain_text(raw: bytes) -> str:
    """Console output as text: no colours, cursor movements or carriage returns."""
    return _TERMINAL_CODES.sub("", raw.decode("utf-8", "replace"))
