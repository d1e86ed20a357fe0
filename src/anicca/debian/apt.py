"""A private apt: its own indexes, no installed package, and nobody else at it meanwhile."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca import events, process
from anicca.debian.archive import KEYRING
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from anicca.debian.archive import Mirrors
    from anicca.debian.lock import Archive, Pin
    from anicca.errors import Place
    from anicca.events import Report

UPDATE_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of apt: packages by name, with the places that name them."""

    release: str
    architecture: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    places: Mapping[str, tuple[Place, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AptRoot:
    """A private apt, with its own indexes and no installed package. Made by `open_apt`."""

    directory: Path
    options: tuple[str, ...]
    mirrors: Mirrors

    def run(self, *arguments: str, check: bool = True) -> process.Completed:
        """Run apt-get or apt-cache with the private root's options after its name."""
        program, *rest = arguments
        return process.run(
            [program, *self.options, *rest],
            env={
                **{key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")},
                "PATH": os.environ.get("PATH", ""),
                "LC_ALL": "C.UTF-8",
            },
            check=check,
            timeout_seconds=UPDATE_SECONDS,
        )

    def hold(self, pins: Sequence[Pin]) -> None:
        """Let apt choose these versions, older ones than it has too. A version that is gone binds nothing."""
        text = "".join(f"Package: {pin.name}\nPin: version {pin.version}\nPin-Priority: 1001\n\n" for pin in pins)
        (self.directory / "etc/preferences").write_text(text)

    def release_files(self) -> list[Path]:
        """The signed release file of each suite."""
        return sorted((self.directory / "state/lists").glob("*Release"))


@contextmanager
def open_apt(directory: Path, wish: Wish, mirrors: Mirrors, report: Report = events.ignore) -> Iterator[AptRoot]:
    """A private apt for the wish's release, its indexes fetched and their signatures checked.

    Whoever else wants the same directory waits until we are done. Raises `AniccaError` with apt's words where a
    mirror does not answer or a signature does not hold.
    """
    try:
        for name in ("etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise AniccaError(
            f"apt's indexes cannot be kept: {error.filename}: {error.strerror}",
            hint="make room or rights there, or name another place in ANICCA_CACHE",
        ) from error
    try:
        _wait_for(lock, report)
        yield _update(directory, wish, mirrors, report)
    finally:
        os.close(lock)


def _wait_for(lock: int, report: Report) -> None:
    """Take the lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report(events.Notice(text="waiting for another anicca that is asking apt"))
        fcntl.flock(lock, fcntl.LOCK_EX)


def _update(directory: Path, wish: Wish, mirrors: Mirrors, report: Report) -> AptRoot:
    """Write apt's settings and fetch its indexes."""
    (directory / "state/status").write_bytes(b"")
    (directory / "etc/sources.list").write_text(sources(wish, mirrors))
    (directory / "etc/preferences").write_bytes(b"")
    settings = {
        "Dir": f"{directory}/",
        "Dir::Etc": "etc",
        "Dir::State": "state",
        "Dir::State::status": f"{directory}/state/status",
        "Dir::Cache": "cache",
        "APT::Architecture": wish.architecture,
        "APT::Architectures": wish.architecture,
        # What this machine prefers for itself says nothing about the host.
        "APT::Default-Release": "",
        "APT::Install-Recommends": "false",
        "APT::Install-Suggests": "false",
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        # Whatever this machine lets pass for itself: what is pinned here comes from signed indexes.
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowDowngradeToInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::Languages": "none",
        "Acquire::ForceHash": "SHA256",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "20",
        "Acquire::https::Timeout": "20",
        "Dpkg::Use-Pty": "false",
    }
    options = tuple(f"-o{key}={value}" for key, value in settings.items())
    apt = AptRoot(directory=directory, options=options, mirrors=mirrors)
    report(events.Started(task="package indexes"))
    done = apt.run("apt-get", "update", check=False)
    if done.status != 0:
        raise AniccaError(
            f"the package indexes of {wish.release} could not be fetched",
            detail=done.stderr.decode("utf-8", "replace").strip(),
            hint="check apt's sources and the network; ANICCA_MIRROR names another mirror",
        )
    report(events.Finished(task="package indexes"))
    return apt


def sources(wish: Wish, mirrors: Mirrors) -> str:
    """apt's sources: the release, its updates, and its security suite."""
    suites: tuple[tuple[Archive, str], ...] = (
        ("debian", wish.release),
        ("debian", f"{wish.release}-updates"),
        ("debian-security", f"{wish.release}-security"),
    )
    options = f"[arch={wish.architecture} signed-by={KEYRING}]"
    components = " ".join(wish.components)
    return "".join(f"deb {options} {mirrors.bases[archive]} {suite} {components}\n" for archive, suite in suites)
