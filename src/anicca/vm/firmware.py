"""Where this machine keeps UEFI firmware for guests."""

from __future__ import annotations

import shutil
from pathlib import Path

from anicca.errors import AniccaError
from anicca.vm.qemu import Firmware

_CANDIDATES = (
    ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
    ("OVMF_CODE.fd", "OVMF_VARS.fd"),
)
_DIRECTORY = Path("usr/share/OVMF")


def prepare_firmware(run_dir: Path, *, root: Path = Path("/")) -> Firmware:
    """Debian's OVMF under `root`, with a copy of its variables in `run_dir` (kept if there is one already).

    Raises `AniccaError` where it is not installed.
    """
    for code_name, variables_name in _CANDIDATES:
        code, template = root / _DIRECTORY / code_name, root / _DIRECTORY / variables_name
        if code.is_file() and template.is_file():
            variables = run_dir / "efivars.fd"
            if not variables.exists():
                shutil.copyfile(template, variables)
            return Firmware(code=code, variables=variables)
    raise AniccaError("there is no UEFI firmware for virtual machines here", hint="install the package ovmf")
