"""Exact lines inside a call that spans many: where in `Part(…)` a keyword or an element stands. Pure."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import TYPE_CHECKING

from anicca.errors import Place

if TYPE_CHECKING:
    from collections.abc import Mapping


class Source:
    """The calls of one file, by the line on which each begins."""

    def __init__(self, text: str) -> None:
        self._values: defaultdict[tuple[int, str], list[ast.expr]] = defaultdict(list)
        try:
            tree = ast.parse(text)
        except SyntaxError:
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg is not None:
                        self._values[node.lineno, keyword.arg].append(keyword.value)

    def line(self, call_line: int, keyword: str, element: str | None = None) -> int:
        """The line of a call's keyword, or of that text in its list or mapping; the call's own where unsure."""
        values = self._values.get((call_line, keyword), [])
        # Two calls on one line may both have the keyword: then nobody knows.
        if len(values) != 1:
            return call_line
        (value,) = values
        texts = [node for node in ast.walk(value) if isinstance(node, ast.Constant) and node.value == element]
        return texts[0].lineno if len(texts) == 1 else value.lineno


def locate(sources: Mapping[str, Source], place: Place, keyword: str, element: str | None = None) -> Place:
    """The exact place of what the call at `place` says under a keyword."""
    source = sources.get(place.file)
    return place if source is None else Place(place.file, source.line(place.line, keyword, element))
