"""Fetch pinned packages: from the cache, the mirror, then a snapshot archive; each checked against its SHA-256."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import os
import shutil
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING

from anicca import events
from anicca.debian.archive import apt_proxies
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import httpx

    from anicca.debian.archive import Mirrors
    from anicca.debian.lock import Pin
    from anicca.events import Report

CONNECTIONS = 8
TIMEOUT_SECONDS = 30
CONNECT_SECONDS = 10
EXCESS_BYTES = 1 << 20
"""How much more than the pinned size is read before a mirror is given up: it must not fill the disk."""
ATTEMPTS = 3
NO_FILE, NOT_FOUND = "no such file", "answers with status 404"
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


class Stopped(Exception):  # noqa: N818 (no error: somebody asked for it)
    """Fetching was called off."""


@dataclass(slots=True, kw_only=True)
class Fetcher:
    """Fetches packages into a cache named by hash. Safe to use from several threads and several processes.

    `find_mirrors` is only called when something must be fetched; `superseded` tells, for pins that a mirror has no
    more, what took their place and since when, in words by package name.
    """

    cache: Path
    find_mirrors: Callable[[], Mirrors]
    epoch: int
    superseded: Callable[[Sequence[Pin], Fetcher], Mapping[str, str]] = field(default=lambda _pins, _fetcher: {})
    _mirrors: Mirrors | None = field(default=None, init=False)
    _client: httpx.Client | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _silent: dict[str, str] = field(default_factory=dict, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)

    def path(self, pin: Pin) -> Path:
        """Where the cache keeps a package."""
        return self.cache / "debs" / pin.sha256[:2] / f"{pin.sha256}.deb"

    def fetch_all(self, pins: Sequence[Pin], report: Report = events.ignore) -> None:
        """Bring every package into the cache, several at a time.

        Raises `PinsGoneError` that lists all that are nowhere to be had, after the others were fetched, and
        `AniccaError` where the cache cannot be written.
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
        except BaseException:
            self._stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._stop.clear()
        if missing:
            raise PinsGoneError(self._explained(missing))
        report(events.Finished(task=task))

    def fetch(self, pin: Pin) -> Path:
        """One package's file in the cache, fetched where it is not there yet. Raises `PinsGoneError`."""
        missing = self._fetch(pin)
        if missing is not None:
            raise PinsGoneError(self._explained([missing]))
        return self.path(pin)

    def copy(self, pin: Pin, target: Path) -> None:
        """One package's file as `target`. A copy in the cache that was damaged is fetched again.

        A copy, because what happens to the cache must not reach the store.
        """
        for _attempt in range(2):
            path = self.fetch(pin)
            shutil.copyfile(path, target)
            with target.open("rb") as file:
                if file_digest(file, "sha256").hexdigest() == pin.sha256:
                    return
            path.unlink(missing_ok=True)
        raise AniccaError(f"{path}: this file does not stay what was written", hint="is the disk failing?")

    def _explained(self, missing: Sequence[Missing]) -> list[Missing]:
        """Say what took the place of those that a mirror has no more."""
        gone = [row.pin for row in missing if row.answers[0].endswith((NO_FILE, NOT_FOUND))]
        found = self.superseded(gone, self) if gone else {}
        return [replace(row, superseded=found.get(row.pin.name)) for row in missing]

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
        return Missing(pin=pin, answers=tuple(answers))

    def _connect(self) -> tuple[httpx.Client, Mirrors]:
        """One client for all, so that connections are used again."""
        with self._lock:
            if self._client is None or self._mirrors is None:
                import httpx  # noqa: PLC0415 (slow to import, and most builds fetch nothing)

                self._mirrors = self.find_mirrors()
                timeout = httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
                proxies = {f"{scheme}://": httpx.HTTPTransport(proxy=proxy) for scheme, proxy in apt_proxies().items()}
                self._client = httpx.Client(timeout=timeout, follow_redirects=True, mounts=proxies)
            return self._client, self._mirrors

    def _fetch_from(self, client: httpx.Client, address: str, pin: Pin, path: Path) -> str | None:
        """Fetch from one address into the cache; None if that worked, else why not."""
        import httpx  # noqa: PLC0415

        host = _host(address)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        answer = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for _attempt in range(ATTEMPTS):
                if host in self._silent:
                    return self._silent[host]
                try:
                    answer = self._stream(client, address, pin, temporary)
                except httpx.HTTPError as error:
                    answer = f"{host} does not answer: {error}"
                    continue
                except httpx.InvalidURL as error:
                    return f"{address} is no address: {error}"
                if answer == "":
                    temporary.rename(path)
                    return None
                if "status 5" not in answer:
                    return answer
            if "does not answer" in answer:
                # The others need not wait as long as this one did.
                self._silent[host] = answer
        except OSError as error:
            raise AniccaError(
                f"the package cache cannot be written: {error.filename or self.cache}: {error.strerror}",
                hint="make room or rights there, or name another place in ANICCA_CACHE",
            ) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return answer

    def _stream(self, client: httpx.Client, address: str, pin: Pin, temporary: Path) -> str:
        """Write the answer's body to `temporary`; "" if it is the pinned file, else what is wrong with it."""
        digest, size = sha256(), 0
        with _body(client, address) as (answer, chunks):
            if answer != "":
                return answer
            with temporary.open("wb") as file:
                for chunk in chunks:
                    if self._stop.is_set():
                        raise Stopped
                    digest.update(chunk)
                    size += len(chunk)
                    if size > pin.size_bytes + EXCESS_BYTES:
                        return f"{_host(address)} sends on and on: more than the {pin.size_bytes} bytes pinned"
                    file.write(chunk)
                file.flush()
                # Sync before rename: a power cut must not leave a name for half a file.
                os.fsync(file.fileno())
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
        except (httpx.HTTPError, httpx.InvalidURL):
            return None
        said = response.headers.get("last-modified")
        try:
            return email.utils.parsedate_to_datetime(said) if said and response.is_success else None
        except ValueError:
            return None


@contextlib.contextmanager
def _body(client: httpx.Client, address: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Why there is none, or "", and the chunks of what lies at an address."""
    if address.startswith("file:"):
        path = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path))
        if not path.is_file():
            yield f"{path}: {NO_FILE}", iter(())
            return
        with path.open("rb") as file:
            yield "", iter(lambda: file.read(_CHUNK_BYTES), b"")
        return
    with client.stream("GET", address) as response:
        if response.status_code != 200:  # noqa: PLR2004
            yield f"{_host(address)} answers with status {response.status_code}", iter(())
        else:
            yield "", response.iter_bytes(_CHUNK_BYTES)


def _host(address: str) -> str:
    """The part of an address that names who answers."""
    return address.split("/", 3)[2] if "://" in address else address
