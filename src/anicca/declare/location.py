"""Where a thing was declared: the nearest line that a person wrote, found from the running frames."""

from __future__ import annotations

import os
import sys

from anicca.errors import Place

_PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 (a string prefix, compared at every declaration)
_BASE = _PACKAGE + "base.py"

NOWHERE = Place("(not in a file)", 0)


def here() -> Place:
    """The line that is being declared: the innermost frame outside this package.

    A part made by `anicca.declare.services` so points at the line that asked for it. What `base.py` says points
    there: nobody else asked for it. Costs about a microsecond.
    """
    frame = sys._getframe(1)  # noqa: SLF001 (the documented way, and the only cheap one)
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        if name == _BASE:
            return Place("anicca/declare/base.py", frame.f_lineno)
        # A dataclass's generated `__init__` is compiled from a string.
        if not name.startswith(_PACKAGE) and not (name == "<string>" and code.co_name == "__init__"):
            return Place(name, frame.f_lineno)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return NOWHERE
