"""The commands on a host that is a few directories: what `--dry-run` prints is what is done."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest
from tests.integration.system.switching.small import SmallHost, SystemText

from anicca.cli import app
from anicca.cli.context import Context
from anicca.cli.places import built_here
from anicca.errors import AniccaError, RefusedError, UsageError
from anicca.system.switching.esp import read_esp
from anicca.system.switching.host import look

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anicca.store import StorePath

pytestmark = pytest.mark.integration


@pytest.fixture
def run(host: SmallHost, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command on the host; what it printed as JSON."""

    def run_it(*words: str, text: bool = False) -> Any:
        host.places.store.close()
        places = ["--boot", str(host.places.boot), "--run", str(host.places.run)]
        places += ["--command-line", str(host.places.command_line)]
        capsys.readouterr()
        form = [] if text else ["--json"]
        arguments = [*form, "--store", str(host.places.store.root), *words, *places]
        app.app.main(arguments, standalone_mode=False)
        out = capsys.readouterr().out
        return out if text else json.loads(out)

    return run_it


def tree_of(*tops: Path) -> dict[str, str]:
    """Everything below some directories, but for the store's own bookkeeping."""
    found = {}
    for top in tops:
        for path in sorted(top.rglob("*")):
            if path.is_symlink():
                found[str(path)] = f"-> {path.readlink()}"
            elif path.is_file():
                found[str(path)] = path.read_text(errors="replace")
    return found


def state(host: SmallHost) -> dict[str, str]:
    nix = host.places.store.root / "nix"
    return tree_of(host.places.boot, nix / "var/nix/profiles", nix / "var/anicca/generations")


NEW = SystemText(initrd="initrd 2")


def test_boot_does_what_the_dry_run_said(host: SmallHost, run: Callable[..., Any]) -> None:
    system = host.workshop.system(NEW)
    before = state(host)
    said = run("boot", str(system), "--dry-run")
    assert state(host) == before
    assert run("boot", str(system)) == said
    assert said["plan"][0]["step"] == "record"
    listed = {one["number"]: one for one in run("generations")}
    assert listed[1]["roles"] == ["running", "booted"]
    assert (listed[2]["roles"], listed[2]["tries_left"]) == (["next"], 3)
    assert run("boot", str(system))["plan"] == []


def test_a_switch_takes_the_declaration_of_this_folder(
    host: SmallHost, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="a system is needed"):
        run("switch", "--dry-run")
    for command in ("switch", "boot", "test"):
        with pytest.raises(UsageError, match=r"^other\.py: there is no such file$"):
            run(command, "other.py")
    (tmp_path / "here/host.py").touch()
    running = str(look(host.places).running)
    monkeypatch.setattr("anicca.cli.switch.built_here", lambda _context, text, **_: {"host.py": running}[text])
    assert run("switch", "--dry-run") == {"live": [], "boot": []}


