from typing import Any

import pytest

from anicca.system.unitfiles import Unit, UnitSet, parse_unit
from anicca.system.units import Active, Changed, UnitPlan, plan_units

SERVICE = "[Service]\nExecStart=/usr/sbin/d -c /etc/d/main.conf\n"
TARGET = "[Unit]\nDescription=all\nWants={}\n"


def unit(name: str, text: str | None) -> Unit:
    settings = tuple(parse_unit((text or "").encode()))
    return Unit(name=name, path=f"/usr/lib/systemd/system/{name}", masked=text is None, settings=settings)


def system(wants: str = "d.service", **texts: str | None) -> UnitSet:
    """Units by name, `_` for the dot; default.target wants `wants`."""
    units = {"default.target": unit("default.target", TARGET.format(wants))}
    for key, text in texts.items():
        name = key.replace("_", ".")
        units[name] = unit(name, text)
    return UnitSet(units=units, aliases={})


def plan(old: UnitSet, new: UnitSet, *active: str | Active, **changed: Any) -> dict[str, list[str]]:
    here = [one if isinstance(one, Active) else Active(name=one) for one in active]
    made = plan_units(old, new, here, Changed(**changed))
    return {
        name: [getattr(one, "unit", one) for one in getattr(made, name)]
        for name in UnitPlan.__slots__
        if getattr(made, name)
    }


OLD = system(d_service=SERVICE)


def test_nothing_changed_nothing_happens() -> None:
    assert plan(OLD, system(d_service="# other\n" + SERVICE + "[Install]\nWantedBy=x\n"), "d.service") == {}


@pytest.mark.parametrize(
    ("text", "happens"),
    [
        (SERVICE + "Nice=3\n", {"restart": ["d.service"]}),
        (SERVICE.replace("main", "other"), {"restart": ["d.service"]}),
        ("[Unit]\nDescription=new\nAfter=x.service\n" + SERVICE + "ExecReload=/bin/kill\n", {}),
        (None, {"stop": ["d.service"]}),
    ],
)
def test_texts(text: str | None, happens: dict[str, list[str]]) -> None:
    assert plan(OLD, system(d_service=text), "d.service") == happens


def test_a_removed_unit_stops_and_a_new_one_starts() -> None:
    new = system("e.service", e_service=SERVICE)
    assert plan(OLD, new, "d.service") == {"stop": ["d.service"], "start": ["e.service"]}


def test_one_that_nothing_starts_any_more_stops() -> None:
    assert plan(OLD, system("", d_service=SERVICE), "d.service") == {"stop": ["d.service"]}


def test_one_that_a_person_started_goes_on() -> None:
    both = system("", d_service=SERVICE)
    assert plan(both, both, "d.service") == {}


def test_one_that_a_person_stopped_stays_stopped() -> None:
    assert plan(OLD, OLD) == {}


def test_a_program_or_a_library_that_it_loads() -> None:
    def loads(program: str) -> frozenset[str]:
        return frozenset({program, "/usr/lib/libx.so.1"} if program == "/usr/sbin/d" else {program})

    for path in ("/usr/sbin/d", "/usr/lib/libx.so.1"):
        assert plan(OLD, OLD, "d.service", usr=frozenset({path}), loads=loads) == {"restart": ["d.service"]}
    assert plan(OLD, OLD, "d.service", usr=frozenset({"/usr/lib/liby.so.1"}), loads=loads) == {}


def test_a_library_that_it_loaded_by_itself() -> None:
    one = Active(name="d.service", maps=frozenset({"/usr/lib/module.so"}))
    assert plan(OLD, OLD, one, usr=frozenset({"/usr/lib/module.so"})) == {"restart": ["d.service"]}


