"""What declarations become, put before systemd and dpkg themselves."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anicca.declare import Host
from anicca.declare.base import DPKG_GUARD
from anicca.declare.combine import combine
from anicca.declare.services import postgresql, ssh, ssl_cert
from anicca.declare.units import escape_path, mount, service, timer
from anicca.process import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not here: {' '.join(missing)}")


@needs("systemd-escape")
@settings(max_examples=40)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0\n"), min_size=1), min_size=1, max_size=4))
def test_paths_are_escaped_as_systemd_does(words: list[str]) -> None:
    path = "/" + "/".join(word for word in words if word not in (".", ".."))
    assert run(["systemd-escape", "--path", path]).text.rstrip("\n") == escape_path(path)


def complaints(directory: Path, *names: str) -> list[str]:
    """What systemd-analyze says about these units; it also speaks of the machine's own."""
    argv = ["systemd-analyze", "verify", "--man=no", *(str(directory / name) for name in names)]
    return [line for line in run(argv, check=False).stderr.decode().splitlines() if str(directory) in line]


@needs("systemd-analyze")
def test_systemd_finds_no_fault_in_declared_units(tmp_path: Path) -> None:
    spec = combine(
        Host(
            name="h",
            parts=[
                ssh(),
                ssl_cert(),
                postgresql(),
                service("notes", "/bin/true", environment={"A": 'x "y" 1% \\'}, state=True),
                timer("job", "/bin/true", calendar="Mon *-*-* 03:00", catch_up=True),
                mount("/dev/vdb1", "/srv/my data", kind="ext4"),
            ],
        )
    )
    declared = [unit for unit in spec.units if unit.content is not None]
    assert len(declared) == 7
    for unit in declared:
        assert unit.content is not None
        (tmp_path / unit.name).write_text(unit.content)
    assert complaints(tmp_path, *(unit.name for unit in declared)) == []
    (tmp_path / "bad.service").write_text("[Service]\nExecStart=/bin/true\nNonsense=1\n")
    assert len(complaints(tmp_path, "bad.service")) == 1


@needs("bwrap", "dpkg", "dpkg-deb")
def test_dpkg_refuses_to_install_and_says_what_to_do(tmp_path: Path) -> None:
    control = tmp_path / "x/DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.write_text("Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n")
    package = tmp_path / "x.deb"
    run(["dpkg-deb", "--build", tmp_path / "x", package])
    config = tmp_path / "dpkg"
    (config / "dpkg.cfg.d").mkdir(parents=True)
    (config / "dpkg.cfg.d/anicca").write_text(DPKG_GUARD)
    sandbox: list[str | Path] = [
        "bwrap",
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--ro-bind",
        config,
        "/etc/dpkg",
        "dpkg",
    ]
    done = run([*sandbox, "-i", package], check=False)
    assert done.status == 2
    assert "anicca: packages change by declaration here: add the name to packages" in done.stderr.decode()
    assert run([*sandbox, "-l", "dpkg"]).text
