"""The places where a host keeps its generations, and what is found there. A test's host is a few directories."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from anicca import __version__, fs
from anicca.disks.plan import partition_uuid
from anicca.errors import AniccaError, RefusedError
from anicca.store import locks, profiles
from anicca.store.nar import hash_path
from anicca.store.path import StorePath
from anicca.system.boot import Copy, Delete, Write
from anicca.system.changes import Change, Forget, NoteGood, Point, Record
from anicca.system.generations import Generation, Seen, manifest
from anicca.system.reading import System
from anicca.system.switching import systemd
from anicca.system.switching.esp import carry_out, read_esp, want

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anicca.store.local import LocalStore
    from anicca.system.boot import Esp, Wanted
    from anicca.system.generations import Origins


ORIGINS = "origins.json"
"""In the directory of this boot's facts: where the system that was built last was declared."""

BUILT, TOOLS = "built", "tools"
"""Links there, which keep the system that was built here last, and the tools that built it."""

LEFT = "left"
"""A directory there: links to systems that were left live, whose files processes may still open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlaces:
    """Where a host's store, ESP and facts of this boot are. Tests and other machines give others."""

    store: LocalStore
    boot: Path = Path("/boot")
    run: Path = Path("/run/anicca")
    command_line: Path = Path("/proc/cmdline")

    @property
    def profile(self) -> Path:
        """The profile whose generations are the host's."""
        return self.store.state_dir / "profiles" / "system"

    @property
    def state(self) -> Path:
        """Manifests, the highest number, the last good one, the lock."""
        return self.store.root / "nix" / "var" / "anicca"

    def system(self, path: StorePath) -> System:
        """A system of the store."""
        return System(path, store_dir=self.store.store_dir)

    def device_of_esp(self) -> Path | None:
        """The ESP of the host that was booted here; None where none was."""
        booted = booted_system(self.command_line)
        if booted is None or not self.store.is_valid(booted):
            return None
        return Path("/dev/disk/by-partuuid", str(partition_uuid(self.system(booted).name, "esp")))

    def want(self, generation: Generation) -> Wanted:
        """The boot entry of a generation."""
        return want(generation, self.system(generation.system))


def look(places: HostPlaces, esp: Esp | None = None) -> Seen:
    """The host's generations and their roles now. Without an ESP at hand, what boots next is what is current."""
    found = tuple(
        Generation(number=one.number, system=one.path, created=one.created)
        for one in profiles.generations(places.profile)
    )
    if esp is None:
        current = profiles.current(places.profile)
        following = current.number if current else None
    else:
        name = esp.next_boot()
        following = name.generation if name else None
    booted = booted_system(places.command_line)
    return Seen(
        generations=found,
        next=following,
        good=_read_number(places.state / "good") or _assumed_good(esp, found, booted),
        running=_leads_to(places.run / "system"),
        booted=booted,
        last_number=_read_number(places.state / "last-number") or 0,
    )


def _assumed_good(esp: Esp | None, found: tuple[Generation, ...], booted: StorePath | None) -> int | None:
    """On a host that has never recorded a healthy boot: what was booted, if nobody counts its boots."""
    numbers = [one.number for one in found if one.system == booted]
    uncounted = {name.generation for name in esp.entries if name.left is None} if esp else set()
    return max((number for number in numbers if number in uncounted), default=None)


def _leads_to(link: Path) -> StorePath | None:
    """The object of the store that a link leads to."""
    try:
        return StorePath.within(os.readlink(link))  # noqa: PTH115 (the text)
    except (OSError, ValueError):
        return None


def booted_system(command_line: Path) -> StorePath | None:
    """The system that the kernel was started with; the last word wins, as for the initrd."""
    try:
        words = re.findall(r"(?:^|\s)anicca\.system=(\S+)", command_line.read_text())
        return StorePath.within(words[-1]) if words else None
    except (OSError, ValueError):
        return None


def current_number(places: HostPlaces) -> int | None:
    """What the profile points to."""
    found = profiles.current(places.profile)
    return found.number if found else None