def test_a_file_that_its_text_names_is_reloaded_where_it_can() -> None:
    changed = {"etc": frozenset({"/etc/d/main.conf"})}
    assert plan(OLD, OLD, "d.service", **changed) == {"restart": ["d.service"]}
    soft = system(d_service=SERVICE + "ExecReload=/bin/kill -HUP $MAINPID\n")
    assert plan(soft, soft, "d.service", **changed) == {"reload": ["d.service"]}
    assert plan(soft, soft, Active(name="d.service", state="failed"), **changed) == {"restart": ["d.service"]}


def test_a_file_of_its_package() -> None:
    soft = system(d_service="[Service]\nExecStart=/usr/sbin/d\nExecReload=/bin/kill\n")
    belongs = {"d.service": frozenset({"/etc/d"})}
    assert plan(soft, soft, "d.service", etc=frozenset({"/etc/d/sites/a"}), belongs=belongs) == {
        "reload": ["d.service"]
    }
    assert plan(soft, soft, "d.service", etc=frozenset({"/etc/dd"}), belongs=belongs) == {}


def test_an_environment_file_takes_a_restart() -> None:
    text = SERVICE + "ExecReload=/bin/kill\nEnvironmentFile=-/etc/default/d\n"
    one = system(d_service=text)
    assert plan(one, one, "d.service", etc=frozenset({"/etc/default/d"})) == {"restart": ["d.service"]}


def test_triggers_by_word() -> None:
    text = "[Unit]\nX-Reload-Triggers=/srv/www\nX-Restart-Triggers=/etc/x\n" + SERVICE + "ExecReload=/bin/kill\n"
    one = system(d_service=text)
    assert plan(one, one, "d.service", seed=frozenset({"/srv/www/a"})) == {"reload": ["d.service"]}
    assert plan(one, one, "d.service", etc=frozenset({"/etc/x/a"})) == {"restart": ["d.service"]}


def test_what_asks_for_it_is_left_alone_and_said() -> None:
    text = "[Unit]\nX-RestartIfChanged=no\n" + SERVICE
    old, new = system(d_service=text), system(d_service=text + "Nice=1\n")
    assert plan(old, new, "d.service") == {"waits": ["d.service"]}


def test_the_bus_waits() -> None:
    old, new = (system("dbus.service", dbus_service=SERVICE + end) for end in ("", "Nice=1\n"))
    assert plan(old, new, "dbus.service") == {"waits": ["dbus.service"]}


def test_a_changed_socket_takes_its_service_with_it() -> None:
    old, new = (system("d.socket", d_socket=f"[Socket]\nListenStream={port}\n", d_service=SERVICE) for port in (1, 2))
    assert plan(old, new, "d.socket", "d.service") == {"restart": ["d.socket", "d.service"]}
    assert plan(old, new, "d.socket") == {"restart": ["d.socket"]}


def test_one_that_starts_anew_for_another_reason_holds_its_socket_all_the_same() -> None:
    old, new = (
        system("d.socket", d_socket=f"[Socket]\nListenStream={port}\n", d_service=SERVICE + f"Nice={port}\n")
        for port in (1, 2)
    )
    made = plan_units(old, new, [Active(name="d.socket"), Active(name="d.service")], Changed())
    assert [(one.unit, one.why, one.holds) for one in made.restart] == [
        ("d.socket", ("ListenStream changed",), ""),
        ("d.service", ("Nice changed",), "d.socket"),
    ]


def test_one_that_would_be_reloaded_starts_anew_with_its_socket() -> None:
    text = SERVICE + "ExecReload=/bin/kill\n"
    old, new = (system("d.socket", d_socket=f"[Socket]\nListenStream={port}\n", d_service=text) for port in (1, 2))
    etc = frozenset({"/etc/d/main.conf"})
    assert plan(old, new, "d.service", etc=etc) == {"reload": ["d.service"]}
    assert plan(old, new, "d.socket", "d.service", etc=etc) == {"restart": ["d.socket", "d.service"]}


def test_the_socket_of_what_is_never_stopped_waits_with_it() -> None:
    old, new = (
        system("dbus.socket", dbus_socket=f"[Socket]\nListenStream={port}\n", dbus_service=SERVICE) for port in (1, 2)
    )
    assert plan(old, new, "dbus.socket", "dbus.service") == {"waits": ["dbus.socket"]}
    assert plan(old, new, "dbus.socket") == {"restart": ["dbus.socket"]}


