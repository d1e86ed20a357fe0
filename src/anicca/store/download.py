"""Fetching files: `https://`, `http://` and `file://`, resumed after a broken connection."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import httpx

from anicca.errors import AniccaError
from anicca.events import Advanced, Started, ignore

if TYPE_CHECKING:
    from collections.abc import Callable

    from anicca.events import Report

ATTEMPTS = 4
_TIMEOUT_SECONDS = 30.0
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


def download(
    url: str,
    target: Path,
    *,
    task: str,
    report: Report = ignore,
    stop: Callable[[], None] = lambda: None,
    client: httpx.Client | None = None,
) -> None:
    """Fetch `url` into the file `target`. A broken connection is taken up where it broke, a few times.

    `stop` is called now and then, and may raise. Raises AniccaError with the URL and the reason.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        try:
            shutil.copyfile(Path(unquote(parts.path)), target)
        except OSError as error:
            raise AniccaError(f"{url}: {error.strerror}") from error
        return
    if parts.scheme not in ("http", "https"):
        raise AniccaError(f"{url}: only http, https and file can be fetched")

    def watch(done: int, total: int | None) -> None:
        stop()
        report(Advanced(task=task, done=done) if done else Started(task=task, total=total, unit="B"))

    own = client or httpx.Client(follow_redirects=True, timeout=_TIMEOUT_SECONDS)
    try:
        tried = 0
        while True:
            before = _size(target)
            reason = _attempt(own, url, target, watch)
            if reason is None:
                return
            tried = 1 if _size(target) > before else tried + 1
            if tried == ATTEMPTS:
                raise AniccaError(f"{url}: {reason}", hint=f"tried {ATTEMPTS} times; is the network up?")
            time.sleep(0.25 * 4 ** (tried - 1))
    finally:
        if client is None:
            own.close()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _attempt(client: httpx.Client, url: str, target: Path, watch: Callable[[int, int | None], None]) -> str | None:
    """Go on from what `target` has; None when whole, else why it is worth another try."""
    have = _size(target)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with client.stream("GET", url, headers=headers) as response:
            if response.status_code in _RETRIED:
                return f"the server says {response.status_code}"
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                target.unlink()
                return "the server cannot go on where it broke"
            if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
                raise AniccaError(f"{url}: the server says {response.status_code} {response.reason_phrase}")
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            done = have if resumed else 0
            length = response.headers.get("Content-Length")
            watch(0, None if length is None else done + int(length))
            with target.open("ab" if resumed else "wb") as file:
                # No chunk size: httpx would keep back what came before a connection broke.
                for chunk in response.iter_raw():
                    file.write(chunk)
                    done += len(chunk)
                    watch(done, None)
    except httpx.TransportError as error:
        return str(error) or type(error).__name__
    except httpx.InvalidURL as error:
        raise AniccaError(f"{url}: {error}") from error
    return None
