from __future__ import annotations

import os

from anicca.roots.guard.files import MODULE, MODULE_DIRECTORY, dracut_arguments


def test_the_module_is_named_as_dracut_wants_it() -> None:
    assert MODULE_DIRECTORY.name == f"90{MODULE}"


def test_the_scripts_can_be_executed_and_what_is_sourced_cannot() -> None:
    executable = {path.name for path in MODULE_DIRECTORY.iterdir() if os.access(path, os.X_OK)}
    assert executable == {"guard.sh", "nix.sh", "layout.sh", "digest.sh", "stop.sh"}


def test_nothing_of_the_machine_gets_into_the_initrd() -> None:
    arguments = dracut_arguments("6.12", "/out/initrd", scratch="/scratch")
    assert arguments[0] == "dracut"
    assert arguments[-1] == "/out/initrd"
    assert {"--no-hostonly", "--no-hostonly-cmdline", "--no-early-microcode", "--reproducible"} <= set(arguments)
    # Several compressing threads may cut the stream at other places.
    assert "-T1" in arguments[arguments.index("--compress") + 1]
