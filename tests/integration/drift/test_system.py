"""The root of an anicca host against what its system object says: laid out as at boot, then broken."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.drift.baseline import open_baseline
from anicca.drift.examine import compare_baselines, examine, save_baseline
from anicca.drift.remote import Host
from anicca.drift.why import why

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

SYSTEM = "nix/store/0000-system-small"
PACKAGE = "nix/store/1111-pam-1.0"
MOUNT_POINTS = ("boot", "dev", "etc", "nix", "proc", "run", "sys", "tmp", "usr")


def entry(path: str, kind: str, mode: str, user: str = "root", **more: object) -> str:
    record = {"path": path, "kind": kind, "mode": mode, "user": user, "group": user, "mtime": 1, **more}
    return json.dumps(record) + "\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root can give files their owners")
    root = tmp_path / "host"
    root.mkdir(mode=0o755)
    for name in MOUNT_POINTS:
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    for name in ("proc", "sys"):
        (root / name).chmod(0o555)
    system = root / SYSTEM
    (system / "layout").mkdir(parents=True)
    (root / PACKAGE / "var/lib/pam").mkdir(parents=True)
    (root / PACKAGE / "var/lib/pam/seen").write_text("seen\n")
    (system / "manifest.jsonl").write_text(
        entry("/usr/bin/env", "file", "0755", size=0, source=f"/{PACKAGE}/usr/bin/env")
        + entry("/bin", "symlink", "0777", target="usr/bin")
        + entry("/var", "directory", "0755")
        + entry("/var/lib", "directory", "0755")
        + entry("/var/lib/pam", "directory", "0750", "ann")
        + entry("/var/lib/pam/seen", "file", "0600", "ann", size=5, source=f"/{PACKAGE}/var/lib/pam/seen")
        + entry("/var/lib/pam/empty", "file", "0644", size=0)
    )
    declared = {"/srv/a": {"type": "file", "content": "hello\n", "mode": "0640", "owner": "ann", "group": "root"}}
    (system / "spec.json").write_text(json.dumps({"name": "small", "files": declared, "units": {}}))
    (system / "packages.json").write_text(
        json.dumps([{"name": "coreutils", "version": "9", "contents": f"/{PACKAGE}"}])
    )
    (system / "layout/persist").write_text("d 0750 7 7 /var/lib/notes\n")
    (root / "run/anicca").mkdir()
    (root / "run/anicca/system").symlink_to(f"/{SYSTEM}")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nann:x:7:7::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nann:x:7:\n")
    (root / "bin").symlink_to("usr/bin")
    for name in ("var", "var/lib", "var/lib/pam", "var/lib/notes", "srv"):
        (root / name).mkdir()
    (root / "var/lib/pam/seen").write_text("seen\n")
    (root / "var/lib/pam/empty").touch()
    (root / "srv/a").write_text("hello\n")
    for name, mode, owner, group in (
        ("var/lib/pam", 0o750, 7, 7),
        ("var/lib/pam/seen", 0o600, 7, 7),
        ("var/lib/notes", 0o750, 7, 7),
        ("srv/a", 0o640, 7, 0),
    ):
        os.chown(root / name, owner, group)
        (root / name).chmod(mode)
    return root


def found(host: Path) -> set[tuple[bytes, str]]:
    # What is in the mount points is mounted there on a real host.
    inside = tuple(b"/%s/" % name.encode() for name in MOUNT_POINTS)
    return {(one.drift.path, one.drift.kind) for one in examine(host).drift if not one.drift.path.startswith(inside)}


def test_a_root_as_it_was_laid_out_has_no_drift(host: Path) -> None:
    assert found(host) == set()


def test_what_was_done_to_it_is_found_and_what_is_kept_is_left_alone(host: Path) -> None:
    (host / "var/lib/notes/mine").write_text("kept")
    (host / "var/lib/pam/seen").write_text("SEEN\n")
    (host / "var/lib/pam/empty").unlink()
    (host / "srv/a").chmod(0o666)
    (host / "srv").chmod(0o777)
    (host / "bin").unlink()
    (host / "bin").symlink_to("/tmp")
    (host / "root").mkdir()
    os.chown(host / "var/lib/notes", 0, 7)
    assert found(host) == {
        (b"/var/lib/pam/seen", "content"),
        (b"/var/lib/pam/empty", "removed"),
        (b"/srv/a", "mode"),
        (b"/srv", "mode"),
        (b"/bin", "target"),
        (b"/root", "added"),
        (b"/var/lib/notes", "owner"),
    }


@pytest.mark.parametrize(
    ("path", "origin", "gone"),
    [
        ("/srv/a", "declared", False),
        ("/var/lib/pam/seen", "seed", False),
        ("/var/lib/notes/mine", "persisted", False),
        ("/var/lib/new", "nobody", True),
        ("/usr/bin/env", "package", False),
    ],
)
def test_where_a_path_comes_from(host: Path, path: str, origin: str, *, gone: bool) -> None:
    (host / "var/lib/notes/mine").touch()
    (host / "var/lib/new").touch()
    (host / "usr/bin").mkdir()
    (host / "usr/bin/env").touch()
    answer = why(os.fsencode(host), path.encode())
    assert (answer.origin, answer.gone_at_boot) == (origin, gone)


def test_why_names_the_line_and_the_user(host: Path) -> None:
    manifests = host / "nix/var/anicca/generations"
    manifests.mkdir(parents=True)
    origins = {"files[/srv/a]": ["host.py:9"], "persist[/var/lib/notes]": [{"file": "web.py", "line": 3}]}
    for number, system in ((1, "/nix/store/9999-other"), (2, f"/{SYSTEM}")):
        record = {"number": number, "system": system, "origins": origins if number == 2 else {"files[/srv/a]": ["x:1"]}}
        (manifests / f"{number}.json").write_text(json.dumps(record))
    (host / "var/lib/notes/mine").touch()
    (host / "var/lib/new").touch()
    os.chown(host / "var/lib/new", 7, 7)
    top = os.fsencode(host)
    assert why(top, b"/srv/a").places == ("host.py:9",)
    assert why(top, b"/var/lib/notes/mine").places == ("web.py:3",)
    answer = why(top, b"/var/lib/new")
    assert (answer.places, answer.by) == ((), "user ann")


def test_what_the_declaration_says_of_undeclared_paths_counts(host: Path) -> None:
    rules = [
        {"path": "/srv/spool/**", "kind": "expected", "why": "jobs"},
        {"path": "/srv/www/**/*.php", "kind": "suspicious", "why": "none here"},
        {"path": "/srv/www/**", "kind": "cache", "why": ""},
        {"path": "/srv/www/secret", "kind": "secret", "why": ""},
    ]
    spec = json.loads((host / SYSTEM / "spec.json").read_text())
    spec["files"]["/etc/anicca/rules.json"] = {
        "type": "file",
        "content": json.dumps({"rules": rules}),
        "mode": "0644",
        "owner": "root",
        "group": "root",
    }
    (host / SYSTEM / "spec.json").write_text(json.dumps(spec))
    for path in ("srv/spool/job", "srv/www/a/evil.php", "srv/www/page", "srv/www/secret"):
        (host / path).parent.mkdir(parents=True, exist_ok=True)
        (host / path).touch()
    (host / "srv/spool/root").touch(mode=0o4755)
    (host / "srv/spool/root").chmod(0o4755)
    findings = examine(host)
    classes = {one.drift.path: one.judgement.name for one in findings.drift if one.drift.path.startswith(b"/srv/")}
    assert classes == {
        b"/srv/spool": "user data",
        b"/srv/spool/root": "suspicious",
        b"/srv/www": "user data",
        b"/srv/www/a": "cache",
        b"/srv/www/a/evil.php": "suspicious",
        b"/srv/www/page": "cache",
        b"/srv/www/secret": "cache",
    }
    assert (b"/srv/spool/job", "jobs") in {(one.drift.path, one.judgement.why) for one in findings.explained}


def test_two_machines_of_one_system_have_one_state_or_the_list_of_what_differs(host: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    process.run(["cp", "-a", host, other])
    # What is a machine's own: what it keeps, what it runs, what every host makes.
    (host / "var/lib/notes/mine").write_text("kept")
    (other / "run/pid").write_text("1")
    (other / "var/lib/systemd/timers").mkdir(parents=True)
    (other / "etc/hostname").write_text("two\n")

    def state(root: Path, name: str) -> str:
        return save_baseline(root, tmp_path / name, system_only=True).state

    same = state(host, "one")
    here = Host(reach=(), name="here", python=sys.executable)
    assert save_baseline(host, tmp_path / "there", host=here, system_only=True).state == same
    (other / "var/lib/systemd/timers").rmdir()
    (other / "var/lib/systemd").rmdir()
    assert state(other, "two") == same
    (other / "srv/b").write_text("drift")
    assert state(other, "two") != same
    found = compare_baselines(open_baseline(tmp_path / "one"), open_baseline(tmp_path / "two"))
    assert [(one.drift.path, one.drift.kind) for one in found.drift] == [(b"/srv/b", "added")]
    (other / "nix/store/2222-system-small").mkdir()
    for part in (other / SYSTEM).iterdir():
        (other / "nix/store/2222-system-small" / part.name).symlink_to(f"/{SYSTEM}/{part.name}")
    (other / "run/anicca/system").unlink()
    (other / "run/anicca/system").symlink_to("/nix/store/2222-system-small")
    state(other, "two")
    found = compare_baselines(open_baseline(tmp_path / "one"), open_baseline(tmp_path / "two"))
    assert any(note.startswith("the baseline is of another system: /nix/store/0000") for note in found.notes)
