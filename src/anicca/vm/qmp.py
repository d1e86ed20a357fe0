"""A client of QEMU's machine protocol (QMP): JSON, a line each, over a unix socket."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class QmpError(AniccaError):
    """QEMU refused a command, said nothing in time, or is gone."""


class Qmp:
    """One connection. Events that arrive while a command is under way are kept until asked for."""

    def __init__(self, path: Path, *, is_alive: Callable[[], bool], timeout_seconds: float = 15) -> None:
        self._socket = _connect(path, is_alive, timeout_seconds)
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        deadline = time.monotonic() + timeout_seconds
        self._receive(deadline)  # the greeting
        self.execute("qmp_capabilities", timeout_seconds=timeout_seconds)

    def execute(self, command: str, *, timeout_seconds: float = 10, **arguments: object) -> Any:
        """The command's answer."""
        message: dict[str, object] = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        try:
            self._socket.settimeout(timeout_seconds)
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"QEMU: {command}: the connection is gone ({error})") from error
        deadline = time.monotonic() + timeout_seconds
        while True:
            answer = self._receive(deadline)
            if "event" in answer:
                self._events.append(answer)
            elif "error" in answer:
                raise QmpError(f"QEMU: {command}: {answer['error'].get('desc', 'refused')}")
            else:
                return answer.get("return")

    def forget_events(self) -> None:
        """Drop events that arrived; what `wait_for_event` then sees came later than any command answered."""
        self.execute("query-status")
        self._events.clear()

    def wait_for_event(self, name: str, *, timeout_seconds: float) -> dict[str, Any]:
        """The data of this event, as soon as QEMU has sent it; raises `QmpError` if it does not in time."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            for event in self._events:
                if event["event"] == name:
                    self._events.remove(event)
                    return dict(event.get("data", {}))
            answer = self._receive(deadline)
            if "event" in answer:
                self._events.append(answer)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _receive(self, deadline: float) -> dict[str, Any]:
        """The next message."""
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpError("QEMU: no answer in time")
            try:
                self._socket.settimeout(left)
                got = self._socket.recv(65536)
            except TimeoutError as error:
                raise QmpError("QEMU: no answer in time") from error
            except OSError as error:
                raise QmpError(f"QEMU: the connection is gone ({error})") from error
            if not got:
                raise QmpError("QEMU: the connection is gone")
            self._rest += got
        line, self._rest = self._rest.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message


def _connect(path: Path, is_alive: Callable[[], bool], timeout_seconds: float) -> socket.socket:
    """Connect as soon as QEMU listens; give up as soon as it is dead."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            if time.monotonic() > deadline or not is_alive():
                raise QmpError("QEMU: does not listen") from error
            time.sleep(0.05)
        else:
            return connection
