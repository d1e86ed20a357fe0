"""Where a binary cache's files come from: a directory, or a web server."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from anicca import fs
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

_ATTEMPTS = 4
_WAIT_SECONDS = 0.25
"""Before the second attempt; each further wait is four times as long."""
_TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 1 << 18
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class Transport(Protocol):
    """Files by name, relative to the cache."""

    url: str

    def text(self, name: str, limit_bytes: int) -> str | None:
        """A small file; None if it is not there. AniccaError if it is longer or cannot be had."""
        ...

    def chunks(self, name: str) -> Iterator[bytes]:
        """A file's bytes. AniccaError if it is not there or cannot be had."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        ...

    def put_chunks(self, chunks: Iterator[bytes]) -> Path:
        """Write a large file whose name is not known yet, for `name_it`."""
        ...

    def name_it(self, staged: Path, name: str) -> None:
        """Give a file of `put_chunks` its name."""
        ...


class FileTransport:
    """A cache in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.url = self.directory.as_uri()

    def _path(self, name: str) -> Path:
        if ".." in Path(name).parts or name.startswith("/"):
            raise AniccaError(f"{self.url}: {name!r} would lead out of the cache")
        return self.directory / name

    def text(self, name: str, limit_bytes: int) -> str | None:
        """See `Transport.text`."""
        try:
            with self._path(name).open("rb") as file:
                raw = file.read(limit_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AniccaError(f"{self.url}/{name}: {error.strerror}") from error
        return _decode(raw, limit_bytes, f"{self.url}/{name}")

    def chunks(self, name: str) -> Iterator[bytes]:
        """See `Transport.chunks`."""
        try:
            with self._path(name).open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise AniccaError(f"{self.url}/{name}: {error.strerror}") from error

    def put(self, name: str, content: bytes) -> None:
        """See `Transport.put`."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        fs.write_atomic(path, content)

    def put_chunks(self, chunks: Iterator[bytes]) -> Path:
        """See `Transport.put_chunks`."""
        directory = self.directory / "nar"
        directory.mkdir(parents=True, exist_ok=True)
        staged = directory / f".{os.getpid()}-{os.urandom(6).hex()}.tmp"
        try:
            with staged.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        return staged

    def name_it(self, staged: Path, name: str) -> None:
        """See `Transport.name_it`."""
        staged.rename(self._path(name))


class HttpTransport:
    """A cache on a web server, read only. Connections are kept and shared between threads."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._client: httpx.Client | None = None

    def _http(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 (slow import)

        if self._client is None:
            self._client = httpx.Client(follow_redirects=True, timeout=_TIMEOUT_SECONDS)
        return self._client

    def text(self, name: str, limit_bytes: int) -> str | None:
        """See `Transport.text`."""
        raw = b""
        for chunk in self._get(name, missing_ok=True):
            raw += chunk
            if len(raw) > limit_bytes:
                break
        return _decode(raw, limit_bytes, f"{self.url}/{name}") if raw else None

    def chunks(self, name: str) -> Iterator[bytes]:
        """See `Transport.chunks`."""
        yield from self._get(name, missing_ok=False)

    def _get(self, name: str, *, missing_ok: bool) -> Iterator[bytes]:
        """The body; taken up where the connection broke. Nothing if `missing_ok` and it is not there."""
        import httpx  # noqa: PLC0415 (slow import)

        url = name if name.startswith(("http://", "https://")) else f"{self.url}/{name}"
        done = tried = 0
        while True:
            before = done
            headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={done}-"} if done else {})}
            try:
                with self._http().stream("GET", url, headers=headers) as response:
                    status = response.status_code
                    if status in (403, 404, 410) and missing_ok:
                        return
                    if status in _RETRIED:
                        raise httpx.ReadError(f"the server says {status}")
                    if status not in (200, 206) or (done and status != 206):  # noqa: PLR2004 (HTTP's)
                        raise AniccaError(f"{url}: the server says {status} {response.reason_phrase}")
                    # No chunk size: httpx would keep back what came before a connection broke.
                    for chunk in response.iter_raw():
                        done += len(chunk)
                        yield chunk
                    return
            except httpx.TransportError as error:
                tried = 1 if done > before else tried + 1
                if tried == _ATTEMPTS:
                    reason = str(error) or type(error).__name__
                    raise AniccaError(f"{url}: {reason}", hint=f"tried {tried} times; is the network up?") from error
                time.sleep(_WAIT_SECONDS * 4 ** (tried - 1))
            except httpx.InvalidURL as error:
                raise AniccaError(f"{url}: {error}") from error

    def put(self, name: str, content: bytes) -> None:
        """Not possible."""
        raise AniccaError(f"{self.url}/{name}: a cache on a web server cannot be written ({len(content)} bytes)")

    def put_chunks(self, chunks: Iterator[bytes]) -> Path:
        """Not possible."""
        del chunks
        raise AniccaError(f"{self.url}: a cache on a web server cannot be written")

    def name_it(self, staged: Path, name: str) -> None:
        """Not possible."""
        raise AniccaError(f"{self.url}/{name}: a cache on a web server cannot be written ({staged})")


def _decode(raw: bytes, limit_bytes: int, source: str) -> str:
    if len(raw) > limit_bytes:
        raise AniccaError(f"{source}: longer than {limit_bytes} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise AniccaError(f"{source}: is no text") from error


def open_transport(url: str) -> Transport:
    """The transport for `file://…` or a path, `http://…`, `https://…`."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return HttpTransport(url.split("?", 1)[0])
    if parts.scheme in ("", "file"):
        return FileTransport(Path(unquote(parts.path)))
    raise AniccaError(f"{url}: no binary cache: file://, http:// or https:// expected")
