"""systemd reads its units again only if it would read something else."""

from __future__ import annotations

import pytest
from tests.unit.system.test_unitfiles import ETC, LIB, Files

from anicca.system.rereading import why_reread
from anicca.system.unitfiles import read_units

GENERATOR = "/usr/lib/systemd/system-generators"
BASE = {
    f"{LIB}/a.service": "[Service]\nExecStart=/a\n",
    f"{ETC}/l.service": "-> /srv/l.service",
    "/srv/l.service": "[Service]\nExecStart=/l\n",
    f"{GENERATOR}/systemd-fstab-generator": "1",
    f"{GENERATOR}/systemd-getty-generator": "1",
    "/etc/motd": "A",
}


def why(changes: dict[str, str], base: dict[str, str] = BASE) -> tuple[str, ...]:
    old, new = Files(base), Files({**base, **changes})
    changed = {path for path in changes if not path.startswith("/srv")}
    return why_reread(new, read_units(old), read_units(new), changed)


@pytest.mark.parametrize(
    "path", ["/etc/motd", "/etc/nginx/nginx.conf", "/usr/bin/tree", "/etc/crypttab", "/etc/systemdx"]
)
def test_what_systemd_does_not_read_is_no_reason(path: str) -> None:
    assert why({path: "B"}) == ()


@pytest.mark.parametrize(
    "path",
    [
        f"{LIB}/a.service",
        f"{ETC}/b.service",
        f"{ETC}/a.service.d/x.conf",
        f"{ETC}/multi-user.target.wants/a.service",
        "/etc/systemd/system.conf.d/x.conf",
        f"{GENERATOR}/systemd-fstab-generator",
        "/etc/fstab",
        "/etc/localtime",
    ],
)
def test_what_it_reads_is_one(path: str) -> None:
    assert why({path: "[Service]\nNice=1\n"}) == (f"{path} changed",)


def test_a_unit_that_lies_elsewhere() -> None:
    assert why({"/srv/l.service": "[Service]\nExecStart=/m\n"}) == ("units differ",)


def test_of_a_foreign_generator_nobody_knows_what_it_reads() -> None:
    base = {**BASE, f"{GENERATOR}/postgresql-generator": "1"}
    assert why({"/etc/motd": "B"}, base) == ("nobody knows what postgresql-generator reads",)
