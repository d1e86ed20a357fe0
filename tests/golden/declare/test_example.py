"""The example host's spec, to the byte. Rewritten with ANICCA_REWRITE=1, to be read as a diff."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from anicca.declare.load import evaluate
from anicca.declare.spec import to_json

HOST = Path(__file__).parents[3] / "examples/sundryvm/host.py"
GOLDEN = Path(__file__).with_name("sundryvm.json")


def test_the_examples_spec_is_these_bytes() -> None:
    spec = evaluate(HOST)
    assert spec.warnings == ()
    # Laid out for reading: the canonical form is one line.
    text = json.dumps(json.loads(to_json(spec)), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("ANICCA_REWRITE"):
        GOLDEN.write_text(text)
        pytest.skip("rewritten")
    assert text == GOLDEN.read_text()
    assert json.dumps(json.loads(GOLDEN.read_text()), sort_keys=True, separators=(",", ":"), ensure_ascii=False) == (
        to_json(spec).decode().rstrip("\n")
    )