@contextmanager
def hold(places: HostPlaces, purpose: str) -> Iterator[None]:
    """Be the only one who changes this host's generations. Refused, with who does, if somebody else is at it."""
    try:
        places.state.mkdir(parents=True, exist_ok=True)
        fd = locks.open_lock(places.state / "lock")
    except PermissionError as error:
        raise AniccaError(f"anicca {purpose} changes this host, which takes root", hint="use sudo") from error
    try:
        if not locks.lock(fd, exclusive=True, wait=False):
            holder = os.pread(fd, 200, 0).decode("utf-8", "replace").strip()
            raise RefusedError(f"somebody else changes this host now: {holder}", hint="wait until that has ended")
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"anicca {purpose}, process {os.getpid()}\n".encode(), 0)
        keep_from_collection(places)
        yield
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def keep_from_collection(places: HostPlaces) -> None:
    """Make what runs and what was booted roots of the store, whichever generations there are."""
    if not places.run.is_dir():
        return
    booted = booted_system(places.command_line)
    if booted is not None and not (places.run / "booted").is_symlink():
        fs.symlink_atomic(places.run / "booted", str(booted))
    for name, link in (("anicca-running", "system"), ("anicca-booted", "booted")):
        root = places.store.state_dir / "gcroots" / name
        if root.parent.is_dir() and not root.is_symlink():
            fs.symlink_atomic(root, str(places.run / link))
    left = places.run / LEFT
    if left.is_dir() and not systemd.read_stale():
        fs.remove_tree(left)


def keep_left(places: HostPlaces, system: StorePath) -> None:
    """Keep a system that was left live from the collector, as long as processes still see its /usr or /etc."""
    if systemd.read_stale():
        (places.run / LEFT).mkdir(exist_ok=True)
        places.store.add_indirect_root(places.run / LEFT / system.basename, system)


def check_whole(places: HostPlaces, system: StorePath, *, beside: StorePath | None = None) -> None:
    """Raise `RefusedError` unless all that a system needs is in the store and is what was registered.

    What it shares with the system `beside` it, which runs, is only looked for; all else is read and hashed. From now on
    no collector takes any of it, until the store is closed.
    """
    places.store.protect((system,))
    closure = places.store.closure([system])
    shared = places.store.closure([beside]) if beside is not None and places.store.is_valid(beside) else set()
    infos = places.store.infos(closure - shared)
    faults = []
    for path in sorted(closure):
        lying = places.store.physical(path)
        if not os.path.lexists(lying):
            faults.append(f"{path}: gone")
        elif path in infos and hash_path(lying)[0] != infos[path].nar_hash:
            faults.append(f"{path}: changed since it was registered")
    if faults:
        raise RefusedError(
            f"{system}: {len(faults)} objects that it needs are damaged; nothing was changed",
            hint="anicca store repair-path replaces them by good ones, or copy the system again",
            detail="\n".join(faults[:20]),
        )


def check_running(seen: Seen) -> StorePath:
    """The system that runs. Raises `RefusedError` where none does: this is no host of ours."""
    if seen.running is None:
        raise RefusedError("no system of anicca's runs here", hint="anicca image makes a host's first disk")
    return seen.running


def check_name(places: HostPlaces, system: System, *, force: bool = False) -> None:
    """Raise `RefusedError` if the system is another host's: other name, or other disks."""
    booted = booted_system(places.command_line)
    if force or booted is None or not places.store.is_valid(booted):
        return
    ours = places.system(booted)
    if ours.name != system.name:
        raise RefusedError(
            f"this host is {ours.name}, the system is {system.name}'s", hint="--force if it is to become that"
        )
    for word in ("anicca.root", "anicca.nix"):
        if _word(ours.cmdline, word) != _word(system.cmdline, word):
            raise RefusedError(
                f"{word}: this host has {_word(ours.cmdline, word)}, the system asks for {_word(system.cmdline, word)}",
                hint="it would not find its disks; --force if they are to change",
            )


def _word(cmdline: str, name: str) -> str | None:
    return next((word.split("=", 1)[1] for word in cmdline.split() if word.startswith(f"{name}=")), None)


