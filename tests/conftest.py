"""What holds for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterable

# No test is timed: a busy machine is no fault of the code.
settings.register_profile("anicca", deadline=None)
settings.load_profile("anicca")


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Where tests run side by side, those of a folder that need real tools stay together: they share what is built."""
    for item in items:
        if item.get_closest_marker("integration") is not None:
            item.add_marker(pytest.mark.xdist_group(item.path.parent.name))
