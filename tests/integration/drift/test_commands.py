"""The commands as a person and a program use them: output, JSON, exit statuses."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from anicca import process

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def anicca(*words: str | Path) -> process.Completed:
    return process.run([sys.executable, "-m", "anicca", *words], check=False)


def test_drift_of_a_root_that_has_some_and_of_one_that_has_none(root: Path) -> None:
    done = anicca("drift", "--root", root)
    assert (done.status, done.text.startswith("no drift (")) == (0, True), done.text
    (root / "etc/cron.d/evil").write_text("x")
    (root / "srv/file").write_text("x")
    done = anicca("drift", "--root", root)
    assert done.status == 4
    assert done.text.startswith("drift: 2 paths, 1 suspicious")
    assert done.text.index("/etc/cron.d/evil") < done.text.index("/srv/file")
    record = json.loads(anicca("--json", "drift", "--root", root).stdout)
    assert [(one["path"], one["kind"], one["class"]) for one in record["drift"]] == [
        ("/etc/cron.d/evil", "added", "suspicious"),
        ("/srv/file", "added", "user data"),
    ]
    counts = json.loads(anicca("--json", "drift", "--summary", "--root", root).stdout)
    assert counts["drift"] == {"suspicious": 1, "user data": 1}


def test_states_over_time_from_save_to_verdict(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("one")
    for number, names in enumerate((("a", "b"), ("a",), ())):
        for name in ("a", "b"):
            (tree / name).unlink(missing_ok=True)
        for name in names:
            (tree / name).write_text("added")
        assert anicca("baseline", "save", tmp_path / f"{number + 1}.zst", "--root", tree).status == 0
    files = [tmp_path / f"{number}.zst" for number in (3, 1, 2, 3)]
    compared = anicca("baseline", "compare", files[0], files[1])
    assert compared.status == 4
    assert "added     /a" in compared.text
    assert anicca("baseline", "compare", files[0], "--root", tree).status == 0
    assert anicca("classify", *files[:3]).text.startswith("convergent: 1 of 2")
    verdict = json.loads(anicca("--json", "classify", *files).stdout)
    assert (verdict["class"], verdict["counts"], verdict["returned"]) == ("congruent", [2, 1, 0], 2)
    assert anicca("classify", files[0]).status == 2
    assert anicca("classify", "--ignore", "nonsense", *files).status == 2


def test_what_cannot_be_is_refused_with_a_word(tmp_path: Path) -> None:
    none = anicca("drift", "--root", tmp_path)
    assert none.status == 1
    assert b"neither an anicca system nor dpkg's records" in none.stderr
    assert anicca("drift", "--root", tmp_path / "missing").status == 1
    assert anicca("drift", "--all", "--summary").status == 2
    (tmp_path / "b").write_bytes(b"hello")
    assert anicca("baseline", "compare", tmp_path / "b", "--root", tmp_path).status == 5
