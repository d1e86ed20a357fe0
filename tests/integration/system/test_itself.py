"""A host has this program behind a link, and must find the program there, not the link, when it builds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import anicca
from anicca import process

pytestmark = pytest.mark.integration


def test_the_program_is_found_behind_its_link(tmp_path: Path) -> None:
    package = Path(anicca.__file__).resolve().parent
    (tmp_path / "anicca").symlink_to(package)
    code = "import anicca; from anicca.system.plan import PACKAGE; print(anicca.__file__, PACKAGE)"
    said = process.run([sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}).text.split()
    assert said == [str(tmp_path / "anicca/__init__.py"), str(package)]
