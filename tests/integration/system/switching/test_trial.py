"""A trial: what is asked of systemd, in which order, and that whatever fails leads back. systemd itself is played."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.system.switching.small import SmallHost, SystemText

from anicca.cli import app
from anicca.cli.status import lines
from anicca.errors import AniccaError
from anicca.store import gc as store_gc
from anicca.system.live import LivePlan
from anicca.system.status import read_status
from anicca.system.switching import live, paths, systemd
from anicca.system.switching.esp import read_esp
from anicca.system.switching.host import hold, look
from anicca.system.switching.live import TrialFailedError, try_live
from anicca.system.switching.trial import Trial, note, noted, read_trial
from anicca.system.units import Action, UnitPlan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anicca.system.reading import System

pytestmark = pytest.mark.integration


def some(*units: str) -> tuple[Action, ...]:
    return tuple(Action(unit=unit, why=("it changed",)) for unit in units)


PLAN = LivePlan(
    usr=False,
    etc=False,
    units=UnitPlan(
        stop=some("gone.service"),
        reexecute=("/usr/lib/systemd/systemd changed",),
        tmpfiles=("x changed",),
        reload=some("soft.service"),
        restart=some("late.service", "early.service"),
        start=some("new.service"),
    ),
    early=frozenset({"early.service"}),
    checks=("check.service",),
    paths=(),
    reboot=(),
)


class Played:
    """systemd: notes what it is asked; `failing` units fail the first time that something is done to them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failing: str) -> None:
        self.asked: list[str] = []
        self.failing = set(failing)
        self.failed: set[str] = set()
        monkeypatch.setattr(systemd, "act", self.act)
        monkeypatch.setattr(systemd, "systemctl", self.systemctl)
        monkeypatch.setattr(systemd, "run_tmpfiles", lambda: self.asked.append("tmpfiles"))
        monkeypatch.setattr(systemd, "read_active", list)
        monkeypatch.setattr(systemd, "read_users", dict)
        monkeypatch.setattr(systemd, "read_stale", lambda: {"chrony.service": "/etc"} if failing == ("stale",) else {})
        monkeypatch.setattr(systemd, "state", lambda unit: "failed" if unit in self.failed else "active")
        monkeypatch.setattr(systemd, "last_words", lambda unit: f"{unit}: no!")
        monkeypatch.setattr(systemd, "invocations", lambda units: dict.fromkeys(units, "1"))
        monkeypatch.setattr(live, "failed_units", lambda: set(self.failed))

    def systemctl(self, *words: str, check: bool = True, user: int | None = None) -> str:
        del check, user
        if words[0] == "reset-failed":
            self.failed -= set(words[1:])
        self.asked.append(" ".join(words))
        return ""

    def act(self, verb: str, units: Sequence[str], *, user: int | None = None) -> list[str]:
        if units:
            self.asked.append(f"{verb} {' '.join(units)}{'' if user is None else f' of {user}'}")
        failed = [unit for unit in units if unit in self.failing]
        self.failing -= set(failed)
        return failed


def try_it(host: SmallHost, old: System, new: System, plan: LivePlan = PLAN, **options: Any) -> None:
    try_live(host.places, old, new, plan, failed_before=live.failed_units(), settle_seconds=0, **options)


def go(host: SmallHost, plan: LivePlan = PLAN, **options: Any) -> None:
    system = host.places.system(host.workshop.system(SystemText()))
    try_it(host, system, system, plan, **options)


def test_the_order(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch)
    monkeypatch.setattr(paths, "read_ahead", lambda files: played.asked.append(f"read {' '.join(files)}"))
    go(host, replace(PLAN, opens=frozenset({"/usr/sbin/late"})))
    assert played.asked == [
        "stop gone.service",
        "daemon-reexec",
        "tmpfiles",
        "reload soft.service",
        "read /usr/sbin/late",
        "restart early.service",
        "restart late.service",
        "start new.service",
        "restart check.service",
    ]


@pytest.mark.parametrize("reasons", [(), ("/etc/systemd/system/x.service changed",)])
def test_systemd_reads_its_units_again_only_where_they_differ(
    host: SmallHost, monkeypatch: pytest.MonkeyPatch, reasons: tuple[str, ...]
) -> None:
    played = Played(monkeypatch)
    go(host, LivePlan(reread=reasons, units=UnitPlan(start=some("new.service"))))
    assert played.asked == ["daemon-reload"] * len(reasons) + ["start new.service"]


