"""The convergent tools beside which bench/switch.py measures: a Debian root with all of them, and what each is asked.

The root is a directory here, and the same one as a disk image in the guest, so that all are measured on one machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca import process
from anicca.debian.archive import find_mirrors
from anicca.fs import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

MANY = 1000
PACKAGES = ("puppet-agent", "cfengine3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "ca-certificates")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", "TERM": "dumb"}
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


def inside(root: Path, script: str, *, check: bool = True) -> process.Completed:
    """Run a script in a root, with processes of its own."""
    start = f'mount -t proc proc {root}/proc && mount --rbind /sys {root}/sys && exec chroot {root} sh -c "$1"'
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", start, "sh", script]
    return process.run(argv, env=ENVIRONMENT, check=check, timeout_seconds=900)


def make_root(cache: Path) -> Path:
    """The root with the tools and what they are asked, made once."""
    texts = configurations()
    identity = hashlib.sha256(repr((PACKAGES, texts)).encode()).hexdigest()[:16]
    root = cache / f"peers-{identity}"
    if root.is_dir():
        return root
    partial = root.with_suffix(".new")
    remove_tree(partial)
    cache.mkdir(parents=True, exist_ok=True)
    include = f"--include={','.join(PACKAGES)}"
    mirror = find_mirrors().bases["debian"]
    process.run(["mmdebstrap", "--variant=minbase", include, "trixie", partial, mirror], timeout_seconds=1800)
    for name in ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt"):
        shutil.copyfile(name, f"{partial}{name}", follow_symlinks=True)
    settings = [f"{name}={value}" for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "https_proxy")]
    certificates = "/etc/ssl/certs/ca-certificates.crt"
    settings += [f"PIP_CERT={certificates}", f"REQUESTS_CA_BUNDLE={certificates}", "PIP_USE_DEPRECATED=legacy-certs"]
    inside(partial, f"python3 -m venv /opt/salt && {' '.join(settings)} /opt/salt/bin/pip install -q salt")
    for file, text in texts.items():
        target = partial / HERE.lstrip("/") / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o600)
    partial.rename(root)
    return root


def make_disk(root: Path, output: Path) -> None:
    """The root as a disk of the guest's."""
    output.unlink(missing_ok=True)
    process.run(["mkfs.ext4", "-q", "-L", "peers", "-d", root, output, "3G"], timeout_seconds=600)
