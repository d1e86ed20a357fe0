"""In which lines of a declaration something was said, as the generation's manifest has it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from anicca.drift import system
from anicca.drift.entry import parent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anicca.drift.inside import Root

GENERATIONS = b"/nix/var/anicca/generations"


def read_origins(root: Root) -> dict[str, tuple[str, ...]]:
    """Option, such as `files[/etc/motd]`, to `host.py:9`; empty where the running system was made elsewhere."""
    running = os.fsdecode(root.real(system.CURRENT))
    found: dict[str, tuple[str, ...]] = {}
    for name in root.names(GENERATIONS):
        try:
            record = json.loads(root.read(GENERATIONS + b"/" + name))
            if record["system"] == running:
                found = {option: tuple(map(_place, places)) for option, places in record.get("origins", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _place(said: Any) -> str:
    return said if isinstance(said, str) else f"{said['file']}:{said['line']}"


def said_of(path: bytes, package: str, spec: Mapping[str, Any], origins: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The lines that are why a path is there: of the path, its unit, the user, what it lies in, its package. Pure."""
    shown = os.fsdecode(path)
    name = shown.rpartition("/")[2]
    options = [f"files[{shown}]", f"persist[{shown}]"]
    if shown.startswith("/etc/systemd/system/"):
        unit = shown.removeprefix("/etc/systemd/system/").split("/")[0].removesuffix(".d")
        options += [f"units[{one}]{field}" for one in (unit, name) for field in (".content", ".state", "")]
    options += [f"users[{user}].home" for user, said in spec.get("users", {}).items() if said.get("home") == shown]
    options += [f"users[{user}]" for user, said in spec.get("users", {}).items() if said.get("home") == shown]
    at = path
    while at != b"/":
        options.append(f"persist[{os.fsdecode(at)}]")
        at = parent(at)
    if package:
        options.append(f"packages[{package}]")
    for option in options:
        if origins.get(option):
            return list(dict.fromkeys(origins[option]))
    return []
