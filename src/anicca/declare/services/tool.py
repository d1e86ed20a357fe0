"""The program `anicca` on the host itself, so that the host can move between its generations."""

from __future__ import annotations

from anicca.declare.host import File, Link, Part, Unit
from anicca.declare.rank import default

LINK = "/etc/anicca/python/anicca"
"""Where Python finds the package `anicca`."""
STANDS_FOR_TOOL = "@anicca@"
"""The target of that link in a spec: which store object it is follows from the program that builds."""
DIRECTORY = "/etc/anicca/bin"
PATH = f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{DIRECTORY}"

_COMMAND = """\
#!/bin/sh
# What Python compiles is in the store beside its source, and in Debian's packages.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/etc/anicca/python exec /usr/bin/python3 -m anicca "$@"
"""

_PROFILE = f"""\
case :$PATH: in
    *:{DIRECTORY}:*) ;;
    *) PATH=$PATH:{DIRECTORY} ;;
esac
"""

_HEALTHY = f"""\
[Unit]
Description=This boot was healthy: its generation is counted no more
Documentation=man:systemd.special(7)
# What must be well is ordered before and required by boot-complete.target.
Requires=boot-complete.target
After=boot-complete.target
X-RestartIfChanged=no

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={DIRECTORY}/anicca boot --healthy

[Install]
WantedBy=multi-user.target
"""


def tool(*, builds: bool = False) -> Part:
    """The command `anicca` on the host, for switching, rolling back and collecting garbage there.

    With `builds` it builds there as well: `anicca switch host.py`.
    A generation that is new counts its boots until one is healthy: until `boot-complete.target` is reached.
    """
    return Part(
        packages=[
            "python3",
            "python3-click",
            "python3-cryptography",
            "python3-httpx",
            "python3-rich",
            "python3-zstandard",
            *(["bubblewrap"] if builds else []),
        ],
        files={
            LINK: Link(STANDS_FOR_TOOL),
            f"{DIRECTORY}/anicca": File(_COMMAND, mode=0o755),
            # For logins of all kinds, then for shells that set their own, then for sudo.
            "/etc/environment": default(File(f"PATH={PATH}\n")),
            "/etc/profile.d/anicca.sh": File(_PROFILE),
            "/etc/sudoers.d/anicca-path": File(f'Defaults secure_path="{PATH}"\n', mode=0o440),
        },
        units=[Unit("anicca-healthy.service", _HEALTHY)],
    )
