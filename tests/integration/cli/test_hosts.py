import json
from pathlib import Path

import pytest

from anicca.cli import app


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        app.main(arguments)
    code = left.value.code
    return code if isinstance(code, int) else 0


HOST = """\
from anicca.declare import Host
host = Host(name="box")
"""


def test_a_host_without_a_lock_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = tmp_path / "host.py"
    host.write_text(HOST)
    assert leave("--store", str(tmp_path / "store"), "build", str(host)) == 3
    seen = capsys.readouterr().err
    assert "this host has no lock yet" in seen
    assert f"anicca lock {host}" in seen
    assert not (tmp_path / "store").exists()


def test_a_damaged_lock_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = tmp_path / "host.py"
    host.write_text(HOST)
    (tmp_path / "host.lock").write_text('{\n "format": 1,\n oops\n')
    assert leave("build", str(host)) == 3
    assert f"{tmp_path}/host.lock:3: not valid JSON" in capsys.readouterr().err


def test_results_as_json_stand_alone_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = tmp_path / "host.py"
    host.write_text('from anicca.declare import Host, Persist\nhost = Host(name="box", persist=["/home/x/y"])\n')
    app.main(["--json", "show", str(host)])
    assert json.loads(capsys.readouterr().out)["name"] == "box"
