"""The library as others import it: light, alone, and as its documentation shows."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

import anicca
import anicca.store
from anicca import process
from anicca.events import Advanced, Event, Finished, Notice, Started
from anicca.store import LocalStore
from anicca.store.export import export, import_

pytestmark = pytest.mark.integration

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "store-library.md"
PAGE = Path(__file__).parents[3] / "docs" / "internals" / "store.md"
HEAVY = ("sqlite3", "subprocess", "httpx", "cryptography", "zstandard", "lzma", "ctypes", "asyncio", "click", "rich")


def loaded(statement: str) -> set[str]:
    program = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    return set(process.run([sys.executable, "-c", program]).text.split())


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import anicca.store", set()),
        ("from anicca.store import StorePath, Hash, instantiate, Derivation", set()),
        ("from anicca.store import LocalStore, source_path_of", {"lzma"}),
        ("from anicca.store.db import Database", {"sqlite3"}),
    ],
)
def test_importing_one_thing_drags_nothing(statement: str, allowed: set[str]) -> None:
    # lzma comes with shutil, which anicca.fs needs.
    modules = loaded(statement)
    assert modules & set(HEAVY) <= allowed
    others = {m for m in modules if m.startswith("anicca.")} - {"anicca.errors", "anicca.events", "anicca.fs"}
    assert all(m.startswith("anicca.store") for m in others)


def test_no_name_is_a_module_s_too() -> None:
    # The import system would put the module in the name's place as soon as somebody imports it.
    modules = {file.stem for file in Path(anicca.store.__file__).parent.glob("*.py")}
    assert modules & set(anicca.store.__all__) == set()


def test_every_name_can_be_had() -> None:
    statement = "import anicca.store\nfor name in anicca.store.__all__: getattr(anicca.store, name)"
    assert "anicca.store.local" in loaded(statement)


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    (tmp_path / "hostname").write_text("world\n")
    program = (
        example[1].replace("/tmp/mine", str(tmp_path / "mine")).replace("/etc/hostname", str(tmp_path / "hostname"))
    )
    printed = process.run([sys.executable, "-c", program]).text
    assert printed.startswith("hello world\n")


EXAMPLES = """
import doctest, sys, anicca
print(anicca.__file__)
done = doctest.testfile(sys.argv[1], module_relative=False, optionflags=doctest.ELLIPSIS)
print(done.attempted, done.failed)
"""


@pytest.mark.skipif(shutil.which("bwrap") is None or shutil.which("busybox") is None, reason="needs bwrap and busybox")
def test_the_guide_s_examples_run_with_nothing_but_the_store_and_the_floor(tmp_path: Path) -> None:
    here = Path(anicca.__file__).parent
    alone = tmp_path / "alone" / "anicca"
    shutil.copytree(here / "store", alone / "store")
    for name in ("__init__.py", "errors.py", "events.py", "fs.py", "process.py"):
        shutil.copy(here / name, alone)
    (tmp_path / "empty").mkdir()
    printed = process.run(
        [sys.executable, "-c", EXAMPLES, GUIDE],
        cwd=tmp_path / "empty",
        env={**os.environ, "PYTHONPATH": str(alone.parent)},
        timeout_seconds=120,
    ).text
    assert printed.splitlines()[0] == str(alone / "__init__.py")
    attempted, failed = printed.splitlines()[-1].split()
    assert int(attempted) > 50
    assert failed == "0", printed


def test_its_types_are_for_those_who_import_it() -> None:
    assert (Path(anicca.__file__).parent / "py.typed").is_file()


def test_long_work_is_told_while_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3 << 20))
    said: list[Event] = []
    with LocalStore.open(tmp_path / "root", durable=False) as store:
        path = store.add_path("big", tmp_path / "big", report=said.append)
        content = list(export(store, [path], report=said.append))
    with LocalStore.open(tmp_path / "other", durable=False) as other:
        import_(other, iter(content), report=said.append)
    for task in ("add big", "export", "import"):
        of_it = [e for e in said if not isinstance(e, Notice) and e.task == task]
        assert isinstance(of_it[0], Started)
        assert isinstance(of_it[-1], Finished)
        done = [e.done for e in of_it if isinstance(e, Advanced)]
        assert done == sorted(done)
        assert done
