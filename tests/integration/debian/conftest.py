"""An archive of our own on 127.0.0.1: unsigned, small, and as bad-mannered as a test wants it."""

from __future__ import annotations

import email.utils
import threading
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

UPLOADED = 1_795_000_000
"""2026-11-18: when every file of the archive was put there, as its server says."""


@dataclass(slots=True, kw_only=True)
class Archive:
    """What is served by path, what answers with an error, and what was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, archive: Archive, *arguments: object) -> None:
        self.archive = archive
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, *, body: bool) -> None:
        path = self.path.lstrip("/")
        self.archive.asked.append(path)
        content = self.archive.files.get(path)
        status = self.archive.errors.get(path, HTTPStatus.OK if content is not None else HTTPStatus.NOT_FOUND)
        self.send_response(status)
        content = content if content is not None and status == HTTPStatus.OK else b""
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", email.utils.formatdate(UPLOADED, usegmt=True))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def archive() -> Iterator[Archive]:
    served = Archive()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, served))
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()
