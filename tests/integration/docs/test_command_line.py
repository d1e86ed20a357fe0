"""The page on the command line says what the code has: its commands, statuses and variables; and completion works."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from anicca import errors, process
from anicca.cli import app, drift

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/guide/command-line.md"
HEAD = "| command | does |\n|---|---|\n"


def rows(heading: str) -> dict[str, str]:
    """The first two columns of the table below a heading."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `?([^`|]+?)`? \| (.*) \|$", section, re.MULTILINE)[1:])


def test_the_commands_are_these() -> None:
    table = "".join(f"| `{name}` | {does} |\n" for name, does in sorted(app.COMMANDS.items()))
    text = PAGE.read_text()
    if os.environ.get("ANICCA_REWRITE"):
        PAGE.write_text(re.sub(re.escape(HEAD) + r"(?:\|.*\n)*", lambda _: HEAD + table, text))
        pytest.skip("rewritten")
    assert HEAD + table + "\n" in text, "ANICCA_REWRITE=1 writes the table anew"


def test_the_statuses_are_these() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.AniccaError)]
    statuses = {0, *(kind.exit_status for kind in kinds), drift.DRIFT, app.BUG, app.INTERRUPTED}
    assert set(rows("Exit status")) == set(map(str, statuses))


def test_the_variables_are_these() -> None:
    files = [*(ROOT / "src/anicca").rglob("*.py"), *(ROOT / "script").iterdir()]
    named = {name for file in files for name in re.findall(r"(?<!_)ANICCA_[A-Z_]*[A-Z]", file.read_text())}
    assert set(rows("Environment")) == named


def test_bash_completes_through_a_link_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "anicca").symlink_to(ROOT / "script/anicca")
    line = next(line for line in PAGE.read_text().splitlines() if "bash_source" in line)
    script = f"""
        {line}
        for words in "anicca bui" "anicca build --dry"; do
            COMPREPLY=() COMP_WORDS=($words) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _anicca_completion anicca
            echo "${{COMPREPLY[@]}}"
        done
    """
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = process.run(["bash", "-c", script], env={"PATH": path, "HOME": str(tmp_path)}, timeout_seconds=60)
    assert done.text.splitlines() == ["build", "--dry-run"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_take_their_scripts(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    made = process.run(
        [ROOT / "script/anicca"], env={"PATH": os.environ["PATH"], "_ANICCA_COMPLETE": f"{shell}_source"}
    )
    (tmp_path / "script").write_bytes(made.stdout)
    assert process.run([shell, "-n", tmp_path / "script"]).stderr == b""
