"""Parts for services: each brings its package, its units, its files and the paths where its state is kept."""

from __future__ import annotations

from anicca.declare.host import Directory, File, Part, Persist, Unit
from anicca.declare.rank import default

SSH_KEYS = "/var/lib/anicca/ssh"
"""Where host keys are kept."""

_SSHD = f"""\
HostKey {SSH_KEYS}/ssh_host_ed25519_key
HostKey {SSH_KEYS}/ssh_host_rsa_key
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u
"""

_SSH_KEYS_UNIT = f"""\
[Unit]
Description=Host keys for the SSH server
Documentation=man:ssh-keygen(1)
Before=ssh.service ssh.socket
RequiresMountsFor={SSH_KEYS}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'for type in ed25519 rsa; do key={SSH_KEYS}/ssh_host_$${{type}}_key; \\
  [ -s "$$key" ] || {{ rm -f "$$key.new"; \\
  ssh-keygen -q -t "$$type" -N "" -C "" -f "$$key.new"; \\
  mv "$$key.new.pub" "$$key.pub"; mv "$$key.new" "$$key"; sync {SSH_KEYS}; }}; done'

[Install]
RequiredBy=ssh.service
"""


def ssh() -> Part:
    """Log in over SSH. The host's keys are made at the first boot and persist; passwords are locked, so keys it is."""
    return Part(
        packages=["openssh-server"],
        files={"/etc/ssh/sshd_config.d/10-anicca.conf": default(File(_SSHD))},
        units=[Unit("ssh.service"), Unit("anicca-ssh-keys.service", default(_SSH_KEYS_UNIT))],
        persist=[Persist(SSH_KEYS, "root", "root", 0o700)],
    )


def nginx(page: str | bytes, *, name: str = "_") -> Part:
    """A web server on port 80 with one page, for the host `name` or for all. Its logs persist."""
    site = f"""\
server {{
    listen 80 default_server;
    listen [::]:80 default_server;
    server_name {name};
    root /srv/www;
    index index.html;
}}
"""
    return Part(
        packages=["nginx-light"],
        files={
            "/etc/nginx/sites-available/anicca": default(File(site)),
            "/etc/nginx/sites-enabled/default": default(File(site)),
            "/srv/www": default(Directory()),
            "/srv/www/index.html": File(page),
        },
        units=[Unit("nginx.service")],
        persist=[Persist("/var/log/nginx", "root", "adm", 0o755)],
    )
