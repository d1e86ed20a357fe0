from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from anicca.vm.qmp import Qmp, QmpError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FakeQemu:
    """Greets, then sends for each command the lines that were prepared for it."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, list[object]] = {"qmp_capabilities": [{"return": {}}], "query-status": [{"return": {}}]}
        self.asked: list[dict[str, object]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _address = self._listener.accept()
        with connection, connection.makefile("rwb") as stream:
            stream.write(b'{"QMP": {}}\n')
            stream.flush()
            for line in stream:
                message = json.loads(line)
                self.asked.append(message)
                for answer in self.answers.get(message["execute"], []):
                    if answer == "hang up":
                        return
                    stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[FakeQemu]:
    fake = FakeQemu(tmp_path / "qmp")
    yield fake
    fake.close()


@pytest.fixture
def qmp(qemu: FakeQemu, tmp_path: Path) -> Iterator[Qmp]:
    assert qemu
    connection = Qmp(tmp_path / "qmp", is_alive=lambda: True, timeout_seconds=5)
    yield connection
    connection.close()


def test_answers_come_back(qemu: FakeQemu, qmp: Qmp) -> None:
    qemu.answers["query-x"] = [{"event": "RTC_CHANGE"}, {"return": {"a": 1}}]
    assert qmp.execute("query-x", deep=True) == {"a": 1}
    assert qemu.asked[-1] == {"execute": "query-x", "arguments": {"deep": True}}


def test_events_during_a_command_are_kept(qemu: FakeQemu, qmp: Qmp) -> None:
    qemu.answers["x"] = [{"event": "RESET"}, {"event": "STOP"}, {"return": {}}]
    qmp.execute("x")
    qmp.wait_for_event("STOP", timeout_seconds=0.1)
    qmp.wait_for_event("RESET", timeout_seconds=0.1)
    with pytest.raises(QmpError, match="no answer in time"):
        qmp.wait_for_event("RESET", timeout_seconds=0.1)


def test_an_event_has_data(qemu: FakeQemu, qmp: Qmp) -> None:
    event = {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-reset"}}
    qemu.answers["x"] = [{"event": "STOP"}, event, {"return": {}}]
    qmp.execute("x")
    assert qmp.wait_for_event("SHUTDOWN", timeout_seconds=0.1) == event["data"]
    assert qmp.wait_for_event("STOP", timeout_seconds=0.1) == {}


def test_old_events_can_be_forgotten(qemu: FakeQemu, qmp: Qmp) -> None:
    qemu.answers["query-status"] = [{"event": "RESET"}, {"return": {}}]
    qmp.forget_events()
    with pytest.raises(QmpError, match="no answer in time"):
        qmp.wait_for_event("RESET", timeout_seconds=0.1)


def test_refusals_and_silence_are_errors(qemu: FakeQemu, qmp: Qmp) -> None:
    qemu.answers["bad"] = [{"error": {"class": "X", "desc": "not so"}}]
    with pytest.raises(QmpError, match="bad: not so"):
        qmp.execute("bad")
    with pytest.raises(QmpError, match="no answer in time"):
        qmp.execute("silence", timeout_seconds=0.1)
    qemu.answers["die"] = ["hang up"]
    with pytest.raises(QmpError, match="the connection is gone"):
        qmp.execute("die", timeout_seconds=5)


def test_a_dead_qemu_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(QmpError, match="does not listen"):
        Qmp(tmp_path / "nowhere", is_alive=lambda: False, timeout_seconds=60)
