"""The same look through another Python that has only its standard library, and over a real sshd."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.drift.baseline import open_baseline
from anicca.drift.examine import compare_to_baseline, examine, examine_host, save_baseline
from anicca.drift.findings import plain_record
from anicca.drift.remote import Host, ssh
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.drift.findings import Findings

pytestmark = pytest.mark.integration

HERE = Host(reach=(), name="here", python=sys.executable)


def differences(findings: Findings) -> list[tuple[bytes, str, str, str]]:
    return sorted((one.drift.path, one.drift.kind, one.drift.was, one.judgement.name) for one in findings.found)


def test_the_bundle_finds_what_we_find(root: Path) -> None:
    (root / "etc/cron.d/evil").write_text("x")
    (root / "usr/bin/env").write_text("x")
    os.close(os.open(os.fsencode(root) + b"/srv/\xff\n", os.O_CREAT | os.O_WRONLY))
    there, here = examine_host(HERE, root=str(root)), examine(root)
    assert differences(there) == differences(here)
    assert plain_record(there) == plain_record(here)
    assert {one.drift.path for one in there.drift} == {b"/etc/cron.d/evil", b"/usr/bin/env", b"/srv/\xff\n"}


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13"])
def test_any_python_of_the_last_years_will_do(debian_root: Path, version: str) -> None:
    installed = Path(os.environ.get("PYENV_ROOT", "/nonexistent")) / "versions"
    found = [*installed.glob(f"{version}.*/bin/python3"), shutil.which(f"python{version}")]
    if found[0] is None:
        pytest.skip(f"no Python {version} here")
    assert examine_host(replace(HERE, python=str(found[0])), root=str(debian_root)).drift.count.findings == 0


def test_a_host_without_a_system_of_ours_has_no_baseline_of_it(root: Path, tmp_path: Path) -> None:
    for host in (HERE, None):
        with pytest.raises(AniccaError, match="runs no system of anicca's"):
            save_baseline(root, tmp_path / "there.zst", host=host, system_only=True)


def test_a_baseline_from_there_is_the_one_from_here(root: Path, tmp_path: Path) -> None:
    (root / "srv/a").write_text("x")
    (root / "srv/b").hardlink_to(root / "srv/a")
    there = save_baseline(root, tmp_path / "there.zst", host=HERE)
    here = save_baseline(root, tmp_path / "here.zst")
    assert (there.state, there.entries) == (here.state, here.entries)
    (root / "srv/a").write_text("y")
    found = compare_to_baseline(root, open_baseline(tmp_path / "here.zst"), host=HERE)
    assert [(one.drift.path, one.drift.kind) for one in found.found] == [
        (b"/srv/a", "content"),
        (b"/srv/b", "content"),
    ]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Host]:
    """A real sshd on the loopback, with keys of its own."""
    for name in ("host", "user"):
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    options = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": tmp_path / "host",
        "AuthorizedKeysFile": tmp_path / "user.pub",
        "StrictModes": "no",
        "PidFile": "none",
        "PermitRootLogin": "yes",
        "UsePAM": "no",
    }
    argv = ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null"]
    argv += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    daemon = process.start(argv, output=tmp_path / "sshd.log")
    known = f"UserKnownHostsFile={tmp_path}/known"
    command = ["ssh", "-F", "none", "-p", str(port), "-i", str(tmp_path / "user"), "-o", known]
    command += ["-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectionAttempts=20", "-o", "LogLevel=ERROR"]
    try:
        yield ssh("root@127.0.0.1", command)
    finally:
        daemon.end()


def test_over_ssh_nothing_is_installed_and_drift_is_found(root: Path, sshd: Host, tmp_path: Path) -> None:
    (root / "etc/cron.d/evil").write_text("x")
    found = examine_host(sshd, root=str(root))
    assert [(one.drift.path, one.drift.kind) for one in found.drift] == [(b"/etc/cron.d/evil", "added")]
    before = save_baseline(root, tmp_path / "b.zst", host=sshd)
    assert before.entries > 5000


def test_a_host_that_does_not_answer_is_an_error_and_never_no_drift(tmp_path: Path) -> None:
    with pytest.raises(AniccaError, match="no answer"):
        examine_host(replace(HERE, python="false"), root="/")
    with pytest.raises(AniccaError, match="status"):
        examine_host(HERE, root=str(tmp_path))
