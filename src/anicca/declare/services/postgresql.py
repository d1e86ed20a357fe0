"""A PostgreSQL cluster: its data are made at the first boot and persist, its configuration is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.declare.host import File, Part, Persist, Unit
from anicca.declare.rank import default

if TYPE_CHECKING:
    from collections.abc import Mapping

# initdb syncs what it writes; the rename says that all of it is there.
_FIRST_START = """\
[Unit]
Description=Data of PostgreSQL {version}, made where they are missing
RequiresMountsFor=/var/lib/postgresql
Before=postgresql@{version}-main.service

[Service]
Type=oneshot
RemainAfterExit=yes
User=postgres
WorkingDirectory=/var/lib/postgresql
ExecStart=/bin/sh -ec 'test -e {data}/PG_VERSION || {{ mkdir -p {version}; rm -rf {data}.new; \\
/usr/lib/postgresql/{version}/bin/initdb -D {data}.new -A peer --auth-host=scram-sha-256 -E UTF8 --no-instructions; \\
mv -T {data}.new {data}; sync {version}; }}'

[Install]
RequiredBy=postgresql@{version}-main.service
"""

_HBA = """\
local all all peer
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""


def postgresql(*, version: int = 17, settings: Mapping[str, str | int] | None = None) -> Part:
    """A PostgreSQL server for this host. `settings` go into `postgresql.conf`: `{"work_mem": "64MB"}`.

    The first start makes an empty cluster. Accounts of the host are its roles (`peer`); the first is `postgres`.
    Another major version starts with data of its own beside those of the old one.
    """
    config, data = f"/etc/postgresql/{version}/main", f"/var/lib/postgresql/{version}/main"
    lines = {
        "data_directory": data,
        "hba_file": f"{config}/pg_hba.conf",
        "ident_file": f"{config}/pg_ident.conf",
        "external_pid_file": f"/run/postgresql/{version}-main.pid",
        "unix_socket_directories": "/run/postgresql",
        "cluster_name": f"{version}/main",
        **(settings or {}),
    }
    text = "".join(f"{name} = {_quote(value)}\n" for name, value in lines.items())
    return Part(
        packages=[f"postgresql-{version}"],
        files={
            f"{config}/postgresql.conf": default(File(text)),
            f"{config}/pg_hba.conf": default(File(_HBA, "root", "postgres", 0o640)),
            f"{config}/pg_ident.conf": default(File("", "root", "postgres", 0o640)),
            f"{config}/start.conf": default(File("auto\n")),
        },
        units=[
            Unit("postgresql.service"),
            Unit(f"anicca-postgresql-{version}.service", default(_FIRST_START.format(version=version, data=data))),
        ],
        persist=[Persist("/var/lib/postgresql", "postgres", "postgres", 0o755)],
    )


def _quote(value: str | int) -> str:
    """A value as `postgresql.conf` reads it."""
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
