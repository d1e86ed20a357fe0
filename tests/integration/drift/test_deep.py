"""drift --deep: a store object, /usr or /etc that is not what the system says is found, whatever it is."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.system.switching.small import write_tree

from anicca import process
from anicca.cli.render import Bars
from anicca.drift.deep import examine_deep
from anicca.drift.examine import examine
from anicca.drift.pile import Pile
from anicca.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

USR = {
    "/usr/bin/env": "#!env\n",
    "/usr/bin/\u00e9": "its name has escapes in JSON",
    "/usr/lib.d": "sorts before what is in lib, is met after it",
    "/usr/lib/a.so": "lib" * 1000,
    "/usr/bin/link": "-> env",
}
ETC = {"/passwd": "root:x:0:0::/root:/bin/sh\n", "/group": "root:x:0:\n", "/sub/x": "x\n", "/alias": "-> sub/x"}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host that runs a system, its /usr and /etc laid out as plain directories."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files their owners")
    top = tmp_path / "host"
    top.mkdir()
    with LocalStore.open(top) as store:
        write_tree(tmp_path / "package", USR)
        package = store.add_path("package", tmp_path / "package")
        write_tree(tmp_path / "etc", ETC)
        system = tmp_path / "system"
        (system / "layout").mkdir(parents=True)
        (system / "layout/persist").write_text("")
        (system / "spec.json").write_text(json.dumps({"name": "h", "files": {}, "units": {}}))
        process.run(["mkfs.erofs", "--quiet", "-T1", "--all-root", system / "etc.erofs", tmp_path / "etc"])
        lines = [("/usr", "directory"), ("/usr/bin", "directory"), ("/usr/lib", "directory")]
        records: list[dict[str, Any]] = [
            *({"path": path, "kind": kind, "mode": "0755", "user": "root", "group": "root"} for path, kind in lines),
            {"path": "/usr/lib/empty", "kind": "file", "mode": "0644", "user": "root", "group": "root", "size": 0},
        ]
        for path, content in USR.items():
            record = {"path": path, "mode": "0755", "user": "root", "group": "root"}
            if content.startswith("-> "):
                records.append({**record, "kind": "symlink", "target": content[3:]})
            else:
                records.append({**record, "kind": "file", "source": f"{package}{path}", "size": len(content)})
        records.sort(key=lambda one: os.fsencode(one["path"]))
        text = "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in records)
        (system / "manifest.jsonl").write_text(text)
        found = store.add_path("system-h", system, references=[package])
    for name in ("boot", "dev", "proc", "sys", "tmp", "run/anicca"):
        (top / name).mkdir(parents=True)
    for name in ("proc", "sys"):
        (top / name).chmod(0o555)
    (top / "tmp").chmod(0o1777)
    (top / "run/anicca/system").symlink_to(str(found))
    process.run(["cp", "-a", tmp_path / "package/usr", top / "usr"])
    process.run(["cp", "-a", tmp_path / "etc", top / "etc"])
    for file in (top / "usr").rglob("*"):
        if not file.is_symlink():
            file.chmod(0o755)
    (top / "usr/lib/empty").touch(mode=0o644)
    (top / "usr").chmod(0o755)
    return top


def found(host: Path) -> set[tuple[str, str]]:
    with LocalStore.open(host) as store:
        findings = examine_deep(host, store, examine(host)._replace(found=Pile()))
    return {(os.fsdecode(one.drift.path), one.drift.kind) for one in findings.drift}


def test_nothing_is_invented(host: Path) -> None:
    assert found(host) == set()


def test_a_changed_object_is_found_and_one_that_is_gone(host: Path) -> None:
    store = host / "nix/store"
    [package] = [path for path in store.iterdir() if path.name.endswith("-package")]
    library = package / "usr/lib/a.so"
    library.chmod(0o644)
    library.write_text("LIB" * 1000)
    # /usr is not as the store has it now either: both are told.
    assert found(host) == {(f"/nix/store/{package.name}", "content"), ("/usr/lib/a.so", "content")}
    process.run(["rm", "-rf", package])
    assert (f"/nix/store/{package.name}", "removed") in found(host)


def test_a_file_is_read_whatever_the_database_says_of_its_object(host: Path) -> None:
    env = host / "usr/bin/env"
    env.write_text("#!evl\n")
    with closing(sqlite3.connect(host / "nix/var/nix/db/db.sqlite", isolation_level=None)) as db:
        db.execute("delete from Refs")
    assert found(host) == {("/usr/bin/env", "content")}


def test_all_that_is_not_as_declared_below_usr_and_etc_is_found(host: Path) -> None:
    before = (host / "usr/bin/env").stat()
    (host / "usr/bin/env").write_text("#!evl\n")
    os.utime(host / "usr/bin/env", ns=(before.st_atime_ns, before.st_mtime_ns))
    (host / "usr/lib/a.so").chmod(0o4755)
    (host / "usr/lib/empty").write_text("x")
    (host / "usr/lib/more").touch()
    (host / "usr/bin/link").unlink()
    (host / "etc/sub/x").write_text("y\n")
    (host / "etc/alias").unlink()
    (host / "etc/alias").symlink_to("passwd")
    os.chown(host / "etc/passwd", 0, 7)
    assert found(host) == {
        ("/usr/bin/env", "content"),
        ("/usr/lib/a.so", "mode"),
        ("/usr/lib/empty", "content"),
        ("/usr/lib/more", "added"),
        ("/usr/bin/link", "removed"),
        ("/etc/sub/x", "content"),
        ("/etc/alias", "target"),
        ("/etc/passwd", "group"),
    }


def test_what_is_mounted_over_a_path_is_found(host: Path) -> None:
    evil = host / "tmp/evil"
    evil.write_text("evil")
    script = f"""
        mount --bind {evil} {host}/usr/bin/env
        exec {sys.executable} -m anicca --json drift --deep --root {host}
    """
    done = process.run(["unshare", "--mount", "sh", "-c", script], check=False)
    kinds = {(one["path"], one["kind"], one["class"]) for one in json.loads(done.stdout)["drift"]}
    assert ("/usr/bin/env", "mount", "suspicious") in kinds
    assert done.status == 4


def test_no_process_is_forked_while_there_is_a_thread(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fork, made = os.fork, []

    def watched() -> int:
        made.append(threading.active_count())
        return fork()

    monkeypatch.setattr(os, "fork", watched)
    bars = Bars(verbose=0)
    try:
        with LocalStore.open(host) as store:
            examine_deep(host, store, examine(host, report=bars.report), report=bars.report, workers=2)
    finally:
        bars.close()
    assert len(made) >= 1 + 2
    assert set(made) == {1}


def test_the_command(host: Path) -> None:
    def drift() -> process.Completed:
        return process.run([sys.executable, "-m", "anicca", "drift", "--deep", "--root", host], check=False)

    assert "2 store objects, /usr and /etc" in drift().text
    (host / "usr/lib/more").touch()
    done = drift()
    assert done.status == 4
    assert "/usr/lib/more" in done.text.partition("suspicious:")[2]