def apply(changes: Sequence[Change], places: HostPlaces, *, after: Callable[[Change], None] = lambda _: None) -> None:
    """Do the changes in order, each durable before the next. `after` is called between them; tests cut there."""
    for change in changes:
        match change:
            case Record(generation=generation):
                _record(places, generation)
            case Copy() | Delete() | Write():
                carry_out([change], places.boot)
            case Point(number=number):
                profiles.switch(places.profile, number)
            case NoteGood(number=number):
                places.state.mkdir(parents=True, exist_ok=True)
                fs.write_atomic(places.state / "good", f"{number}\n".encode())
            case Forget(generation=generation):
                # The tools first: without their generation nobody would ever let go of them.
                for link in reversed(keeping(places, generation.number)):
                    link.unlink(missing_ok=True)
                    fs.sync_directory(link.parent)
                _manifest(places, generation.number).unlink(missing_ok=True)
            case _:
                assert_never(change)
        after(change)


def keep_built(store: LocalStore, run: Path, system: StorePath, tools: StorePath) -> None:
    """Keep a system that was built here, and what built it, from the collector until the next one is built.

    From the generation that is made of it on, both stay as long as that does: the next build needs the same tools.
    """
    # Those of the build before are not this one's.
    (run / TOOLS).unlink(missing_ok=True)
    store.add_indirect_root(run / BUILT, system)
    # What a host was built with elsewhere is not here.
    if store.is_valid(tools):
        store.add_indirect_root(run / TOOLS, tools)


def _keep_tools(places: HostPlaces, generation: Generation) -> None:
    """Keep the tools that built a generation's system, if it was built here."""
    built, tools = (_leads_to(places.run / name) for name in (BUILT, TOOLS))
    if built == generation.system and tools is not None:
        _, root = keeping(places, generation.number)
        places.store.add_root(root.name, tools)


def keeping(places: HostPlaces, number: int) -> tuple[Path, Path]:
    """The links that keep a generation's system, and the tools that built it if it was built here."""
    return _link(places, number), places.store.state_dir / "gcroots" / f"anicca-tools-{number}"


def note_origins(run: Path, system: StorePath, origins: Origins) -> None:
    """Remember, until a generation is made of it, in which lines a system built here was declared.

    The system itself does not say: a line that moves must not change it.
    """
    run.mkdir(parents=True, exist_ok=True)
    fs.write_atomic(run / ORIGINS, json.dumps({"system": str(system), "origins": origins}).encode())


def _noted_origins(places: HostPlaces, system: StorePath) -> Origins | None:
    try:
        noted = dict(json.loads((places.run / ORIGINS).read_bytes()))
    except (OSError, ValueError):
        return None
    return dict(noted["origins"]) if noted.get("system") == str(system) else None


def read_manifest(places: HostPlaces, number: int) -> dict[str, object] | None:
    """What a generation was made from, if it was made on this host."""
    try:
        return dict(json.loads(_manifest(places, number).read_bytes()))
    except (OSError, ValueError):
        return None


def _record(places: HostPlaces, generation: Generation) -> None:
    system = places.system(generation.system)
    places.store.protect((generation.system,))
    if not places.store.is_valid(generation.system):
        raise AniccaError(f"{generation.system}: not valid in this store")
    manifests = places.state / "generations"
    manifests.mkdir(parents=True, exist_ok=True)
    # The number first: whatever happens now, nobody gets it again.
    fs.write_atomic(places.state / "last-number", f"{generation.number}\n".encode())
    text = manifest(
        generation, system.made_from, version=__version__, origins=_noted_origins(places, generation.system)
    )
    fs.write_atomic(_manifest(places, generation.number), text)
    places.profile.parent.mkdir(parents=True, exist_ok=True)
    with profiles.locked(places.profile):
        fs.symlink_atomic(_link(places, generation.number), str(generation.system))
    _keep_tools(places, generation)


def _link(places: HostPlaces, number: int) -> Path:
    return places.profile.with_name(f"{places.profile.name}-{number}-link")


def _manifest(places: HostPlaces, number: int) -> Path:
    return places.state / "generations" / f"{number}.json"


def _read_number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def read_esp_if_there(places: HostPlaces) -> Esp | None:
    """The ESP, None where it is not mounted, or not for us."""
    try:
        return read_esp(places.boot)
    except (AniccaError, OSError):
        # Whoever changes the host mounts it, for root alone, and may take it away while we read.
        return None
