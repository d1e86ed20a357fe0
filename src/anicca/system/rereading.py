"""Why systemd must read its units again once /usr and /etc were replaced: what it would read differs. Pure.

`daemon-reload` parses every unit and runs every generator; it takes longer than all else when a file of /etc changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.system.units import below, few

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anicca.system.unitfiles import Source, UnitSet

READ = ("/etc/systemd", "/usr/lib/systemd", "/usr/local/lib/systemd", "/etc/localtime")
"""Units, drop-ins, links, generators; calendar timers count in local time."""
GENERATORS = {
    "systemd-cryptsetup-generator": ("/etc/crypttab",),
    "systemd-debug-generator": (),
    "systemd-fstab-generator": ("/etc/fstab",),
    "systemd-getty-generator": (),
    "systemd-gpt-auto-generator": (),
    "systemd-hibernate-resume-generator": (),
    "systemd-integritysetup-generator": ("/etc/integritytab",),
    "systemd-rc-local-generator": ("/etc/rc.local",),
    "systemd-run-generator": (),
    "systemd-ssh-generator": (),
    "systemd-system-update-generator": ("/etc/system-update",),
    "systemd-sysv-generator": ("/etc/init.d", *(f"/etc/rc{level}.d" for level in "0123456S")),
    "systemd-tpm2-generator": (),
    "systemd-veritysetup-generator": ("/etc/veritytab",),
}
"""systemd's own, and the files of /etc from which they make units. Of any other nobody knows what it reads."""
GENERATOR_DIRECTORIES = tuple(f"{top}/system-generators" for top in READ[:3])


def why_reread(source: Source, old: UnitSet, new: UnitSet, changed: Iterable[str]) -> tuple[str, ...]:
    """Why systemd must read its units again; nothing if it would read the same. `source` is the new system."""
    places = [*READ]
    reasons = []
    for name in sorted({name for directory in GENERATOR_DIRECTORIES for name in source.children(directory)}):
        if name in GENERATORS:
            places += GENERATORS[name]
        else:
            reasons.append(f"nobody knows what {name} reads")
    reasons = [*(f"{path} changed" for path in few(path for path in changed if below(path, places))), *reasons]
    # A unit can be a link to any file.
    return tuple(reasons) if reasons or old == new else ("units differ",)
