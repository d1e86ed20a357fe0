"""The main job: the example host, five boots, everything asked of it. What `./script/demo` shows, asserted."""

import json
import os
from pathlib import Path

import pytest

from anicca import process
from anicca.declare.load import evaluate

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples/sundryvm/host.py"

STORE = Path(os.environ.get("ANICCA_TEST_CACHE") or Path.home() / ".cache/anicca-tests") / "store"
"""That of the other tests: what they have built is not built again."""


def test_one_declaration_becomes_a_host_that_forgets() -> None:
    done = process.run(
        [ROOT / "script" / "anicca", "--store", STORE, "--json", "demo"], check=False, timeout_seconds=1700
    )
    progress = done.stderr.decode(errors="replace")
    assert done.stdout, progress[-4000:]
    rows = json.loads(done.stdout)
    assert [row for row in rows if not row["holds"]] == [], progress[-4000:]
    boots = list(dict.fromkeys(row["boot"] for row in rows))
    assert boots == [
        "first boot",
        "clean reboot",
        "power cut while writing",
        "mounted once without the option",
        "superblocks overwritten",
    ]
    digests = {row["seen"] for row in rows if "digest" in row["promised"]}
    assert len(digests) == 1
    kept = [row for row in rows if row["promised"].endswith("has kept what was put there")]
    assert len(kept) == (len(boots) - 1) * len(evaluate(EXAMPLE).persist)
    assert done.status == 0
