"""The convergent tools beside which bench/switch.py measures: a Debian root with all of them, and what each is asked.

The root is a directory here, and the same one as a disk image in the guest, so that all are measured on one machine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.debian_root import install_wheel, make_once

from anicca import process

if TYPE_CHECKING:
    from pathlib import Path

MANY = 1000
PACKAGES = ("puppet-agent", "cfengine3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "ca-certificates")
HERE = "/srv/peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A tool; `apply` is a shell command with the name of a configuration in it: one-a, one-b, many."""

    name: str
    version: str
    apply: str


PEERS = (
    Peer(name="CFEngine", version="cf-agent --version", apply=f"cf-agent -K -f {HERE}/{{}}.cf"),
    Peer(name="Puppet", version="puppet --version", apply=f"puppet apply {HERE}/{{}}.pp"),
    Peer(
        name="Salt",
        version="/opt/salt/bin/salt-call --version",
        apply=f"/opt/salt/bin/salt-call --local --retcode-passthrough --file-root={HERE} state.apply {{}}",
    ),
)


def configurations() -> dict[str, str]:
    """File name to text: one file in two versions, and a thousand that stay as they are."""
    found = {}
    for name, files in {
        "one-a": {"/etc/peers-one": "a"},
        "one-b": {"/etc/peers-one": "b"},
        "many": {f"/etc/peers-many/{number}": str(number) for number in range(MANY)},
    }.items():
        cfengine = "".join(f'  "{path}" create => "true", content => "{text}";\n' for path, text in files.items())
        found[f"{name}.cf"] = f"bundle agent main\n{{\n files:\n{cfengine}}}\n"
        puppet = "".join(f"file {{ '{path}': ensure => file, content => '{text}' }}\n" for path, text in files.items())
        found[f"{name}.pp"] = f"file {{ '/etc/peers-many': ensure => directory }}\n{puppet}"
        found[f"{name}.sls"] = "".join(
            f"{path}:\n  file.managed:\n    - contents: '{text}'\n    - makedirs: True\n"
            for path, text in files.items()
        )
    return found


def make_root(cache: Path) -> Path:
    """The root with the tools and what they are asked, made once."""
    texts = configurations()

    def fill(root: Path) -> None:
        install_wheel(root, "salt")
        for file, text in texts.items():
            target = root / HERE.lstrip("/") / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o600)

    identity = hashlib.sha256(repr((PACKAGES, texts)).encode()).hexdigest()[:16]
    return make_once(cache / f"peers-{identity}", PACKAGES, fill, variant="minbase")


def make_disk(root: Path, output: Path) -> None:
    """The root as a disk of the guest's."""
    output.unlink(missing_ok=True)
    process.run(["mkfs.ext4", "-q", "-L", "peers", "-d", root, output, "3G"], timeout_seconds=600)
