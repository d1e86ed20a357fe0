"""This program as a host has it: compiled, and behind a link, where it must find itself when it builds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import anicca
from anicca import process
from anicca.store.build import build
from anicca.system.build import realise
from anicca.system.plan import plan_tool

if TYPE_CHECKING:
    from tests.integration.system.conftest import BuiltHost

pytestmark = pytest.mark.integration
UNCHECKED_HASH = 1
"""The flags of bytecode that Python takes without a look at its source (PEP 552)."""


def test_the_program_is_found_behind_its_link(tmp_path: Path) -> None:
    package = Path(anicca.__file__).resolve().parent
    (tmp_path / "anicca").symlink_to(package)
    code = "import anicca; from anicca.system.plan import PACKAGE; print(anicca.__file__, PACKAGE)"
    said = process.run([sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}).text.split()
    assert said == [str(tmp_path / "anicca/__init__.py"), str(package)]


def test_each_module_is_compiled_and_the_same_each_time(built_host: BuiltHost) -> None:
    environment, store = built_host.plan.environment, built_host.store
    step = plan_tool(environment)
    realise(store, [step], environment, built_host.fetcher)
    build(store, [step], check=True)
    package = store.physical(step.out)
    compiled = [path.read_bytes() for path in package.rglob("*.pyc")]
    assert len(compiled) == len([*package.rglob("*.py")])
    assert {int.from_bytes(content[4:8], "little") for content in compiled} == {UNCHECKED_HASH}
