"""Which packages, in which versions: apt itself decides, in a private root, from signed indexes."""

from __future__ import annotations

import difflib
import email.utils
import os
import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anicca import events, process
from anicca.debian.archive import KEYRING
from anicca.debian.lock import Pin
from anicca.errors import AniccaError, DeclarationError, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from anicca.debian.archive import Mirrors
    from anicca.debian.lock import Archive
    from anicca.errors import Place
    from anicca.events import Report

TOOLCHAIN = (
    "mmdebstrap",  # assembles trees
    "apt",  # which mmdebstrap drives
    "dpkg",
    "mawk",
    "python3",  # runs our builders
    "erofs-utils",  # metadata images
    "e2fsprogs",  # nix volumes
    "f2fs-tools",  # roots
    "dosfstools",  # boot volumes
    "mtools",
    "fdisk",
    "systemd",  # systemctl --root: enablement links
    "kmod",
    "zstd",
    "xz-utils",
    "cpio",
    "mount",
)
"""What does the building. Essential packages come with them."""

UPDATE_SECONDS = 300
_URI = re.compile(r"'([^']+)' (\S+) (\d+) SHA256:([0-9a-f]{64})")
_UNKNOWN = re.compile(r"E: (?:Unable to locate package (\S+)|Package '?([^ ']+)'? has no installation candidate)")


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

    options: tuple[str, ...]
    lists: Path
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