def test_a_declaration_is_built_here_and_what_built_it_stays(
    host: SmallHost, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation is played, and the building: what was built is there already."""
    tools, system = (host.workshop.system(text) for text in (SystemText(name="tools"), NEW))
    plan = SimpleNamespace(system=SimpleNamespace(out=system), tools=SimpleNamespace(out=tools))
    planned = SimpleNamespace(spec=None, plan=plan)
    monkeypatch.setattr("anicca.cli.context.plan_host", lambda *_: planned)
    monkeypatch.setattr("anicca.system.generations.origins_of", lambda *_: {"files[/etc/motd]": ["host.py:9"]})
    builders: list[int] = []

    def build(*_: object) -> StorePath:
        builders.append(os.getpid())
        (tmp_path / "builder").write_text(str(os.getpid()))
        return system

    monkeypatch.setattr("anicca.cli.context.realise_system", build)
    file = tmp_path / "host.py"
    file.touch()
    before = state(host)
    said = run("boot", str(file), "--dry-run")
    assert state(host) == before
    assert run("boot", str(file)) == said
    assert said["plan"][0]["step"] == "record"
    # What it does to its mounts is not done to this process.
    assert builders == []
    assert int((tmp_path / "builder").read_text()) != os.getpid()
    (made,) = [one for one in run("generations") if one["number"] == 2]
    assert made["made_from"]["origins"] == {"files[/etc/motd]": ["host.py:9"]}
    for name in ("built", "tools"):
        (host.places.run / name).unlink()
    assert str(tools) not in run("gc")["objects"]
    run("rollback")
    said = run("gc", "2", "--dry-run")
    assert str(tools) in said["objects"]
    assert set(said["objects"]) <= set(run("gc", "2")["objects"])

    def fail(*_: object) -> StorePath:
        raise AniccaError("it does not build", hint="write it better")

    monkeypatch.setattr("anicca.cli.context.realise_system", fail)
    before = state(host)
    with pytest.raises(AniccaError, match="it does not build"):
        run("boot", str(file))
    assert state(host) == before


def test_who_may_not_build_is_told_before_anything_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (tmp_path / "host.py").write_text("raise AssertionError\n")
    with pytest.raises(AniccaError, match="takes root"):
        built_here(Context(), str(tmp_path / "host.py"), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rollback_there_and_back(host: SmallHost, run: Callable[..., Any]) -> None:
    host.add(NEW)
    run("rollback")
    assert [one["number"] for one in run("generations") if "next" in one["roles"]] == [1]
    run("rollback", "2")
    assert [one["number"] for one in run("generations") if "next" in one["roles"]] == [2]
    with pytest.raises(AniccaError, match="no generation 7"):
        run("rollback", "7")


def test_healthy(host: SmallHost, run: Callable[..., Any]) -> None:
    host.add(NEW)
    host.run(2)
    run("boot", "--healthy")
    (two,) = [one for one in run("generations") if one["number"] == 2]
    assert (two["roles"], two["tries_left"]) == (["running", "booted", "next", "good"], None)
    # Asked again, as after a soft reboot, it is known: nothing is looked at.
    (host.places.boot / "loader").rename(host.places.boot / "elsewhere")
    assert run("boot", "--healthy") == {"plan": []}
    (host.places.run / "healthy").unlink()
    with pytest.raises(AniccaError, match="no boot entries"):
        run("boot", "--healthy")


def test_boot_wants_one_thing(run: Callable[..., Any]) -> None:
    for words in ([], ["1", "--healthy"]):
        with pytest.raises(UsageError):
            run("boot", *words)
    with pytest.raises(UsageError, match="no generation"):
        run("boot", "/etc")


def test_gc_drops_what_the_dry_run_said_with_its_boot_files(host: SmallHost, run: Callable[..., Any]) -> None:
    for number in (2, 3, 4):
        host.add(SystemText(kernel=f"kernel {number}", initrd=f"initrd {number}"))
    before = state(host)
    said = run("gc", "--keep", "1", "--dry-run")
    assert state(host) == before
    done = run("gc", "--keep", "1")
    assert done["plan"] == said["plan"]
    assert set(said["objects"]) <= set(done["objects"])
    # The running and booted one stays beside the newest.
    assert [one["number"] for one in run("generations")] == [1, 4]
    esp = read_esp(host.places.boot)
    assert {name.generation for name in esp.entries} == {1, 4}
    assert len(esp.files) == 4
    for generation in look(host.places).generations:
        assert host.places.store.is_valid(generation.system)


def test_gc_by_age_and_number(host: SmallHost, run: Callable[..., Any]) -> None:
    for number in (2, 3):
        host.add(SystemText(initrd=f"initrd {number}"))
    assert run("gc", "--older-than", "1d", "--dry-run")["plan"] == []
    with pytest.raises(RefusedError, match="generation 3 stays"):
        run("gc", "3")
    with pytest.raises(click.BadParameter):
        run("gc", "--older-than", "soon")
    run("gc", "2")
    assert [one["number"] for one in run("generations")] == [1, 3]


def test_gc_without_rules_only_collects(host: SmallHost, run: Callable[..., Any]) -> None:
    host.add(NEW)
    lost = host.workshop.system(SystemText(initrd="initrd 9"))
    assert str(lost) in run("gc")["objects"]
    assert [one["number"] for one in run("generations")] == [1, 2]


def test_status(host: SmallHost, run: Callable[..., Any]) -> None:
    host.add(SystemText(initrd="initrd 2", persist="d 0755 0 0 /nonexistent\n"))
    (host.places.run / "guard.json").write_text('{"outcome": "made-afresh", "reasons": ["bad"], "root": "f2fs"}')
    (host.places.run / "system").unlink()
    two = look(host.places).get(2)
    assert two is not None
    (host.places.run / "system").symlink_to(str(two.system))
    found = run("status")
    assert (found["running_generation"], found["booted_generation"], found["next_generation"]) == (2, 1, 2)
    assert found["reboot"] == ["initrd: content changed"]
    assert found["persist"] == [{"path": "/nonexistent", "is_kept": False}]
    text = run("status", text=True)
    assert "THE ROOT WAS MADE AFRESH (f2fs): bad" in text
    assert "DOES NOT PERSIST although declared: /nonexistent" in text


def test_a_full_esp_is_refused_before_anything_is_touched(
    host: SmallHost, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = host.workshop.system(NEW)
    before = state(host)
    monkeypatch.setattr(
        "anicca.system.switching.esp.shutil.disk_usage", lambda _path: type("Usage", (), {"free": 4096})()
    )
    with pytest.raises(RefusedError, match="nothing was changed"):
        run("boot", str(system))
    assert state(host) == before
