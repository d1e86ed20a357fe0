"""Pins of packages that there are not."""

from __future__ import annotations

import hashlib

from anicca.debian.lock import Pin


def pin(name: str, version: str = "1.0-1") -> Pin:
    return Pin(
        name=name,
        version=version,
        architecture="amd64",
        archive="debian",
        filename=f"pool/main/{name}_{version}_amd64.deb",
        size_bytes=10,
        sha256=hashlib.sha256(f"{name} {version}".encode()).hexdigest(),
    )