@pytest.mark.parametrize("unit", ["soft.service", "late.service", "new.service", "check.service"])
def test_whatever_fails_leads_back(host: SmallHost, monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    Played(monkeypatch, unit)
    with pytest.raises(TrialFailedError, match="did not do well") as failed:
        go(host)
    assert f"{unit}: no!" in str(failed.value.detail)
    assert "GOING BACK FAILED" not in str(failed.value.detail)


def test_units_of_users_come_last_and_count(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(PLAN, users={1000: UnitPlan(restart=some("theirs.service"))})
    played = Played(monkeypatch)
    go(host, plan)
    assert played.asked[-3:] == ["daemon-reload", "restart theirs.service of 1000", "restart check.service"]
    Played(monkeypatch, "theirs.service")
    with pytest.raises(TrialFailedError) as failed:
        go(host, plan)
    assert "restart for user 1000: theirs.service failed" in str(failed.value.detail)


def test_one_that_dies_later_leads_back(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch)
    # The trial's own clock: others sleep as well.
    clock = SimpleNamespace(sleep=lambda _seconds: played.failed.add("late.service"), monotonic=time.monotonic)
    monkeypatch.setattr(live, "time", clock)
    with pytest.raises(TrialFailedError) as failed:
        go(host)
    assert "afterwards: late.service failed" in str(failed.value.detail)
    assert "reset-failed late.service" in played.asked


def test_one_that_had_failed_before_does_not(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    Played(monkeypatch).failed.add("other.service")
    go(host)


@pytest.mark.parametrize(
    "error", [AniccaError("no"), OSError(28, "No space left", "/srv"), KeyboardInterrupt(), KeyError("a bug")]
)
def test_errors_of_ours_lead_back_too(host: SmallHost, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    played = Played(monkeypatch)

    def fail() -> None:
        raise error

    monkeypatch.setattr(systemd, "run_tmpfiles", fail)
    with pytest.raises(TrialFailedError) as failed:
        go(host)
    assert "GOING BACK FAILED" not in str(failed.value.detail)
    assert "reload soft.service" not in played.asked
    # What was stopped for the new system runs again.
    assert played.asked[-1] == "start gone.service late.service early.service"


def test_not_confirmed_it_goes_back(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    Played(monkeypatch)
    with pytest.raises(TrialFailedError) as failed:
        go(host, confirm_seconds=0.3)
    assert "nobody confirmed" in str(failed.value.detail)


def confirm_it(host: SmallHost) -> None:
    arguments = ["switch", "--confirm", "--run", str(host.places.run)]
    app.app.main(["--store", str(host.places.store.root), *arguments], standalone_mode=False)


def test_confirmed_it_stays(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    Played(monkeypatch)

    def confirm_when_asked() -> None:
        while not (host.places.run / "unconfirmed").exists():
            time.sleep(0.01)
        confirm_it(host)

    other = threading.Thread(target=confirm_when_asked)
    other.start()
    go(host, confirm_seconds=30)
    other.join()


def test_too_early_or_too_late_is_said(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    Played(monkeypatch)
    with pytest.raises(AniccaError, match="no switch waits to be confirmed"):
        confirm_it(host)
    with pytest.raises(TrialFailedError):
        go(host, confirm_seconds=0.3)
    with pytest.raises(AniccaError, match="no switch waits to be confirmed"):
        confirm_it(host)


def test_asked_to_end_it_goes_all_the_way_back(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, "late.service")
    act = played.act

    def interrupted(verb: str, units: Sequence[str], *, user: int | None = None) -> list[str]:
        if verb == "start":
            os.kill(os.getpid(), signal.SIGINT)
        return act(verb, units, user=user)

    monkeypatch.setattr(systemd, "act", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrialFailedError) as failed:
        go(host, replace(PLAN, units=replace(PLAN.units, start=())))
    assert "GOING BACK FAILED" not in str(failed.value.detail)
    assert played.asked[-1] == "start gone.service late.service early.service"
    assert signal.getsignal(signal.SIGINT) == before


def test_how_it_ended_is_written_down(host: SmallHost) -> None:
    run = host.places.run
    one, other = (host.places.system(host.workshop.system(SystemText(initrd=f"initrd {word}"))) for word in "ab")

    def status() -> list[str]:
        return [line for line in lines(read_status(host.places)) if "switch of" in line or line.startswith("  it says")]

    with noted(run, one, other):
        assert status()[0].endswith(f"to {other.path}: under way, process {os.getpid()}")
    assert status()[0].endswith(f"to {other.path}: done")
    with pytest.raises(AniccaError), noted(run, other, one):
        raise AniccaError("not well", detail="it says no")
    assert status()[0].endswith(f"to {one.path}: not well")
    assert status()[1:] == ["  it says no"]


def test_one_that_was_killed_goes_back_first(
    host: SmallHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The link says what ran before, but nobody knows what the host is: even to go there is no nothing to do."""
    places = host.places
    running = look(places).running
    new = host.workshop.system(SystemText(initrd="initrd 2"))
    note(places.run, Trial(old=str(running), new=str(new), process=2**22 + 1, began=0, stops=("gone.service",)))
    assert "CUT OFF, the host is between two systems" in "\n".join(lines(read_status(places)))
    played = Played(monkeypatch)
    # Each small system has an image of its own, and this machine keeps its /etc.
    monkeypatch.setattr(live, "_prepare", lambda *_: iter(()))
    words = ["--boot", str(places.boot), "--run", str(places.run), "--command-line", str(places.command_line)]
    words = ["--store", str(places.store.root), "switch", "--attached", str(running), *words]
    places.store.close()
    app.app.main([*words, "--dry-run"], standalone_mode=False)
    said = capsys.readouterr().out
    assert said.startswith(f"go back to {running}: the switch to {new} was cut off\n")
    assert played.asked == []
    app.app.main(words, standalone_mode=False)
    assert capsys.readouterr().out == said
    assert "start gone.service" in played.asked
    trial = read_trial(places.run)
    assert trial is not None
    assert trial.problem == "it was cut off; the host went back later"


def test_to_try_leaves_what_boots_next(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    places = host.places
    new = host.workshop.system(SystemText(initrd="initrd 2"))
    Played(monkeypatch)
    monkeypatch.setattr(live, "_prepare", lambda *_: iter(()))
    words = ["--boot", str(places.boot), "--run", str(places.run), "--command-line", str(places.command_line)]
    for verb, boots_next in (("test", 1), ("switch", 2)):
        places.store.close()
        arguments = ["--store", str(places.store.root), verb, "--attached", str(new), *words]
        app.app.main(arguments, standalone_mode=False)
        seen = look(places, read_esp(places.boot))
        assert (seen.running, seen.next) == (new, boots_next)


def test_what_waits_is_written_down(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    Played(monkeypatch)
    go(host, replace(PLAN, units=UnitPlan(waits=some("dbus.service"))))
    text = (host.places.run / "waits.json").read_text()
    assert text == '{"dbus.service": {"why": "it changed", "run": "1"}}'


def test_a_kernel_setting_that_stays_is_said_as_long_as_it_does(
    host: SmallHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(old: System, new: System) -> tuple[str, ...]:
        try_it(host, old, new)
        return read_status(host.places).reboot

    etc = {"/sysctl.d/60-anicca.conf": "vm.swappiness = 17\n"}
    plain, tuned = (host.places.system(host.workshop.system(text)) for text in (SystemText(), SystemText(etc=etc)))
    said = "kernel setting vm.swappiness: declared no more"
    Played(monkeypatch)
    assert move(plain, tuned) == ()
    assert move(tuned, plain) == (said,)
    assert move(plain, plain) == (said,)
    assert move(plain, tuned) == ()
    assert move(tuned, plain) == (said,)
    (host.places.run / "let-go.json").unlink()
    # One that was tried and left has set it too.
    Played(monkeypatch, "new.service")
    monkeypatch.setattr(live, "plan_live", lambda *_systems, **_facts: LivePlan())
    with pytest.raises(TrialFailedError):
        move(plain, tuned)
    assert read_status(host.places).reboot == (said,)


def test_sockets_stop_before_they_start_again(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch)
    restart = (
        *some("d.socket", "early.service", "late.service"),
        Action(unit="d.service", why=("it has d.socket, which changed",), holds="d.socket"),
    )
    go(host, replace(PLAN, units=UnitPlan(reload=some("soft.service"), restart=restart), checks=()))
    assert played.asked == [
        "reload soft.service",
        "restart early.service",
        "stop d.service d.socket",
        "restart d.socket late.service d.service",
    ]


def test_who_keeps_the_old_etc_is_written_down(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    Played(monkeypatch, "stale")
    go(host)
    assert "it still sees the /etc from before" in (host.places.run / "waits.json").read_text()


def test_a_system_is_kept_as_long_as_somebody_sees_its_files(host: SmallHost, monkeypatch: pytest.MonkeyPatch) -> None:
    store = host.places.store
    old, new = (host.workshop.system(SystemText(initrd=f"initrd {word}")) for word in "ab")
    Played(monkeypatch, "stale")
    try_it(host, host.places.system(old), host.places.system(new))
    # What it works on is kept until it is closed.
    store.close()
    with hold(host.places, "gc"):
        store_gc.collect(store)
    assert (store.is_valid(old), store.is_valid(new)) == (True, True)
    Played(monkeypatch)
    with hold(host.places, "gc"):
        store_gc.collect(store)
    assert (store.is_valid(old), store.is_valid(new)) == (False, True)


def test_an_old_etc_is_told_by_its_device(tmp_path: Path) -> None:
    def process(number: str, device: str) -> None:
        directory = tmp_path / number
        directory.mkdir()
        (directory / "cgroup").write_text(f"0::/system.slice/{number}.service\n")
        line = f"30 20 {device} / /etc ro - erofs x ro\n"
        (directory / "mountinfo").write_text(f"29 20 0:9 / /etc ro - erofs x ro\n{line}20 1 0:1 / / rw - f2fs x rw\n")

    for number, device in (("1", "0:50"), ("2", "0:40"), ("self", "0:50")):
        process(number, device)
    assert systemd.read_stale(tmp_path) == {"2.service": "/etc"}
