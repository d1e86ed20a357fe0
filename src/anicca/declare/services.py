"""Parts for services: each brings its package, its units, its files and the paths where its state is kept.

What a part says in files and units' texts is said as default: to change it, declare the same path plainly.
"""

from __future__ import annotations

from anicca.declare.host import Directory, File, Link, Part, Persist, Unit
from anicca.declare.rank import default

SSH_KEYS = "/var/lib/anicca/ssh"
"""Where host keys are kept."""

# No RSA: making such a key takes seconds on a small machine, and all clients of the last ten years know these.
SSH_KEY_TYPES = ("ed25519", "ecdsa")

_SSHD = (
    "# Host keys persist; /etc/ssh is read-only.\n"
    + "".join(f"HostKey {SSH_KEYS}/ssh_host_{kind}_key\n" for kind in SSH_KEY_TYPES)
    + "# Keys of declared users, then those that users keep themselves.\n"
    "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u .ssh/authorized_keys\n"
)

# An empty key is what a power cut leaves: ssh-keygen would ask whether to overwrite it.
_MAKE_KEY = (
    "ExecStart=/bin/sh -ec 'test -s {key} || "
    '{{ rm -f {key} {key}.pub; ssh-keygen -q -t {kind} -N "" -f {key}; sync {key} {key}.pub; }}\'\n'
)

_SSH_KEYS_UNIT = (
    f"""\
[Unit]
Description=Keys of this host for SSH, made where they are missing
Documentation=man:ssh-keygen(1)
RequiresMountsFor={SSH_KEYS}
Before=ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
"""
    + "".join(_MAKE_KEY.format(key=f"{SSH_KEYS}/ssh_host_{kind}_key", kind=kind) for kind in SSH_KEY_TYPES)
    + """
[Install]
RequiredBy=ssh.service
"""
)


def ssh() -> Part:
    """Logging in over SSH, with the declared users' keys.

    The host's own keys are made at the first boot and persist. Root may log in with a key only, as Debian has it.
    """
    return Part(
        packages=["openssh-server"],
        files={"/etc/ssh/sshd_config.d/10-anicca.conf": default(File(_SSHD))},
        units=[
            Unit("ssh.service"),
            Unit("anicca-ssh-keys.service", default(_SSH_KEYS_UNIT)),
            # Debian's own makes keys in /etc/ssh, on a first boot only.
            Unit("sshd-keygen.service", state=default("masked")),
        ],
        persist=[Persist(SSH_KEYS, "root", "root", 0o700)],
    )


def sudo() -> Part:
    """Members of the group sudo may do all as root, without a password: accounts here have none."""
    return Part(
        packages=["sudo"],
        files={"/etc/sudoers.d/anicca": default(File("%sudo ALL=(ALL:ALL) NOPASSWD: ALL\n", mode=0o440))},
    )


def timesync() -> Part:
    """The clock set over the network. The time of the last boot persists, so that no boot starts in the past."""
    return Part(
        packages=["systemd-timesyncd"],
        units=[Unit("systemd-timesyncd.service")],
        persist=["/var/lib/systemd/timesync"],
    )


def journal(*, keep: str = "512M") -> Part:
    """The journal of past boots, of which the newest `keep` bytes persist."""
    return Part(
        files={
            "/etc/systemd/journald.conf.d/anicca.conf": default(
                File(f"[Journal]\nStorage=persistent\nSystemMaxUse={keep}\n")
            )
        },
        persist=[Persist("/var/log/journal", "root", "systemd-journal", 0o2755)],
    )


def nftables(rules: str) -> Part:
    """A firewall: the whole of `/etc/nftables.conf`, in force before the network is up."""
    return Part(
        packages=["nftables"],
        files={"/etc/nftables.conf": File(rules)},
        units=[Unit("nftables.service")],
    )


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


_SITE = """\
server {{
	listen 80{default};
	listen [::]:80{default};
	server_name {name};
	root {root};
	index index.html;
}}
"""


def nginx(page: str | bytes, *, name: str | None = None) -> Part:
    """A web server on port 80 that serves one page: to all who ask, or as the site `name`. Its logs persist."""
    site = name or "default"
    root = f"/srv/www/{site}"
    text = _SITE.format(default="" if name else " default_server", name=name or "_", root=root)
    return Part(
        packages=["nginx-light"],
        files={
            # Debian's own default site has the same path.
            f"/etc/nginx/sites-available/{site}": default(File(text)),
            f"/etc/nginx/sites-enabled/{site}": default(Link(f"/etc/nginx/sites-available/{site}")),
            root: default(Directory()),
            f"{root}/index.html": File(page),
        },
        units=[Unit("nginx.service")],
        persist=[Persist("/var/log/nginx", "root", "adm", 0o755)],
    )
