"""Where packages come from: the mirrors that this machine's own apt uses, or that the environment names.

No address is written down anywhere in anicca: apt's configuration is asked at run time.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import process
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anicca.debian.lock import Archive, Pin

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ENVIRONMENT = {"debian": "ANICCA_MIRROR", "debian-security": "ANICCA_SECURITY_MIRROR"}
SNAPSHOT = "ANICCA_SNAPSHOT"
"""Names a snapshot archive by a template, as `snapshot` of a declaration does."""
PLACEHOLDERS = ("archive", "timestamp", "filename", "sha256")
"""What a template may hold: `debian` or `debian-security`, `YYYYMMDDTHHMMSSZ`, `pool/main/…`, and the package's hash.
To one that has neither `{filename}` nor `{sha256}`, `/{archive}/{timestamp}/{filename}` is appended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """Base addresses by archive, and a snapshot archive's pattern where one is known."""

    bases: Mapping[Archive, str]
    snapshot: str | None = None

    def addresses(self, pin: Pin, timestamp: str) -> tuple[str, ...]:
        """Where to ask for a package, best first. `timestamp` is `YYYYMMDDTHHMMSSZ`.

        Raises `AniccaError` for a snapshot template that asks for what we do not know.
        """
        # Some servers take a plus for a space, so everything but slashes is quoted, as apt does.
        filename = urllib.parse.quote(pin.filename)
        found = [f"{self.bases[pin.archive].rstrip('/')}/{filename}"]
        if self.snapshot is not None:
            values = {"archive": pin.archive, "timestamp": timestamp, "filename": filename, "sha256": pin.sha256}
            found.append(fill(self.snapshot, values))
        return tuple(found)


def fill(template: str, values: Mapping[str, str]) -> str:
    """A snapshot archive's template with its placeholders filled in."""
    unknown = [name for name in re.findall(r"{([^{}]*)}", template) if name not in PLACEHOLDERS]
    if unknown:
        raise AniccaError(
            f"the snapshot archive {template!r} has a placeholder {{{unknown[0]}}}",
            hint="there are " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS),
        )
    if "{filename}" not in template and "{sha256}" not in template:
        template = template.rstrip("/") + "/{archive}/{timestamp}/{filename}"
    return re.sub(r"{([^{}]*)}", lambda match: values[match[1]], template)


def find_mirrors(*, snapshot: str | None = None) -> Mirrors:
    """The mirrors in force. Raises `AniccaError` where apt knows none and the environment names none."""
    bases: dict[Archive, str] = {}
    for archive in ("debian", "debian-security"):
        named = os.environ.get(ENVIRONMENT[archive])
        if named:
            bases[archive] = named
    if len(bases) < len(ENVIRONMENT):
        for site, suite in _apt_sites():
            bases.setdefault("debian-security" if suite.endswith("-security") else "debian", site)
    if "debian" not in bases:
        raise AniccaError(
            "no Debian mirror is known",
            hint=f"add one to apt's sources, or set {ENVIRONMENT['debian']} to its address",
        )
    # Mirrors that carry both archives keep them side by side.
    base = bases["debian"].rstrip("/")
    bases.setdefault("debian-security", base.removesuffix("/debian") + "/debian-security")
    return Mirrors(bases=bases, snapshot=os.environ.get(SNAPSHOT) or snapshot)


def _apt_sites() -> list[tuple[str, str]]:
    """The address and suite of each of apt's binary indexes that is Debian's own, in apt's order."""
    listing = process.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(SIGNED_BY)", "Created-By: Packages"],
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        timeout_seconds=30,
    )
    found = []
    for line in listing.text.splitlines():
        site, suite, *signer = line.split(" ")
        release = suite.partition("-")[0].partition("/")[0]
        theirs = any("debian-archive" in part for part in signer) or release in _RELEASES
        if theirs and (site, suite) not in found:
            found.append((site, suite))
    return found


_RELEASES = frozenset({"bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable"})
