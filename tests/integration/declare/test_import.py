from __future__ import annotations

import sys

from anicca.process import run


def test_a_declaration_imports_little() -> None:
    program = "import anicca.declare, anicca.declare.services, sys; print(*sys.modules)"
    loaded = {*run([sys.executable, "-c", program]).text.split()}
    assert "anicca.declare.host" in loaded
    heavy = {"anicca.declare.combine", "anicca.declare.load", "anicca.process", "click", "difflib", "json", "hashlib"}
    assert not loaded & heavy
