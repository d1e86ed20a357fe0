"""Reaching a guest over ssh with a key of the run's own, and nothing of the user's configuration."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from pathlib import Path

CREDENTIAL = "ssh.authorized_keys.root"
"""systemd-tmpfiles writes this credential to /root/.ssh/authorized_keys (provision.conf)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAccess:
    """How to reach root on the guest."""

    port: int
    key: Path
    known_hosts: Path
    control_socket: Path | None = None
    """Where connections are shared; its name must be short (a unix socket's has 107 bytes)."""


def make_key(directory: Path) -> tuple[Path, bytes]:
    """An ed25519 key in `directory`, made if missing: the private key's path, and the public line."""
    private, public = directory / "id_ed25519", directory / "id_ed25519.pub"
    if not private.exists():
        key = Ed25519PrivateKey.generate()
        text = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        public.write_bytes(text + b" anicca-vm\n")
        fd = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
                )
            )
    return private, public.read_bytes()


def ssh_argv(access: SshAccess, *command: str) -> list[str]:
    """The ssh command; without `command`, an interactive session.

    The host key is kept at first contact and must stay: a guest that comes back with another one is not reached.
    """
    options = {
        "IdentityFile": str(access.key),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(access.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "accept-new",
        # One name for the guest whatever its port is this time.
        "HostKeyAlias": "anicca-guest",
        "CheckHostIP": "no",
        "LogLevel": "ERROR",
    }
    if command:
        options |= {"BatchMode": "yes", "ConnectTimeout": "20", "ServerAliveInterval": "10", "ServerAliveCountMax": "6"}
    if access.control_socket is not None:
        options |= {"ControlMaster": "auto", "ControlPath": str(access.control_socket), "ControlPersist": "600"}
    argv = ["ssh", "-F", "/dev/null", "-p", str(access.port)]
    for name, value in options.items():
        argv += ["-o", f'{name}="{value}"' if " " in value else f"{name}={value}"]
    return [*argv, "root@127.0.0.1", *command]


def free_port() -> int:
    """A port of the loopback that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ssh_answers(port: int, timeout_seconds: float) -> bool:
    """Whether an ssh server greets at that port. QEMU accepts connections for guests that do not listen yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds) as connection:
            connection.settimeout(timeout_seconds)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
