"""Exact lines inside a call that spans many: where in `Part(…)` a keyword or an element stands. Pure."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import TYPE_CHECKING

from anicca.errors import Place

if TYPE_CHECKING:
    from collections.abc import Mapping


class Source:
    """The calls and imports of one file. One that Python cannot read has none."""

    def __init__(self, text: str) -> None:
        self._values: defaultdict[tuple[int, str], list[ast.expr]] = defaultdict(list)
        self.imports: list[tuple[str, int]] = []
        """Each absolutely imported module's name up to the first dot, and the line."""
        try:
            tree = ast.parse(text)
        except SyntaxError:
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg is not None:
                        self._values[node.lineno, keyword.arg].append(keyword.value)
            elif isinstance(node, ast.Import):
                self.imports.extend((alias.name.partition(".")[0], node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                self.imports.append((node.module.partition(".")[0], node.lineno))

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
