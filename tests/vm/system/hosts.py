"""Hosts alike but for one thing, built once and kept outside the checkout, and a machine that moves between them."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anicca as anicca_package
from anicca import process
from anicca.debian.fetch import default_cache
from anicca.declare.load import evaluate
from anicca.declare.spec import resolution_key
from anicca.fs import remove_tree, write_atomic
from anicca.store import LocalStore, StorePath
from anicca.store.export import export
from anicca.system.locking import require_lock
from anicca.system.plan import plan_system
from anicca.vm.machine import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anicca.vm.machine import Machine

OBSERVE = Path(__file__).with_name("observe.py")
STOP_AT = Path(__file__).with_name("stop_at.py")
AS_UNIT = "systemd-run -q --unit=cut -p StandardOutput=truncate:/run/cut -E PYTHONPATH=/etc/anicca/python"
SOFT_REBOOTS = "systemctl show --property=SoftRebootsCount --value"
SSH_ENDED = 255
SECONDS = 900
"""For one command in a guest under emulation, on a loaded machine."""
CACHE = Path(os.environ.get("ANICCA_TEST_CACHE") or Path.home() / ".cache/anicca-tests") / "mover"

TEXT = """\
from anicca.declare import Dhcp, Disk, F2fs, File, Host, Part, Persist, Unit, User
from anicca.declare.services import nginx, ssh, sudo, tool
from anicca.declare.units import service, timer

