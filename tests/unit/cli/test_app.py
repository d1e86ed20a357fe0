from pathlib import Path
from typing import Any

import pytest

from anicca.cli import app
from anicca.errors import AniccaError, DeclarationError, Fault, Place, RefusedError


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        app.main(arguments)
    code = left.value.code
    return code if isinstance(code, int) else 0


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(**_keywords: Any) -> None:
        raise error

    monkeypatch.setattr(app.app, "main", run)


def test_version_is_told_without_importing_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["anicca", "--version"])
    app.main()
    assert capsys.readouterr().out.startswith("anicca 0.")


@pytest.mark.parametrize("name", sorted(app.COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    app.main([name, "--help"])
    assert "Usage: anicca" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("nonsense",), ("build",), ("build", "/nonexistent/host.py"), ("image", "x")])
def test_a_wrong_command_line_is_status_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(*arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "Usage" in seen.err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AniccaError("no"), 1),
        (DeclarationError(Fault(message="no")), 3),
        (RefusedError("no"), 5),
        (OSError(28, "No space left on device"), 1),
        (PermissionError(13, "Permission denied", "/somewhere"), 1),
        (FileNotFoundError(2, "No such file or directory", "/somewhere"), 70),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError(), 70),
    ],
)
def test_errors_become_statuses(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, error)
    assert leave("build") == status
    assert capsys.readouterr().out == ""


def test_an_error_says_what_where_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = Fault(message="two names", places=(Place("host.py", 3), Place("web.py", 7)), hint="drop one")
    fail_with(monkeypatch, DeclarationError(fault))
    leave("build")
    assert capsys.readouterr().err == "error: host.py:3, web.py:7: two names\n  hint: drop one\n"


def test_a_bug_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(monkeypatch, ZeroDivisionError())
    leave("build")
    assert "this is a bug in anicca" in capsys.readouterr().err


def test_what_the_machine_refuses_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, PermissionError(13, "Permission denied", "/somewhere"))
    leave("build")
    seen = capsys.readouterr().err
    assert seen.startswith("error: /somewhere: Permission denied\n  hint: ")
    assert "bug" not in seen


def test_a_link_to_the_build_before_is_taken_and_a_directory_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = tmp_path / "host.py"
    host.write_text("host = 1\n")
    (tmp_path / "built").mkdir()
    (tmp_path / "result").symlink_to(tmp_path / "built")
    assert leave("build", "-o", str(tmp_path / "result"), str(host)) == 3
    assert leave("build", "-o", str(tmp_path / "built"), str(host)) == 2
    assert "exists and is no link" in capsys.readouterr().err
