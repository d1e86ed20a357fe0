"""A real browser, driven by the WebDriver protocol (w3.org/TR/webdriver2) and nothing but the standard library."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Self

from anicca import process

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
ENTER, TAB, BACKSPACE, RIGHT = "\ue007", "\ue004", "\ue003", "\ue014"


def missing() -> str:
    """What keeps us from having a browser; empty if nothing does."""
    names = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(names)} not installed (Debian: chromium, chromium-driver)" if names else ""


class Browser:
    """One window of Chromium."""

    def __init__(self, work: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._driver = process.start(["chromedriver", f"--port={port}"], output=work / "chromedriver.log")
        self._base = f"http://127.0.0.1:{port}"
        options: dict[str, Any] = {"args": [*FLAGS, f"--user-data-dir={work / 'profile'}"]}
        if width < 600:
            options["mobileEmulation"] = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2}}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        deadline = time.monotonic() + 60
        while True:
            try:
                session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
                break
            except (ConnectionError, urllib.error.URLError):
                if time.monotonic() > deadline:
                    self._driver.end()
                    raise
                time.sleep(0.1)
        self._base += f"/session/{session['sessionId']}"
        if width >= 600:
            self._ask("POST", "/window/rect", {"width": width, "height": height})
        media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": media}})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask("DELETE", "", None)
        self._driver.end()

    def open(self, page: Path) -> None:
        self._ask("POST", "/url", {"url": page.as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """What a function's body returns in the page."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys: str) -> None:
        """Press keys, one after another, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def says(self) -> list[str]:
        """What the page and the browser logged since the last time."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self._ask("GET", "/screenshot", None)))

    def _ask(self, method: str, path: str, body: object) -> Any:
        text = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, text, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:500]}") from error