host = Host(
    name={name!r},
    packages={packages},
    users=[User("ann", groups=["sudo"]){users}],
    files={{"/etc/motd": File({motd!r}){files}}},
    timezone="UTC",
    locale="C.UTF-8",
    network=Dhcp(),
    root=F2fs(compress_algorithm="zstd", lazytime=True),
    disk=Disk(esp="256M", nix="4G", root="1G"),
    persist=[{persist}],
    kernel_parameters={parameters},
    parts=[ssh(), sudo(), {tool}, nginx(page={motd!r}), {parts}],
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a host has besides what all have. `parts`, `users` and so on are the words of its `host.py`."""

    name: str = "mover"
    motd: str = "A\n"
    tool: str = "tool()"
    packages: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    persist: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    upgraded: str | None = None
    """A package that is there in a later version: the same one with a byte more in each library."""

    def text(self) -> str:
        return TEXT.format(
            name=self.name,
            tool=self.tool,
            motd=self.motd,
            packages=list(self.packages),
            users="".join(f", {one}" for one in self.users),
            files="".join(f", {one}" for one in self.files),
            persist=", ".join(self.persist),
            parameters=list(self.parameters),
            parts=", ".join(self.parts),
        )

    @property
    def file(self) -> Path:
        """Its `host.py`, a folder for each."""
        return CACHE / f"host-{hashlib.sha256(self.text().encode()).hexdigest()[:16]}" / "host.py"


def build(declared: Declared) -> StorePath:
    """The system of a host; its pins and numbers are those of the base, and what they lack besides."""
    file = declared.file
    file.parent.mkdir(parents=True, exist_ok=True)
    # Others may build the same host.
    write_atomic(file, declared.text().encode())
    lock = file.with_name("host.lock")
    # Numbers that a host has stay its own.
    lock.write_bytes(_locked(declared, after=_locked(Declared())))
    if declared.upgraded is not None:
        lock.write_text(json.dumps(_upgraded(json.loads(lock.read_bytes()), declared.upgraded)))
    return StorePath.parse(anicca("build", file).strip())


def anicca(*words: str | Path) -> str:
    argv = [sys.executable, "-m", "anicca", "--store", CACHE / "store", *words]
    environment = {**os.environ, "PYTHONPATH": str(source())}
    done = process.run(argv, env=environment, timeout_seconds=3000, check=False)
    assert done.status == 0, done.stderr.decode(errors="replace")[-4000:]
    return done.text


@cache
def source() -> Path:
    """A copy of the program as it is now: hosts carry it, and must not differ if somebody edits it meanwhile."""
    copy = Path(tempfile.mkdtemp(prefix="anicca-source-"))
    atexit.register(shutil.rmtree, copy)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(anicca_package.__file__).parent, copy / "anicca", ignore=ignore)
    return copy


def _locked(declared: Declared, *, after: bytes | None = None) -> bytes:
    """The lock of a host of these packages and users, made once."""
    pinned = Declared(packages=declared.packages, users=declared.users, tool=declared.tool)
    text = pinned.text()
    pinned.file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(pinned.file, text.encode())
    # What every host has besides changes with the program.
    key = hashlib.sha256(f"{resolution_key(evaluate(pinned.file))} {text}".encode()).hexdigest()[:16]
    file = CACHE / f"lock-{key}" / "host.py"
    lock = file.with_name("host.lock")
    if not lock.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if after is not None:
            lock.write_bytes(after)
        try:
            anicca("lock", file)
        except BaseException:
            lock.unlink(missing_ok=True)
            raise
    return lock.read_bytes()


def _upgraded(lock: dict[str, Any], name: str) -> dict[str, Any]:
    """The lock with a package in a version that its archive does not have, which is put into the cache instead."""
    pin = next(pin for pin in lock["packages"] if pin["name"] == name)
    deb = _cached(pin["sha256"])
    work = Path(tempfile.mkdtemp(prefix="anicca-repack-"))
    try:
        process.run(["dpkg-deb", "--raw-extract", deb, work / "tree"])
        control = work / "tree/DEBIAN/control"
        later = f"{pin['version']}+later"
        control.write_text(control.read_text().replace(f"Version: {pin['version']}\n", f"Version: {later}\n"))
        for library in sorted((work / "tree/usr/lib").rglob("*.so*")):
            if library.is_file() and not library.is_symlink():
                library.write_bytes(library.read_bytes() + b"\0")
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": "1700000000"}
        command: list[str | Path] = [
            "dpkg-deb",
            "--root-owner-group",
            "-Znone",
            "--build",
            work / "tree",
            work / "new.deb",
        ]
        process.run(command, env=environment)
        content = (work / "new.deb").read_bytes()
    finally:
        remove_tree(work)
    pin |= {"version": later, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    target = _cached(pin["sha256"])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return lock


def _cached(sha256: str) -> Path:
    return default_cache() / "debs" / sha256[:2] / f"{sha256}.deb"


def toolchain(declared: Declared) -> StorePath:
    """What the builds of a host are run in; no system needs it."""
    spec = evaluate(declared.file)
    return plan_system(spec, require_lock(spec, declared.file)).toolchain.out


def make_image(declared: Declared, output: Path) -> None:
    """The first disk of a host, a copy of one made once."""
    system = Path(anicca("build", declared.file).strip()).name
    image = CACHE / f"{system}.raw"
    if not image.exists():
        for old in CACHE.glob("*.raw"):
            old.unlink()
        anicca("image", "--force", "-o", image.with_suffix(".new"), declared.file)
        image.with_suffix(".new").rename(image)
    process.run(["cp", "--sparse=always", image, output])


def pack(systems: Iterable[StorePath], has: StorePath, output: Path) -> None:
    """A disk that holds all that a host lacks of other systems, as `anicca store import` reads it."""
    with LocalStore.open(CACHE / "store") as store, output.open("wb") as file:
        for chunk in export(store, sorted(store.closure(systems) - store.closure([has]))):
            file.write(chunk)
        file.truncate(file.tell() + 512 - file.tell() % 512)


@dataclass(slots=True, kw_only=True)
class Mover:
    """A machine that runs a host, and the systems that it can move to."""

    machine: Machine
    systems: dict[str, StorePath]
    pids: dict[str, str] = field(default_factory=dict)

    def ask(self, command: str, stdin: bytes | None = None) -> str:
        return self.machine.run(command, timeout_seconds=SECONDS, stdin=stdin).text.strip()

    def boot(self) -> None:
        """Switch the host off and on, and wait until all that starts has started.

        No reset: after one the firmware takes minutes under an emulator, and seconds in a new QEMU.
        """
        self.machine.power_off(timeout_seconds=SECONDS)
        self.machine.start()
        self.wait()

    def wait(self) -> None:
        self.machine.wait_for_ssh(timeout_seconds=SECONDS)
        self.machine.run("systemctl is-system-running --wait", timeout_seconds=SECONDS, check=False)

    def soft_reboot(self, command: str = "anicca soft-reboot") -> None:
        """Have a fresh root and a new userspace, and wait until all that starts has started."""
        before = int(self.ask(SOFT_REBOOTS))
        # The session may end before it can say how the command did.
        done = self.machine.run(command, timeout_seconds=SECONDS, check=False)
        if done.status not in (0, SSH_ENDED):
            raise MachineError(f"{command} ended with status {done.status}", detail=done.stderr.decode())
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            # The connection ends with all else, and those who come too early are sent away.
            with contextlib.suppress(MachineError):
                if int(self.machine.run(SOFT_REBOOTS, timeout_seconds=60).text) > before:
                    self.wait()
                    return
            time.sleep(0.2)
        raise MachineError("no soft reboot", detail=self.machine.console_text()[-2000:])

    def stop_after(self, step: str, system: str) -> str:
        """Begin to switch, as a unit `cut`, and wait until it has stopped after a step; what it has done last."""
        self.ask("cat > /run/at.py", stdin=STOP_AT.read_bytes())
        self.ask(f"{AS_UNIT} python3 /run/at.py {step} switch --attached {system}")
        self.ask("until grep -q '^stopped\\|^ended' /run/cut || ! systemctl -q is-active cut; do sleep 0.5; done")
        return self.ask("grep '^stopped\\|^ended' /run/cut")

    def on_a_terminal(self, command: str) -> process.Child:
        """Begin a command in a session of its own that has a terminal; whoever kills it loses the connection."""
        ssh, *rest = self.machine.ssh_command()
        argv = [ssh, "-S", "none", "-tt", *rest, command]
        return process.start(argv, output=self.machine.run_dir / "terminal.log")

    def observe(self) -> dict[str, Any]:
        """All that a boot would have made of the host."""
        found: dict[str, Any] = json.loads(self.ask("python3 -", stdin=OBSERVE.read_bytes()))
        return found

    def generations(self) -> dict[int, list[str]]:
        return {one["number"]: one["roles"] for one in json.loads(self.ask("anicca --json generations"))}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What two observations do not have in common, in words."""
    found = []
    for path in sorted(one["paths"].keys() | other["paths"].keys()):
        here, there = one["paths"].get(path), other["paths"].get(path)
        if here != there:
            found.append(f"{path}: {here}, booted {there}")
    for key in ("units", "users", "groups", "mounts"):
        found += [f"{key}: not when booted: {what}" for what in sorted(set(one[key]) - set(other[key]))]
        found += [f"{key}: only when booted: {what}" for what in sorted(set(other[key]) - set(one[key]))]
    found += [
        f"{key}: {one[key]}, booted {other[key]}" for key in ("hostname", "machine", "sysctl") if one[key] != other[key]
    ]
    return found
