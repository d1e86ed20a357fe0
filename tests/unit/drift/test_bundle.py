"""What is sent to other hosts needs nothing that they may not have."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from anicca.drift import remote
from anicca.drift.remote import MODULES

FOLDER = Path(remote.__file__).parent


def imported(tree: ast.Module) -> list[str]:
    """The modules that are imported when the code runs; what only type checkers see is left out."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped.update(ast.walk(node))
    names: list[str] = []
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "anicca.drift":
            names += [f"anicca.drift.{one.name}" for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


@pytest.mark.parametrize("name", MODULES)
def test_a_module_uses_the_standard_library_and_those_before_it(name: str) -> None:
    earlier = {f"anicca.drift.{one}" for one in MODULES[: MODULES.index(name)]}
    for needed in imported(ast.parse((FOLDER / f"{name}.py").read_text())):
        assert needed in earlier or needed.partition(".")[0] in sys.stdlib_module_names, needed


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_written_for_an_old_python(name: str) -> None:
    ast.parse((FOLDER / f"{name}.py").read_text(), feature_version=(3, 9))
