"""`anicca show`, run as a person runs it; needs no root and no tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anicca.cli.app import main
from anicca.declare.load import evaluate
from anicca.declare.spec import to_json

ROOT = Path(__file__).parents[3]
HOST = "examples/sundryvm/host.py"


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = 0
    try:
        main(arguments)
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else 1
    out, err = capfd.readouterr()
    return status, out, err


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_it_shows_what_a_host_is(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capfd, "show", HOST)
    assert (status, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "host"
    for line in (
        "name sundryvm",
        "root f2fs checkpoint=disable,compress_algorithm=zstd,lazytime",
        "openssh-server",
        "ann /home/ann /bin/bash, in sudo, 1 ssh keys",
        "/etc/motd file root:root 0644, 18 bytes",
        "/etc/resolv.conf link to ../run/systemd/resolve/stub-resolv.conf",
        "/home/ann directory ann:ann 0700",
        "anicca-ssh-keys.service enabled, declared",
        "/var/lib/notes directory ann:ann 0750",
        "/var/log/nginx directory root:adm 0755",
    ):
        assert line in lines
    assert "host.py:" not in out


def test_it_shows_where_each_value_was_said(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capfd, "show", "--origins", HOST)
    (curl,) = (line.split() for line in out.splitlines() if line.split()[0] == "curl")
    assert curl[1:] == ["examples/sundryvm/host.py:17,", "examples/sundryvm/web.py:11"]
    spec = evaluate(Path(HOST))
    for line in out.splitlines():
        if line.startswith("  ") and line.split()[0] != "components":
            assert ".py:" in line, line
    assert {line.split()[0] for line in out.splitlines()} >= {*spec.packages}


def test_it_prints_json(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capfd, "--json", "show", HOST)
    assert json.loads(out) == json.loads(to_json(evaluate(Path(HOST))))
    _, out, _ = run(capfd, "--json", "show", "--origins", HOST)
    assert json.loads(out)["origins"]["name"] == ["examples/sundryvm/host.py:15"]


def test_it_prints_one_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "show", HOST, "--file", "/etc/motd") == (0, "hello I am a file\n", "")
    _, out, _ = run(capfd, "show", HOST, "--file", "/etc/systemd/system/anicca-ssh-keys.service")
    assert out.startswith("[Unit]\n")


def test_a_file_that_is_not_declared_is_a_usage_error(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capfd, "show", HOST, "--file", "/etc/modt")
    assert (status, out) == (2, "")
    assert "/etc/modt is not a declared file" in err
    assert "is it /etc/motd" in err


def test_an_invalid_declaration_has_status_3_and_all_its_faults(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    host = tmp_path / "host.py"
    host.write_text("from anicca.declare import Host\nhost = Host(\n    name='A',\n    files={'x': ''},\n)\n")
    status, out, err = run(capfd, "show", str(host))
    assert (status, out) == (3, "")
    joined = err.replace("\n", "")
    assert f"{host}:3: 'A' is not a host name" in joined
    assert f"{host}:4: 'x' is relative" in joined


def test_it_shows_what_is_left_to_the_tree(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    host = tmp_path / "host.py"
    host.write_text(
        "from anicca.declare import Host, Persist, Tmpfs\n"
        "host = Host(name='a', root=Tmpfs(), snapshot='https://example.org/{date}/',\n"
        "    kernel='linux-image-cloud-amd64',\n"
        "    persist=['/srv/x', Persist('/srv/y', owner='root'), Persist('/srv/z', mode=0o700, kind='f')])\n"
    )
    status, out, err = run(capfd, "show", "--origins", str(host))
    assert status == 0
    lines = [" ".join(line.split()[:-1]) for line in out.splitlines()]
    assert "root tmpfs size=50%,mode=0755" in lines
    assert "snapshot https://example.org/{date}/" in lines
    assert "linux-image-cloud-amd64" in lines
    assert "/srv/x directory as in the tree" in lines
    assert "/srv/y directory root:(tree) as in the tree" in lines
    assert "/srv/z file (tree):(tree) 0700" in lines
    assert "/srv/z persists as a single file" in err.replace("\n", " ")
