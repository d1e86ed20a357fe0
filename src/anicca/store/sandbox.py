"""The sandbox of a builder, through bubblewrap: what it sees is what the derivation says, and nothing of the machine.

Ordinary builders run as Nix runs them: uid 1000 without privileges in namespaces of their own. A derivation that
requires the feature `uid-range` runs as real root, for builders that must chown to any uid, mount and make device
nodes; it has no network either. `__root` in the environment names a store object to be its root directory.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.store.environment import BUILD_DIR
from anicca.store.seccomp import builder_filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

UID, GID = 1000, 100
_OWN = frozenset({"dev", "proc", "sys", "tmp", "run", "nix", "build"})
"""Top-level names that are never taken from `__root`."""
_MIRRORED = frozenset({"etc", "var"})
"""Directories of `__root` that get entries of ours: bound entry by entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What one builder is to see. All paths are physical."""

    directory: Path
    """The build's own directory: `build`, `store`, `tmp`, `etc` are made in it."""
    inputs: Sequence[Path]
    root: Path | None = None
    privileged: bool = False
    network: bool = False
    shell: Path | None = None
    """A static shell to be `/bin/sh` where there is no `root`."""

    @property
    def store(self) -> Path:
        """What appears as `/nix/store`: the builder makes its outputs here."""
        return self.directory / "store"

    @property
    def build(self) -> Path:
        """What appears as `/build`."""
        return self.directory / "build"


def prepare(sandbox: Sandbox, files: Mapping[str, bytes]) -> None:
    """Make the directories that the sandbox binds, with `files` in the build directory."""
    for name, mode in (
        ("build", 0o755 if sandbox.privileged else 0o700),
        ("store", 0o1775),
        ("tmp", 0o1777),
        ("etc", 0o755),
    ):
        (sandbox.directory / name).mkdir()
        (sandbox.directory / name).chmod(mode)
    for name, content in files.items():
        (sandbox.build / name).write_bytes(content)
    etc = sandbox.directory / "etc"
    (etc / "passwd").write_text(
        "root:x:0:0:Nix build user:/build:/noshell\n"
        f"nixbld:x:{UID}:{GID}:Nix build user:/build:/noshell\n"
        "nobody:x:65534:65534:Nobody:/:/noshell\n"
    )
    (etc / "group").write_text(f"root:x:0:\nnixbld:!:{GID}:\nnogroup:x:65534:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    if sandbox.network:
        for name in ("resolv.conf", "services", "nsswitch.conf"):
            if Path("/etc", name).exists():
                shutil.copyfile(Path("/etc", name), etc / name)
    for path in sandbox.inputs:
        # A bind mount would follow a link: links are copied instead.
        if path.is_symlink():
            (sandbox.store / path.name).symlink_to(path.readlink())


CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "LINUX_IMMUTABLE", "SETFCAP", "MKNOD"),
    *("SETUID", "SETGID", "SETPCAP", "KILL", "SYS_CHROOT", "SYS_ADMIN", "SYS_RESOURCE", "SYS_NICE", "IPC_LOCK"),
    *("AUDIT_WRITE", "NET_BIND_SERVICE", "NET_ADMIN"),
)
"""What a privileged builder may: own files as anyone, mount, chroot, make device nodes. Not load modules, set the
clock, trace, or reach hardware. It is root of this machine all the same: such builders run what Debian has signed, and
nothing else should be built so (docs/internals/tree.md)."""


def command(sandbox: Sandbox, env: Mapping[str, str], argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in a sandbox that was prepared. AniccaError if it cannot be made here."""
    program = shutil.which("bwrap")
    if program is None:
        raise AniccaError("bwrap: program not found", hint="install the package bubblewrap")
    if sandbox.privileged and os.geteuid() != 0:
        raise AniccaError(
            "this derivation is built as root (requiredSystemFeatures has uid-range), and you are not root",
            hint="run the same command with sudo, or copy the outputs from a machine where it was built",
        )
    seccomp = None if sandbox.privileged else builder_filter()
    words = [program, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--hostname", "localhost"]
    if not sandbox.network:
        words.append("--unshare-net")
    if sandbox.privileged:
        words += ["--cap-drop", "ALL"]
        for capability in CAPABILITIES:
            words += ["--cap-add", f"CAP_{capability}"]
    else:
        words += ["--unshare-user", "--uid", str(UID), "--gid", str(GID), "--cap-drop", "ALL", "--as-pid-1"]
    words += _mounts(sandbox)
    words += ["--chdir", BUILD_DIR, "--clearenv"]
    for key, value in env.items():
        words += ["--setenv", key, value]
    if seccomp is None:
        return [*words, "--", *argv]
    file = sandbox.directory / "seccomp"
    file.write_bytes(seccomp)
    # bubblewrap takes the filter from a descriptor, which a shell opens for it.
    return ["/bin/sh", "-c", 'exec 9< "$0"; exec "$@"', str(file), *words, "--seccomp", "9", "--", *argv]


def _mounts(sandbox: Sandbox) -> Iterator[str]:
    bind = "--dev-bind" if sandbox.privileged else "--bind"
    own = sandbox.directory
    # Parents that bubblewrap makes by itself are 0700: no way through for a privileged builder's other users.
    yield from ("--perms", "0755", "--dir", "/nix")
    if sandbox.root is None:
        yield from ("--perms", "0755", "--dir", "/bin")
        yield from ("--ro-bind", str(own / "etc"), "/etc")
        if sandbox.shell is not None:
            yield from ("--ro-bind", str(sandbox.shell), "/bin/sh")
    else:
        yield from _root(sandbox.root, own / "etc")
    yield from (bind, str(own / "tmp"), "/tmp")  # noqa: S108 (inside the sandbox)
    yield from ("--dev", "/dev", "--proc", "/proc")
    if sandbox.privileged:
        yield from ("--tmpfs", "/run", "--dir", "/run/lock")
    yield from (bind, str(sandbox.build), BUILD_DIR)
    yield from ("--bind", str(sandbox.store), "/nix/store")
    for path in sandbox.inputs:
        if not path.is_symlink():
            yield from ("--ro-bind", str(path), f"/nix/store/{path.name}")


def _root(root: Path, own_etc: Path) -> Iterator[str]:
    """Bind a tree's top-level entries read-only below a root of ours, so that mount points need not be in it."""
    for entry in sorted(root.iterdir()):
        if entry.name in _OWN:
            continue
        if entry.name in _MIRRORED and entry.is_dir() and not entry.is_symlink():
            yield from ("--perms", "0755", "--dir", f"/{entry.name}")
            for child in sorted(entry.iterdir()):
                if entry.name != "var" or child.name != "tmp":
                    yield from _entry(child, f"/{entry.name}/{child.name}")
        else:
            yield from _entry(entry, f"/{entry.name}")
    for file in sorted(own_etc.iterdir()):
        if not _present(root / "etc" / file.name):
            yield from ("--ro-bind", str(file), f"/etc/{file.name}")
    yield from ("--perms", "0755", "--dir", "/var", "--perms", "1777", "--tmpfs", "/var/tmp")  # noqa: S108 (inside the sandbox)


def _entry(source: Path, target: str) -> Iterator[str]:
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        yield from ("--symlink", os.readlink(source), target)  # noqa: PTH115 (the text, not a Path)
    elif stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        yield from ("--ro-bind", str(source), target)


def _present(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def static_shell(candidates: Iterable[str] = ("busybox", "bash-static")) -> Path | None:
    """A shell that needs no libraries, for builders that expect `/bin/sh` as Nix's sandbox has it."""
    for name in candidates:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return None
