"""Serving a local store as a binary cache over HTTP: narinfo files made on the fly, NARs streamed from disk."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.store.logs import read_log
from anicca.store.narinfo import NarInfo
from anicca.store.path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anicca.store.info import PathInfo
    from anicca.store.local import LocalStore
    from anicca.store.signature import SecretKey

_NARINFO = re.compile(r"/([0-9a-df-np-sv-z]{32})\.narinfo")
_NAR = re.compile(r"/nar/([0-9a-df-np-sv-z]{32})-([0-9a-df-np-sv-z]{52})\.nar")
_LISTING = re.compile(r"/([0-9a-df-np-sv-z]{32})\.ls")
_LOG = re.compile(r"/log/([0-9a-df-np-sv-z]{32}-[A-Za-z0-9+\-._?=]+\.drv)")
_RANGE = re.compile(r"bytes=([0-9]+)-")


class CacheServer:
    """A web server for one store. Reads only: nobody can add through it."""

    def __init__(
        self, store: LocalStore, address: tuple[str, int] = ("127.0.0.1", 0), *, keys: Sequence[SecretKey] = ()
    ) -> None:
        handler = type("Handler", (_Handler,), {"store": store, "keys": tuple(keys)})
        self._http = ThreadingHTTPServer(address, handler)
        self._http.daemon_threads = True
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._http.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}"

    def run(self) -> None:
        """Serve until interrupted."""
        self._http.serve_forever()

    def __enter__(self) -> CacheServer:  # noqa: PYI034 (final in practice)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection, kept open between requests."""

    protocol_version = "HTTP/1.1"
    server_version = "anicca"
    store: LocalStore
    keys: Sequence[SecretKey]

    def do_HEAD(self) -> None:
        """Headers only."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer by the shape of the path."""
        path = self.path.split("?", 1)[0]
        try:
            if path == "/nix-cache-info":
                self._text("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n", "text/x-nix-cache-info")
            elif match := _NARINFO.fullmatch(path):
                self._narinfo(match[1])
            elif match := _NAR.fullmatch(path):
                self._nar(match[1], match[2])
            elif match := _LISTING.fullmatch(path):
                self._listing(match[1])
            elif match := _LOG.fullmatch(path):
                self._log(match[1])
            else:
                self._missing()
        except AniccaError as error:
            self.log_error("%s", error)
            self._missing()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
        """Requests are not news."""

    def _info(self, hash_part: str) -> PathInfo | None:
        db = self.store.reading()
        path = None if db is None else db.from_hash_part(hash_part)
        return None if path is None else self.store.info(path)

    def _narinfo(self, hash_part: str) -> None:
        info = self._info(hash_part)
        if info is None:
            self._missing()
            return
        signatures = (*info.signatures, *(key.sign(info.fingerprint) for key in self.keys))
        entry = NarInfo(
            info=replace(info, signatures=tuple(dict.fromkeys(signatures))),
            url=f"nar/{hash_part}-{info.nar_hash.nix32}.nar",
            compression="none",
            file_hash=info.nar_hash,
            file_size=info.nar_size,
        )
        self._text(entry.unparse(), "text/x-nix-narinfo")

    def _nar(self, hash_part: str, nar_hash: str) -> None:
        info = self._info(hash_part)
        if info is None or info.nar_hash.nix32 != nar_hash:
            self._missing()
            return
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        first = int(match[1]) if match else 0
        if first >= info.nar_size:
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, "text/plain")
            return
        extra = {"Content-Range": f"bytes {first}-{info.nar_size - 1}/{info.nar_size}"} if first else {}
        status = HTTPStatus.PARTIAL_CONTENT if first else HTTPStatus.OK
        self._head(status, info.nar_size - first, "application/x-nix-nar", extra)
        if self.command == "HEAD":
            return
        for chunk in _skip(self.store.nar(info.path), first):
            self.wfile.write(chunk)

    def _listing(self, hash_part: str) -> None:
        import json  # noqa: PLC0415 (rare)

        from anicca.store.nar import listing  # noqa: PLC0415 (rare)

        info = self._info(hash_part)
        if info is None:
            self._missing()
            return
        root = listing(self.store.nar(info.path))
        self._text(json.dumps({"version": 1, "root": root}), "application/json")

    def _log(self, name: str) -> None:
        self._text(b"".join(read_log(self.store.log_dir, StorePath.parse(name))).decode(errors="replace"), "text/plain")

    def _missing(self) -> None:
        self._text("404\n", "text/plain", HTTPStatus.NOT_FOUND)

    def _text(self, text: str, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        raw = text.encode()
        self._head(status, len(raw), kind)
        if self.command != "HEAD":
            self.wfile.write(raw)

    def _head(self, status: HTTPStatus, size: int, kind: str, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.send_header("Content-Type", kind)
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()


def _skip(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """The chunks without their first `count` bytes."""
    for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:] if count else chunk
        count = 0
