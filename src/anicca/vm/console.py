"""A guest whose console is our terminal, for a person to look around in."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from anicca import process
from anicca.events import Notice, Report, ignore
from anicca.vm.firmware import prepare_firmware
from anicca.vm.machine import MachineConfig, plan_machine
from anicca.vm.qemu import SerialTerminal, qemu_argv
from anicca.vm.ssh import SshAccess, free_port, make_key, ssh_argv

if TYPE_CHECKING:
    from pathlib import Path


def open_console(config: MachineConfig, *, run_dir: Path, report: Report = ignore) -> None:
    """Boot the machine on our terminal until it switches off or is left with ctrl-a x.

    Says first how to reach it over ssh from another terminal. Raises `ProgramError` if QEMU fails.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    key, public = make_key(run_dir)
    access = SshAccess(port=free_port(), key=key, known_hosts=run_dir / "known_hosts")
    plan = plan_machine(
        config,
        firmware=None if config.direct_kernel else prepare_firmware(run_dir),
        serial=SerialTerminal(),
        ssh_port=access.port,
        public_key=public,
    )
    report(Notice(text=f"ssh: {shlex.join(ssh_argv(access))}"))
    report(Notice(text="ctrl-a x ends the machine, ctrl-a c reaches QEMU's monitor"))
    status = process.run_on_terminal(["setpriv", "--pdeathsig", "KILL", *qemu_argv(plan)])
    if status != 0:
        raise process.ProgramError(f"QEMU ended with status {status}", status=status)