@pytest.mark.parametrize("word", ["X-RestartIfChanged=no", "RefuseManualStop=yes"])
def test_the_socket_of_what_asks_to_be_left_alone_waits_with_it(word: str) -> None:
    text = f"[Unit]\n{word}\n{SERVICE}"
    old, new = (system("d.socket", d_socket=f"[Socket]\nListenStream={port}\n", d_service=text) for port in (1, 2))
    assert plan(old, new, "d.socket", "d.service") == {"waits": ["d.socket"]}


def test_a_service_started_by_a_socket_that_is_gone_stops() -> None:
    old = system("d.socket", d_socket="[Socket]\nListenStream=1\n", d_service=SERVICE)
    new = system("", d_socket="[Socket]\nListenStream=1\n", d_service=SERVICE)
    assert plan(old, new, "d.socket", "d.service") == {"stop": ["d.service", "d.socket"]}


def test_a_timer() -> None:
    old, new = (system("d.timer", d_timer=f"[Timer]\nOnCalendar={t}\n", d_service=SERVICE) for t in ("daily", "weekly"))
    assert plan(old, new, "d.timer") == {"restart": ["d.timer"]}


def test_what_runs_once_per_boot_runs_again() -> None:
    once = "[Service]\nType=oneshot\nExecStart=/usr/bin/x\n"
    one = system(d_service=once)
    assert plan(one, one, usr=frozenset({"/usr/bin/x"})) == {"start": ["d.service"]}
    assert plan(one, one) == {}


def test_mounts_of_the_system_itself_are_not_units_to_restart() -> None:
    old, new = (system("usr.mount", usr_mount=f"[Mount]\nWhat={w}\n") for w in "ab")
    assert plan(old, new, "usr.mount") == {}


def test_systemd_itself() -> None:
    loads = {"/usr/lib/systemd/systemd": frozenset({"/usr/lib/libsystemd.so"})}.get
    made = plan(OLD, OLD, "d.service", usr=frozenset({"/usr/lib/libsystemd.so"}), loads=lambda p: loads(p, frozenset()))
    assert made == {"reexecute": ["/usr/lib/libsystemd.so changed"]}


def test_reasons_are_said() -> None:
    made = plan_units(OLD, system(d_service=SERVICE + "Nice=1\n"), [Active(name="d.service")], Changed())
    assert str(made.restart[0]) == "d.service (Nice changed)"


def test_what_runs_once_has_no_libraries_in_use() -> None:
    once = system(d_service="[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/x\n")
    loads = {"loads": lambda program: frozenset((program, "/usr/lib/l.so") if program == "/usr/bin/x" else ())}
    for state in ("active", "inactive"):
        one = Active(name="d.service", state=state)
        assert plan(once, once, one, usr=frozenset(["/usr/lib/l.so"]), **loads) == {}
        assert plan(once, once, one, usr=frozenset(["/usr/bin/x"]), **loads) != {}


def test_a_session_keeps_its_files() -> None:
    directory = system(**{"user-runtime-dir@7_service": SERVICE})
    changed = system(**{"user-runtime-dir@7_service": SERVICE + "Nice=3\n"})
    assert list(plan(directory, changed, "user-runtime-dir@7.service")) == ["waits"]


def test_a_session_that_runs_what_changed_is_said() -> None:
    library = "/usr/lib/libcrypto.so.3"
    here = Active(name="session-1.scope", maps=frozenset({library}))
    found = plan_units(OLD, OLD, [here, Active(name="session-2.scope")], Changed(usr=frozenset({library})))
    assert [str(one) for one in found.waits] == [f"session-1.scope ({library} changed; it is somebody's session)"]
    assert plan(OLD, OLD, here, usr=frozenset({"/usr/bin/other"})) == {}
