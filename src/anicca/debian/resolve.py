"""Which packages, in which versions: apt itself decides, from signed indexes."""

from __future__ import annotations

import difflib
import email.utils
import re
import urllib.parse
from typing import TYPE_CHECKING

from anicca import events
from anicca.debian.apt import AptRoot, Wish
from anicca.debian.lock import Pin
from anicca.errors import AniccaError, DeclarationError, Fault

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from anicca.debian.archive import Mirrors
    from anicca.debian.lock import Archive
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

_URI = re.compile(r"'([^']+)' (\S+) (\d+) SHA256:([0-9a-f]{64})")
_UNMET = re.compile(r" (?:Depends|PreDepends|Breaks|Conflicts): (\S+)[^\n]*? but \S+ is to be installed")
ROUNDS = 30
"""How often holds are loosened before apt's answer is taken as final."""


def resolve(apt: AptRoot, wish: Wish, held: Sequence[Pin] = (), report: Report = events.ignore) -> tuple[Pin, ...]:
    """The closure of the wish's packages as apt would install it on an empty machine, without Recommends.

    Packages in `held` keep their version where the archive still has it, unless another package needs a newer one.
    Raises `DeclarationError` for packages that do not exist, with near names, and `AniccaError` where apt finds no
    solution.
    """
    _check_names(apt, wish)
    holds = {pin.name: pin for pin in held}
    for _round in range(ROUNDS):
        apt.hold(list(holds.values()))
        asked = ("--print-uris", "?essential", *wish.packages)
        done = apt.run("apt-get", "install", "--yes", "--allow-downgrades", *asked, check=False)
        if done.status == 0:
            return tuple(sorted(_parse(apt, done.text, wish.architecture), key=lambda pin: pin.name))
        words = done.text + done.stderr.decode("utf-8", "replace")
        in_the_way = {name.partition(":")[0] for name in _UNMET.findall(words)} & holds.keys()
        if not in_the_way:
            break
        for name in in_the_way:
            del holds[name]
        report(events.Notice(text=f"moved too, because others need it: {', '.join(sorted(in_the_way))}"))
    raise AniccaError(
        "apt finds no way to install the declared packages together",
        detail=words.strip(),
        hint="its words name the packages that conflict; `anicca lock HOST.py --update` lets all pins move",
    )


def resolve_toolchain(
    apt: AptRoot, wish: Wish, held: Sequence[Pin] = (), report: Report = events.ignore
) -> tuple[Pin, ...]:
    """The packages that do the building, for the wish's release."""
    tools = Wish(
        release=wish.release,
        architecture=wish.architecture,
        components=wish.components,
        packages=TOOLCHAIN,
        places={},
    )
    return resolve(apt, tools, held, report)


def index_epoch(apt: AptRoot) -> int:
    """The time of the newest index, in seconds: every version that apt offers was in the archives then."""
    dates = [
        int(email.utils.parsedate_to_datetime(line.removeprefix("Date: ")).timestamp())
        for path in apt.release_files()
        for line in path.read_text(errors="replace").splitlines()
        if line.startswith("Date: ")
    ]
    if not dates:
        raise AniccaError("apt has no index with a date", hint="run `anicca lock` again")
    return max(dates)


def current_pins(apt: AptRoot, names: Collection[str], architecture: str) -> dict[str, Pin]:
    """What the archive has now of each package; packages that are gone are left out."""
    apt.hold(())
    known = sorted(set(apt.run("apt-cache", "pkgnames").text.split()) & set(names))
    if not known:
        return {}
    done = apt.run("apt-get", "download", "--print-uris", *known, check=False)
    return {pin.name: pin for pin in _parse(apt, done.text, architecture)}


def _check_names(apt: AptRoot, wish: Wish) -> None:
    """Raise `DeclarationError` that names every package there is not, with near ones or those that provide it."""
    known = set(apt.run("apt-cache", "pkgnames").text.split())
    faults = []
    for name in wish.packages:
        if name.partition(":")[0] in known:
            continue
        places = wish.places.get(name, ())
        providers = _providers(apt, name)
        if providers:
            message = f"{name!r} is no package of {wish.release} but a name that others provide"
            hint = "choose one of " + ", ".join(providers)
        else:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.75)
            message = f"{wish.release} has no package {name!r} in {' '.join(wish.components)}"
            hint = "did you mean " + " or ".join(near) + "?" if near else "see `apt-cache search`"
        faults.append(Fault(message=message, places=places, hint=hint))
    if faults:
        raise DeclarationError(*faults)


def _providers(apt: AptRoot, name: str) -> list[str]:
    """The packages that provide a name."""
    _, _, listed = apt.run("apt-cache", "showpkg", name, check=False).text.partition("Reverse Provides:")
    return sorted({line.split(" ")[0] for line in listed.splitlines() if line.strip()})


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
            return archive, urllib.parse.unquote(address[len(prefix) :])
    raise AniccaError(f"apt fetches from where it was not told to: {address}")
