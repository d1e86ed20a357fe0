"""What holds for all tests."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import MutableSequence

# No test is timed: a busy machine is no fault of the code.
settings.register_profile("anicca", deadline=None)
settings.load_profile("anicca")

DEMO = "tests/vm/demo"
LONGEST = ("tests/integration/system/", DEMO)


def pytest_collection_modifyitems(items: MutableSequence[pytest.Item]) -> None:
    """What takes longest comes first, so that nobody waits for it alone in the end."""
    items[:] = sorted(items, key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run side by side, those of a folder stay together: they share what is built.

    Of virtual machines there are two at once, the demo's and another: each keeps about one processor busy.
    """
    # Imported where it is there; it has no types.
    scheduling = import_module("xdist.scheduler").LoadScopeScheduling(config, log)
    scheduling._split_scope = _together
    return scheduling


def _together(nodeid: str) -> str:
    folder = nodeid.partition("::")[0].rpartition("/")[0]
    return "tests/vm" if folder.startswith("tests/vm/") and folder != DEMO else folder
