"""Logging in over SSH."""

from __future__ import annotations

from anicca.declare.host import File, Part, Persist, Unit
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
