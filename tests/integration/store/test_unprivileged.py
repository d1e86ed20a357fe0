"""A person without privileges has a store of their own: everything but builds that need real root."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import anicca
from anicca import process

pytestmark = pytest.mark.integration

PROGRAM = """
import os, sys
from pathlib import Path
from anicca.errors import AniccaError
from anicca.store import LocalStore, instantiate
from anicca.store.build import build
from anicca.store.gc import collect
from anicca.store.optimise import optimise

top = Path(sys.argv[1])
tree = top / "tree"
(tree / "sub").mkdir(parents=True)
for name in ("one", "sub/two"):
    (tree / name).write_text("same")
(tree / "sub").chmod(0o555)
assert os.geteuid() != 0
with LocalStore.open(top / "root", durable=False) as store:
    path = store.add_path("tree", tree)
    item = instantiate(name="x", system="x86_64-linux", builder="/bin/sh", sources=[path], env={"tree": str(path)},
                       args=["-c", "busybox cp -r $tree $out; busybox id -u"])
    build(store, [item])
    store.add_root("x", item.out)
    assert optimise(store).files == 3
    assert store.verify(check_contents=True) == []
    item = instantiate(name="p", system="x86_64-linux", builder="/bin/sh", env={"requiredSystemFeatures": "uid-range"})
    try:
        build(store, [item])
    except AniccaError as error:
        print(error, error.faults[0].hint)
with LocalStore.open(top / "root", durable=False) as store:
    print(len(collect(store).paths))
    assert store.verify(check_contents=True) == []
with LocalStore.open(Path("/proc/no-such-root")) as store:
    try:
        store.add_text("x", "x")
    except (AniccaError, OSError) as error:
        print(type(error).__name__)
"""


def test_all_but_root_s_builds(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to give it up")
    top = tmp_path / "top"
    top.mkdir()
    os.chown(top, 65534, 65534)
    for directory in (tmp_path, *tmp_path.parents):
        if "pytest" in str(directory):
            directory.chmod(0o755)
    (tmp_path / "program.py").write_text(PROGRAM)
    done = process.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, tmp_path / "program.py", top],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(anicca.__file__).parents[1])},
        timeout_seconds=60,
    )
    first, second, _third = done.text.splitlines()
    assert "you are not root" in first
    assert "sudo" in first
    assert second == "1"
