"""The guide's examples: each file is written, each command run, each line of its output looked for."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca.cli.app import main

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = Path(__file__).parents[3] / "docs/guide/declaring.md"


def blocks() -> Iterator[tuple[str, str, str]]:
    """Language, title and text of each example."""
    fence = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
    for match in fence.finditer(GUIDE.read_text()):
        yield match[1], match[2] or "", match[3]


def run(capfd: pytest.CaptureFixture[str], command: str) -> list[str]:
    program, *arguments = shlex.split(command)
    assert program == "anicca"
    with contextlib.suppress(SystemExit):
        main(arguments)
    out, err = capfd.readouterr()
    return [" ".join(line.split()) for line in (out + err).splitlines()]


def test_the_guides_examples_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = 0
    for language, title, text in blocks():
        if language == "python":
            (tmp_path / title).write_text(text)
            continue
        assert language == "console"
        command, *expected = text.splitlines()
        found = run(capfd, command.removeprefix("$ "))
        commands += 1
        at = 0
        skipping = False
        for line in (" ".join(line.split()) for line in expected):
            if line == "…":
                skipping = True
                continue
            # After … any number of lines may pass; else it is the very next.
            here = found.index(line, at) if skipping and line in found[at:] else at
            assert found[here : here + 1] == [line], f"{command}: {line!r} is not in what it says"
            at, skipping = here + 1, False
        assert skipping or at == len(found), f"{command}: says more: {found[at:]}"
    assert commands >= 6


def test_the_guides_hosts_are_typed(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    files = []
    for language, title, text in blocks():
        if language == "python":
            (tmp_path / title).write_text(text)
            files.append(str(tmp_path / title))
    arguments = ["--strict", "--python-version", "3.11", f"--cache-dir={tmp_path / 'cache'}", *files]
    out, err, status = api.run(arguments)
    assert (status, err) == (0, ""), out
