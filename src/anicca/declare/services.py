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
