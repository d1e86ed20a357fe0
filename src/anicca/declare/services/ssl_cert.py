"""A certificate that each host makes for itself."""

from __future__ import annotations

from anicca.declare.host import Link, Part, Persist, Unit
from anicca.declare.rank import default

CERTIFICATE = "/var/lib/anicca/ssl-cert"
"""Where the certificate that a host makes for itself is kept."""

_CERTIFICATE_UNIT = f"""\
[Unit]
Description=Certificate of this host, made where it is missing
DefaultDependencies=no
RequiresMountsFor={CERTIFICATE}
After=local-fs.target
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
UMask=0077
ExecStart=/bin/sh -ec 'cd {CERTIFICATE}; test -s cert.pem || {{ \
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=%H \
-addext subjectAltName=DNS:%H -keyout key.pem -out new.pem 2>&1; \
chgrp ssl-cert key.pem; chmod 0640 key.pem; chmod 0644 new.pem; sync key.pem new.pem; mv new.pem cert.pem; sync .; }}'

[Install]
WantedBy=sysinit.target
"""


def ssl_cert() -> Part:
    """What Debian's package ssl-cert makes when it is installed: a certificate signed by itself, for testing.

    Here each host makes its own at the first boot, and keeps it. Programs find it where Debian's do.
    """
    return Part(
        packages=["openssl", "ssl-cert"],
        files={
            "/etc/ssl/certs/ssl-cert-snakeoil.pem": default(Link(f"{CERTIFICATE}/cert.pem")),
            "/etc/ssl/private/ssl-cert-snakeoil.key": default(Link(f"{CERTIFICATE}/key.pem")),
        },
        units=[Unit("anicca-ssl-cert.service", default(_CERTIFICATE_UNIT))],
        persist=[Persist(CERTIFICATE, "root", "ssl-cert", 0o750)],
    )
