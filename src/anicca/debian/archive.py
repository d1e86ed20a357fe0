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
    strange: list[str] = []
    if len(bases) < len(ENVIRONMENT):
        for archive, site in apt_sites():
            address = reachable(site)
            if address is None:
                strange.append(site)
            else:
                bases.setdefault(archive, address)
    if "debian" not in bases:
        seen = f"; apt's sources name {strange[0]}, which only apt can read" if strange else ""
        raise AniccaError(
            f"no Debian mirror is known{seen}",
            hint=f"add one to apt's sources, or set {ENVIRONMENT['debian']} to its http or https address",
        )
    # Mirrors that carry both archives keep them side by side.
    base = bases["debian"].rstrip("/")
    bases.setdefault("debian-security", base.removesuffix("/debian") + "/debian-security")
    return Mirrors(bases=bases, snapshot=os.environ.get(SNAPSHOT) or snapshot)


def apt_sites() -> list[tuple[Archive, str]]:
    """The archive and address of each of apt's binary indexes that is Debian's own, in apt's order.

    Where indexes are there, they say themselves whose they are; where none was ever fetched, the suite's name must do.
    """
    signed = parse_targets(_index_targets("$(SITE) $(RELEASE) $(ORIGIN) $(LABEL)"))
    return signed or parse_targets(_index_targets("$(SITE) $(RELEASE)", "--no-release-info"))


def _index_targets(template: str, *options: str) -> str:
    return process.run(
        ["apt-get", "indextargets", *options, "--format", template, "Created-By: Packages"],
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        timeout_seconds=30,
    ).text


def parse_targets(text: str) -> list[tuple[Archive, str]]:
    """Debian's own among lines of `SITE SUITE [ORIGIN LABEL]`."""
    found: list[tuple[Archive, str]] = []
    for line in text.splitlines():
        words = line.split(" ", 3)
        if len(words) < 2:  # noqa: PLR2004 (a site and a suite)
            continue
        site, suite, *release = words
        if release:
            theirs, security = release[0] == "Debian", release[-1] == "Debian-Security"
        else:
            theirs, security = _SUITE.fullmatch(suite) is not None, suite.endswith("-security")
        row: tuple[Archive, str] = ("debian-security" if security else "debian", site)
        if theirs and row not in found:
            found.append(row)
    return found


_SUITE = re.compile(
    r"(?:bullseye|bookworm|trixie|forky|sid|oldstable|stable|testing|unstable)(?:-updates|-security|-backports)?"
)


def reachable(site: str) -> str | None:
    """An address that we can fetch from: the site, or the first one in the list that it names; else None."""
    scheme, _, rest = site.partition(":")
    if scheme == "mirror+file":
        try:
            lines = Path("/" + rest.lstrip("/")).read_text().splitlines()
        except OSError:
            return None
        addresses = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
        return next((address for address in addresses if address.startswith(("http://", "https://"))), None)
    return site if scheme in {"http", "https", "file"} else None


def apt_proxies() -> dict[str, str]:
    """The proxies that apt's configuration names, by scheme."""
    found = {}
    for scheme in ("http", "https"):
        told = process.run(["apt-config", "dump", "--format", "%v%n", f"Acquire::{scheme}::Proxy"], check=False).text
        proxy = told.strip().splitlines()[:1]
        if proxy and proxy[0] not in {"", "DIRECT"}:
            found[scheme] = proxy[0]
    return found