def open_apt(directory: Path, wish: Wish, mirrors: Mirrors, report: Report = events.ignore) -> AptRoot:
    """A private apt for the wish's release, its indexes fetched and their signatures checked.

    Raises `AniccaError` with apt's words where a mirror does not answer or a signature does not hold.
    """
    for name in ("etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "state/status").write_bytes(b"")
    (directory / "etc/sources.list").write_text(_sources(wish, mirrors))
    settings = {
        "Dir": f"{directory}/",
        "Dir::Etc": "etc",
        "Dir::State": "state",
        "Dir::State::status": f"{directory}/state/status",
        "Dir::Cache": "cache",
        "APT::Architecture": wish.architecture,
        "APT::Architectures": wish.architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::ForceHash": "SHA256",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "20",
        "Dpkg::Use-Pty": "false",
    }
    apt = AptRoot(
        options=tuple(f"-o{key}={value}" for key, value in settings.items()),
        lists=directory / "state/lists",
        mirrors=mirrors,
    )
    report(events.Started(task="package indexes"))
    done = apt.run("apt-get", "update", check=False)
    complaint = done.stderr.decode("utf-8", "replace")
    if done.status != 0 or "W: Failed to fetch" in complaint or "W: Some index files failed" in complaint:
        raise AniccaError(
            f"the package indexes of {wish.release} could not be fetched",
            detail=complaint.strip(),
            hint="check apt's sources and the network; ANICCA_MIRROR names another mirror",
        )
    report(events.Finished(task="package indexes"))
    return apt


def _sources(wish: Wish, mirrors: Mirrors) -> str:
    """apt's sources: the release, its updates, and its security suite."""
    suites = (
        ("debian", wish.release),
        ("debian", f"{wish.release}-updates"),
        ("debian-security", f"{wish.release}-security"),
    )
    options = f"[arch={wish.architecture} signed-by={KEYRING}]"
    archives: dict[str, Archive] = {"debian": "debian", "debian-security": "debian-security"}
    return "".join(
        f"deb {options} {mirrors.bases[archives[archive]]} {suite} {' '.join(wish.components)}\n"
        for archive, suite in suites
    )


def resolve(apt: AptRoot, wish: Wish, held: Sequence[Pin] = ()) -> tuple[Pin, ...]:
    """The closure of the wish's packages as apt would install it on an empty machine, without Recommends.

    Packages in `held` keep their version where the archive still has it. Raises `DeclarationError` for packages that
    do not exist, with near names, and `AniccaError` where apt finds no solution.
    """
    _check_names(apt, wish)
    preferences = "".join(f"Package: {pin.name}\nPin: version {pin.version}\nPin-Priority: 1001\n\n" for pin in held)
    (apt.lists.parent.parent / "etc/preferences").write_text(preferences)
    done = apt.run(
        "apt-get", "install", "--yes", "--allow-downgrades", "--print-uris", "?essential", *wish.packages, check=False
    )
    if done.status != 0:
        raise AniccaError(
            "apt finds no way to install the declared packages together",
            detail=(done.text + done.stderr.decode("utf-8", "replace")).strip(),
            hint="its words above name the packages that conflict; `anicca lock --update` lets all pins move",
        )
    return tuple(sorted(_parse(apt, done.text, wish.architecture), key=lambda pin: pin.name))


def resolve_toolchain(apt: AptRoot, wish: Wish, held: Sequence[Pin] = ()) -> tuple[Pin, ...]:
    """The packages that do the building, for the wish's release."""
    tools = Wish(
        release=wish.release,
        architecture=wish.architecture,
        components=wish.components,
        packages=TOOLCHAIN,
        places={},
    )
    return resolve(apt, tools, held)


def release_epoch(apt: AptRoot, release: str) -> int:
    """The time of the release's own index, in seconds: the `Date` of its InRelease."""
    for path in sorted(apt.lists.glob(f"*_dists_{release}_InRelease")):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("Date: "):
                return int(email.utils.parsedate_to_datetime(line.removeprefix("Date: ")).timestamp())
    raise AniccaError(f"apt has no index of {release}", hint="run `anicca lock` again")


def current_versions(apt: AptRoot, names: Sequence[str]) -> dict[str, str]:
    """The newest version of each package in the archive; packages that are gone are left out."""
    found: dict[str, str] = {}
    for line in apt.run("apt-cache", "madison", *names, check=False).text.splitlines():
        name, version, _source = (part.strip() for part in line.split("|"))
        found.setdefault(name, version)
    return found


def _check_names(apt: AptRoot, wish: Wish) -> None:
    """Raise `DeclarationError` that names every package there is not, with near ones."""
    known = set(apt.run("apt-cache", "pkgnames").text.split())
    faults = []
    for name in wish.packages:
        if name.partition(":")[0] in known:
            continue
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.75)
        faults.append(
            Fault(
                message=f"{wish.release} has no package {name!r}",
                places=wish.places.get(name, ()),
                hint="did you mean " + " or ".join(near) + "?" if near else "see `apt-cache search`",
            )
        )
    if faults:
        raise DeclarationError(*faults)


def _parse(apt: AptRoot, text: str, architecture: str) -> list[Pin]:
    """Pins from what `--print-uris` printed."""
    found = []
    for line in text.splitlines():
        match = _URI.fullmatch(line.strip())
        if match is None:
            if line.startswith("'"):
                raise AniccaError(f"apt gives no SHA-256 for {line}")
            continue
        address, file, size, digest = match.groups()
        archive, filename = _locate(apt.mirrors, address)
        # apt names the file name_version_arch.deb, with colons of versions as %3a.
        name, version, arch = urllib.parse.unquote(file).removesuffix(".deb").rsplit("_", 2)
        assert arch in {architecture, "all"}
        found.append(
            Pin(
                name=name,
                version=version,
                architecture=arch,
                archive=archive,
                filename=filename,
                size_bytes=int(size),
                sha256=digest,
            )
        )
    return found


def _locate(mirrors: Mirrors, address: str) -> tuple[Archive, str]:
    """The archive and the path in it of a full address."""
    for archive, base in sorted(mirrors.bases.items(), key=lambda item: -len(item[1])):
        prefix = base.rstrip("/") + "/"
        if address.startswith(prefix):
            return archive, address[len(prefix) :]
    raise AniccaError(f"apt fetches from where it was not told to: {address}")
