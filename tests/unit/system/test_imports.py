"""What most switches do not need is not imported by them: on a slow host that takes longer than the switch."""

from __future__ import annotations

import sys

from anicca import process
from anicca.declare import lower
from anicca.system import diff

SHOW = """
import sys
import anicca.cli.switch, anicca.system.changes, anicca.system.live
from anicca.system.switching import esp, host, live, moving, systemd, trial
print(*sorted(sys.modules))
"""


def test_to_go_live_takes_nothing_of_what_declares_or_builds() -> None:
    loaded = process.run([sys.executable, "-c", SHOW]).text.split()
    parts = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("anicca.")}
    assert "anicca.system" in parts
    assert parts.isdisjoint({"anicca.declare", "anicca.debian", "anicca.vm", "anicca.drift"})


def test_declared_kernel_settings_are_read_where_they_are_written() -> None:
    assert diff.SYSCTL_FILE == lower.SYSCTL_FILE
