"""The plan that moves a running host from one real system to another; and what it is made from on this machine."""

from __future__ import annotations

import os
import sys

import pytest
from tests.integration.system.switching.small import Files, SmallHost, SystemText

from anicca.system.live import plan_live
from anicca.system.switching.systemd import mapped, unit_of, user_unit_of
from anicca.system.units import Active

pytestmark = pytest.mark.integration

UNIT = "/usr/lib/systemd/system"


def packages(*, daemon: str = "1", library: str = "1", other: str = "1") -> dict[str, tuple[str, Files]]:
    target = f"{UNIT}/multi-user.target"
    return {
        "base": (
            "1",
            {
                f"{UNIT}/default.target": "-> multi-user.target",
                target: "[Unit]\nDescription=all\n",
                f"{target}.wants/d.service": f"-> {UNIT}/d.service",
                f"{target}.wants/o.service": f"-> {UNIT}/o.service",
            },
        ),
        "d": (
            daemon,
            {"/usr/bin/d": f"#!/usr/lib/l\n{daemon}", f"{UNIT}/d.service": "[Service]\nExecStart=/usr/bin/d\n"},
        ),
        "o": (other, {"/usr/bin/o": other, f"{UNIT}/o.service": "[Service]\nExecStart=/usr/bin/o\n"}),
        "l": (library, {"/usr/lib/l": library}),
    }


ACTIVE = [Active(name="d.service"), Active(name="o.service"), Active(name="user@1000.service")]


def sentences(host: SmallHost, old: SystemText, new: SystemText) -> list[str]:
    one, other = (host.places.system(host.workshop.system(text)) for text in (old, new))
    return [sentence.replace(str(host.places.store.root), "") for sentence in plan_live(one, other, ACTIVE).sentences()]


def test_nothing_changed_nothing_happens(host: SmallHost) -> None:
    system = host.places.system(host.workshop.system(SystemText(packages=packages())))
    plan = plan_live(system, system, ACTIVE)
    assert plan.is_empty
    assert list(plan.sentences()) == []


def restarts(said: list[str]) -> list[str]:
    return [one for one in said if one.split()[0] in ("stop", "reload", "restart", "start")]


def test_a_library_restarts_exactly_what_loads_it(host: SmallHost) -> None:
    said = sentences(host, SystemText(packages=packages()), SystemText(packages=packages(library="2")))
    assert restarts(said) == ["restart d.service (/usr/lib/l changed)"]
    said = sentences(host, SystemText(packages=packages()), SystemText(packages=packages(other="2")))
    assert restarts(said) == ["restart o.service (/usr/bin/o changed)"]


def test_what_restarts_is_known_by_what_it_opens(host: SmallHost) -> None:
    unit = {"/systemd/system/o.service.d/more.conf": "[Service]\nEnvironmentFile=/etc/o.conf\n", "/o.conf": "A=1\n"}
    texts = [SystemText(packages=packages(library=word), etc=unit if word == "2" else {}) for word in ("1", "2")]
    one, other = (host.places.system(host.workshop.system(text)) for text in texts)
    active = [Active(name="d.service"), Active(name="o.service", maps=frozenset({"/usr/lib/plugin.so"}))]
    plan = plan_live(one, other, active)
    assert [action.unit for action in plan.units.restart] == ["d.service", "o.service"]
    assert plan.opens == {"/usr/bin/d", "/usr/lib/l", "/usr/bin/o", "/usr/lib/plugin.so", "/etc/o.conf"}


def test_units_of_a_user_who_is_there(host: SmallHost) -> None:
    unit = "/systemd/user/u.service"
    texts = [
        SystemText(packages=packages(), etc={unit: f"[Service]\nExecStart=/usr/bin/o {word}\n"}) for word in ("1", "2")
    ]
    one, other = (host.places.system(host.workshop.system(text)) for text in texts)
    plan = plan_live(one, other, ACTIVE, users={1000: [Active(name="u.service")], 1001: []})
    assert list(plan.users) == [1000]
    assert "restart for user 1000: u.service (ExecStart changed)" in list(plan.sentences())
    assert user_unit_of("0::/user.slice/user-7.slice/user@7.service/app.slice/u.service\n", "user@7.service") == (
        "u.service"
    )
    assert user_unit_of("0::/system.slice/u.service\n", "user@7.service") is None


def test_an_unrelated_change_restarts_nothing(host: SmallHost) -> None:
    more = {**packages(), "n": ("1", {"/usr/bin/n": "n"})}
    said = sentences(host, SystemText(packages=packages()), SystemText(packages=more, etc={"/hostname": "x\n"}))
    assert restarts(said) == []


def test_systemd_reads_its_units_again_only_where_they_differ(host: SmallHost) -> None:
    old = SystemText(packages=packages())
    said = sentences(host, old, SystemText(packages=packages(), etc={"/hostname": "x\n"}))
    assert not any("read its units" in one for one in said)
    unit = "/etc/systemd/system/n.service"
    said = sentences(
        host, old, SystemText(packages=packages(), etc={"/hostname": "h\n", unit.removeprefix("/etc"): "[Service]\n"})
    )
    why = f"/etc/systemd changed; /etc/systemd/system changed; {unit} changed"
    assert f"have systemd read its units again ({why})" in said


def test_what_needs_a_reboot_is_said(host: SmallHost) -> None:
    new = SystemText(packages=packages(), parameters="rw anicca.nix=PARTUUID=1 quiet")
    assert sentences(host, SystemText(packages=packages()), new)[-1] == ("waits for a reboot: command line: with quiet")


def test_a_setting_that_is_let_go_needs_a_reboot(host: SmallHost) -> None:
    old = SystemText(packages=packages(), etc={"/sysctl.d/60-anicca.conf": "vm.swappiness = 17\n"})
    new = SystemText(packages=packages(), etc={"/hostname": "h\n"})
    assert sentences(host, old, new)[-1] == "waits for a reboot: kernel setting vm.swappiness: declared no more"


def test_maps_and_cgroups_of_this_process() -> None:
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        found = mapped(maps.read())
    assert os.path.realpath(sys.executable) in found or not sys.executable.startswith("/usr")
    assert any("/libc" in path for path in found)
    assert unit_of("0::/system.slice/ssh.service\n") == "ssh.service"
    assert unit_of("0::/user.slice/user-0.slice/user@0.service/app.slice/a.service\n") == "user@0.service"
    assert unit_of("0::/\n") is None
    assert mapped("7f00-7f01 r-xp 0 00:1f 12    /lib/x86_64-linux-gnu/libx.so\n") == {
        "/usr/lib/x86_64-linux-gnu/libx.so"
    }
