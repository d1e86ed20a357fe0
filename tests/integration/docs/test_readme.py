"""The README says nothing that is not so: its example is the file, its commands and links are there."""

import re
from pathlib import Path

import pytest

from anicca.cli.app import COMMANDS
from anicca.declare.load import evaluate
from anicca.system.locking import require_lock

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()


def test_the_example_is_the_file() -> None:
    assert f"```python\n{(ROOT / 'examples/small/host.py').read_text()}```" in README


def test_its_commands_exist() -> None:
    named = re.findall(r"\./script/anicca (?:--\S+ )*([a-z-]+)", README)
    assert named
    assert set(named) <= set(COMMANDS)


def test_its_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("host", sorted((ROOT / "examples").glob("*/host.py")), ids=lambda host: host.parent.name)
def test_the_locks_of_the_examples_are_theirs(host: Path) -> None:
    assert require_lock(evaluate(host), host).packages
