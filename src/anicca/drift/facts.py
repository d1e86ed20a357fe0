"""Whose filesystem a root is, and who can say what must be there."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING

from anicca.drift import dpkg, records, system
from anicca.drift.inside import Root

if TYPE_CHECKING:
    from anicca.drift.expect import Expectation

STATUS = dpkg.DATABASE + b"/status"
NAMED = ("architecture", "release", "system", "host", "root")
"""The facts by which two looks are of the same root."""


def expectation_for(top: bytes) -> Expectation:
    """What must be in a root, from its anicca system where it runs one, else from dpkg's records.

    Raises `ValueError` or `OSError` where neither can be read; `FileNotFoundError` where neither is there.
    """
    root = Root(top)
    if root.exists(system.CURRENT):
        return system.read_expectation(root)
    return dpkg.read_expectation(root)


def facts_of(top: bytes) -> dict[str, str]:
    """What a root is: its path, host name, release and architecture, and when it was looked at."""
    root = Root(top)
    text = root.read_if_there(b"/etc/os-release").decode("utf-8", "replace")
    release = dict(line.partition("=")[::2] for line in text.split("\n"))
    packages = records.parse_status(root.read_if_there(STATUS))
    machine = next((package.architecture for package in packages if package.name == "dpkg"), platform.machine())
    return {
        "root": os.path.realpath(top).decode("utf-8", "replace"),
        "host": root.read_if_there(b"/etc/hostname").decode("utf-8", "replace").strip(),
        "release": release.get("PRETTY_NAME", "").strip('"'),
        "architecture": machine,
        "system": root_system(root),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def root_system(root: Root) -> str:
    """The system object that a root runs, empty where it runs none of ours."""
    return os.fsdecode(root.real(system.CURRENT)) if root.exists(system.CURRENT) else ""


def differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """In what two looks are not of the same root."""
    return [
        f"the baseline is of another {name}: {then[name]}, not {now[name]}"
        for name in NAMED
        if name in then and name in now and then[name] != now[name]
    ]
