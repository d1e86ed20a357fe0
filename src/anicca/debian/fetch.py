"""Fetch pinned packages: from the cache, the mirror, then a snapshot archive; each checked against its SHA-256."""

from __future__ import annotations

import datetime as dt
import email.utils
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import events
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

    from anicca.debian.archive import Mirrors
    from anicca.debian.lock import Pin
    from anicca.events import Report

CONNECTIONS = 8
TIMEOUT_SECONDS = 30
ATTEMPTS = 3
_CHUNK_BYTES = 1 << 18


class PinsGoneError(AniccaError):
    """Pinned packages that no known place has any more."""

    def __init__(self, missing: Sequence[Missing]) -> None:
        rows = "\n".join(f"  {row}" for row in missing)
        names = " ".join(row.pin.name for row in missing)
        super().__init__(
            f"{len(missing)} pinned package{'s are' if len(missing) > 1 else ' is'} nowhere to be had:\n{rows}",
            hint=f"move just these with `anicca lock HOST.py --update {names}`, or name a snapshot archive "
            "in the declaration or in ANICCA_SNAPSHOT",
        )
        self.missing = tuple(missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A pin that could not be fetched, and each place's answer."""

    pin: Pin
    answers: tuple[str, ...]
    superseded: str | None = None

    def __str__(self) -> str:
        since = f" ({self.superseded})" if self.superseded else ""
        return f"{self.pin.name} {self.pin.version}{since}: {'; '.join(self.answers)}"


def default_cache() -> Path:
    """Where fetched packages are kept: ANICCA_CACHE, else the user's cache directory."""
    named = os.environ.get("ANICCA_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anicca"


@dataclass(slots=True, kw_only=True)
class Fetcher:
    """Fetches packages into a cache named by hash. Safe to use from several threads and several processes.

    `find_mirrors` is only called when something must be fetched; `superseded` tells, for a pin that is gone, what
    took its place and since when, in words.
    """

    cache: Path
    find_mirrors: Callable[[], Mirrors]
    epoch: int
    superseded: Callable[[Pin], str | None] = field(default=lambda _pin: None)
    _mirrors: Mirrors | None = field(default=None, init=False)
    _client: httpx.Client | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def path(self, pin: Pin) -> Path:
        """Where the cache keeps a package."""
        return self.cache / "debs" / pin.sha256[:2] / f"{pin.sha256}.deb"

    def fetch_all(self, pins: Sequence[Pin], report: Report = events.ignore) -> None:
        """Bring every package into the cache, several at a time.

        Raises `PinsGoneError` that lists all that are nowhere to be had, after the others were fetched.
        """
        wanted = [pin for pin in pins if not self.path(pin).exists()]
        if not wanted:
            return
        total = sum(pin.size_bytes for pin in wanted)
        task = f"fetch {len(wanted)} package{'s' if len(wanted) > 1 else ''}"
        report(events.Started(task=task, total=total, unit="B"))
        done = 0

        def fetch_one(pin: Pin) -> Missing | None:
            nonlocal done
            missing = self._fetch(pin)
            with self._lock:
                done += pin.size_bytes
                report(events.Advanced(task=task, done=done, note=pin.name))
            return missing

        pool = ThreadPoolExecutor(CONNECTIONS)
        try:
            missing = [row for row in pool.map(fetch_one, wanted) if row is not None]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if missing:
            raise PinsGoneError(missing)
        report(events.Finished(task=task))

    def fetch(self, pin: Pin) -> Path:
        """One package's file in the cache, fetched where it is not there yet. Raises `PinsGoneError`."""
        missing = self._fetch(pin)
        if missing is not None:
            raise PinsGoneError([missing])
        return self.path(pin)

    def _fetch(self, pin: Pin) -> Missing | None:
        """Try each place in turn; what they answered if none has it."""
        path = self.path(pin)
        if path.exists():
            return None
        client, mirrors = self._connect()
        timestamp = dt.datetime.fromtimestamp(self.epoch, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        answers = []
        for address in mirrors.addresses(pin, timestamp):
            answer = self._fetch_from(client, address, pin, path)
            if answer is None:
                return None
            answers.append(answer)
        if mirrors.snapshot is None:
            answers.append("no snapshot archive is named")
        return Missing(pin=pin, answers=tuple(answers), superseded=self.superseded(pin))

    def _connect(self) -> tuple[httpx.Client, Mirrors]:
        """One client for all, so that connections are used again."""
        with self._lock:
            if self._client is None or self._mirrors is None:
                import httpx  # noqa: PLC0415 (slow to import, and most builds fetch nothing)

                self._mirrors = self.find_mirrors()
                self._client = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True)
            return self._client, self._mirrors

    def _fetch_from(self, client: httpx.Client, address: str, pin: Pin, path: Path) -> str | None:
        """Fetch from one address into the cache; None if that worked, else why not."""
        import httpx  # noqa: PLC0415

        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        answer = ""
        try:
            for _attempt in range(ATTEMPTS):
                try:
                    answer = self._stream(client, address, pin, temporary)
                except httpx.HTTPError as error:
                    answer = f"{_host(address)} does not answer: {error}"
                    continue
                if answer == "":
                    temporary.rename(path)
                    return None
                if "status 5" not in answer:
                    break
        finally:
            temporary.unlink(missing_ok=True)
        return answer

    def _stream(self, client: httpx.Client, address: str, pin: Pin, temporary: Path) -> str:
        """Write the answer's body to `temporary`; "" if it is the pinned file, else what is wrong with it."""
        digest, size = sha256(), 0
        with client.stream("GET", address) as response:
            if response.status_code != 200:  # noqa: PLR2004
                return f"{_host(address)} answers with status {response.status_code}"
            with temporary.open("wb") as file:
                for chunk in response.iter_bytes(_CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
        if digest.hexdigest() != pin.sha256:
            return (
                f"{_host(address)} serves another file ({size} bytes, SHA-256 {digest.hexdigest()[:16]}…; "
                f"pinned are {pin.size_bytes} bytes, {pin.sha256[:16]}…)"
            )
        return ""

    def uploaded(self, pin: Pin) -> dt.datetime | None:
        """When the mirror's copy of a package was made, as its server says; None where it does not say."""
        import httpx  # noqa: PLC0415

        client, mirrors = self._connect()
        try:
            response = client.head(mirrors.addresses(pin, "")[0])
        except httpx.HTTPError:
            return None
        said = response.headers.get("last-modified")
        return email.utils.parsedate_to_datetime(said) if said and response.is_success else None


def _host(address: str) -> str:
    """The part of an address that names who answers."""
    return address.split("/", 3)[2] if "://" in address else address


def copy_from_cache(source: Path, target: Path) -> None:
    """Copy a cached file. A copy, because what happens to the cache must not reach the store."""
    shutil.copyfile(source, target)
