"""What a boot forgets: remembered within limits, never a secret, rescued whole; and nobody gains by it."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.drift import lost
from anicca.drift.examine import examine
from anicca.drift.inside import Root
from anicca.drift.lost import Boot, Settings
from anicca.drift.rescue import plan_rescue, rescue
from anicca.drift.system import running_rules
from anicca.errors import AniccaError, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

RULES = {
    "rules": [{"path": "/srv/token", "kind": "secret", "why": ""}, {"path": "/srv/x", "kind": "expected", "why": ""}]
}
REMEMBER = {"size_bytes": 100_000, "file_bytes": 1000, "days": 14}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host that runs a system with nothing on its root but what must be, and remembers."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files their owners")
    top = tmp_path / "host"
    system = top / "nix/store/0001-system"
    (system / "layout").mkdir(parents=True)
    (system / "layout/persist").write_text("")
    (system / "manifest.jsonl").write_text("")
    files = {"/etc/anicca/rules.json": {"type": "file", "content": json.dumps(RULES), "mode": "0644"}}
    (system / "spec.json").write_text(json.dumps({"name": "h", "files": files, "units": {}}))
    for name in ("boot", "dev", "proc", "sys", "usr", "tmp", "etc/anicca", "run/anicca", "nix/persist", "srv"):
        (top / name).mkdir(parents=True)
    for name in ("proc", "sys"):
        (top / name).chmod(0o555)
    (top / "tmp").chmod(0o1777)
    (top / "nix/persist").chmod(0o700)
    (top / "run/anicca/system").symlink_to("/nix/store/0001-system")
    (top / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nann:x:7:7::/:/bin/sh\n")
    (top / "etc/group").write_text("root:x:0:\nann:x:7:\n")
    (top / "etc/anicca/remember.json").write_text(json.dumps(REMEMBER))
    home = top / "home/ann"
    home.mkdir(parents=True)
    (home / "thesis").write_text("years of work\n")
    (home / "thesis").chmod(0o640)
    os.setxattr(home / "thesis", "user.mark", b"x")
    for path in (home, home / "thesis"):
        os.chown(path, 7, 7)
    home.chmod(0o750)
    return top


def write(host: Path, path: str, text: str = "x") -> Path:
    file = host / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def end_boot(host: Path, boot: str = "b") -> Boot:
    root = Root(os.fsencode(host))
    settings = lost.read_settings(root, running_rules(root))
    assert settings is not None
    return lost.remember(host, examine(host, cross_mounts=False), settings, boot=boot)


def forget(host: Path) -> None:
    """What a boot does."""
    process.run(["rm", "-rf", host / "home", host / "srv", host / "var"])
    (host / "srv").mkdir()


def names(host: Path, boot: Boot) -> set[str]:
    return {os.fsdecode(path) for path in lost.read_lost(host, boot).saved}


def test_a_file_comes_back_as_it_was(host: Path) -> None:
    before = (host / "home/ann/thesis").stat()
    boot = end_boot(host)
    forget(host)
    found = lost.read_lost(host, lost.find_boot(lost.read_boots(host), "-1"))
    assert found.boot.name == boot.name == "b"
    assert rescue(host, found, plan_rescue(found, b"/home/ann")) == [b"/home/ann/thesis"]
    after = (host / "home/ann/thesis").stat()
    assert (host / "home/ann/thesis").read_text() == "years of work\n"
    assert os.getxattr(host / "home/ann/thesis", "user.mark") == b"x"
    for what in ("st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_nlink"):
        assert getattr(before, what) == getattr(after, what)
    assert [(host / "home/ann").stat().st_uid, stat.S_IMODE((host / "home/ann").stat().st_mode)] == [7, 0o750]
    assert [one.name for one in (host / "home/ann").iterdir()] == ["thesis"]
    with pytest.raises(RefusedError, match="is there already"):
        rescue(host, found, plan_rescue(found, b"/home/ann/thesis"))
    rescue(host, found, plan_rescue(found, b"/home"), to=b"/srv/back", base=b"/home")
    assert (host / "srv/back/ann/thesis").read_text() == "years of work\n"


def test_only_root_can_look_in(host: Path) -> None:
    boot = end_boot(host)
    place = host / "nix/persist/.anicca/lost" / boot.name
    for path in (host / "nix/persist/.anicca", place.parent, place, place / "files"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for file in (place / "list.json", *(place / "files").iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_secrets_and_what_is_in_memory_are_never_kept(host: Path) -> None:
    secrets = [
        write(host, "home/ann/.ssh/id_ed25519", "s3cret"),
        write(host, "home/ann/odd-name", "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret"),
        write(host, "srv/token", "s3cret"),
        write(host, "srv/.netrc", "s3cret"),
        write(host, "root/.bash_history", "s3cret"),
        write(host, "run/key", "s3cret"),
        write(host, "tmp/a", "s3cret"),
        write(host, "srv/x", "s3cret"),
    ]
    boot = end_boot(host)
    assert names(host, boot) == {"/home/ann/thesis"}
    kept = host / "nix/persist/.anicca/lost"
    assert all(b"s3cret" not in file.read_bytes() for file in kept.rglob("*") if file.is_file())
    assert lost.read_lost(host, boot).not_saved["secret"] == 5
    assert all(file.exists() for file in secrets)


def test_what_is_kept_stays_within_its_limits(host: Path) -> None:
    write(host, "srv/large", "x" * 1001)
    write(host, "srv/small", "x" * 1000)
    write(host, "var/cache/y", "x")
    for number in range(200):
        write(host, f"var/lib/many/{number}", "x" * 900)
    boot = end_boot(host)
    saved = names(host, boot)
    assert {"/srv/small", "/home/ann/thesis"} <= saved
    assert not {"/srv/large", "/var/cache/y"} & saved
    assert 20 < len(saved) < 105
    reasons = lost.read_lost(host, boot).not_saved
    assert reasons["no room left"] > 90
    assert reasons["cache"] == 1


def test_old_boots_go_first_and_go_after_their_days(host: Path) -> None:
    for number in range(3):
        end_boot(host, f"b{number}")
        time.sleep(0.01)
    limits = Settings(100_000, 1000, 14)
    assert lost.prune(host, limits) == []
    size = sum(boot.size_bytes for boot in lost.read_boots(host))
    assert lost.prune(host, limits._replace(size_bytes=size - 1)) == ["b0"]
    assert lost.prune(host, limits, now=time.time() + 15 * 86400) == ["b1", "b2"]
    assert lost.read_boots(host) == []


def test_a_boot_that_was_cut_off_says_so(host: Path) -> None:
    end_boot(host, "whole")
    (host / "nix/persist/.anicca/lost/cut").mkdir()
    (host / "nix/persist/.anicca/lost/now").mkdir()
    boots = lost.read_boots(host, current="now")
    assert [(boot.name, boot.ended is None) for boot in boots] == [("whole", False), ("cut", True)]
    with pytest.raises(AniccaError, match="power was cut"):
        lost.read_lost(host, lost.find_boot(boots, "-1"))
    assert lost.find_boot(boots, "-2").name == "whole"
    with pytest.raises(AniccaError, match="boot -3"):
        lost.find_boot(boots, "-3")


def test_a_cut_while_it_is_written_leaves_a_list_that_can_be_read(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(lost, "_save", lambda *_: os._exit(9))
        try:
            end_boot(host)
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    found = lost.read_lost(host, lost.read_boots(host)[0])
    assert b"/home/ann/thesis" in {one.drift.path for one in found.findings.drift}
    assert found.saved == {}


def test_two_soft_reboots_of_one_kernel_are_two_boots(host: Path) -> None:
    assert [end_boot(host).name, end_boot(host).name, end_boot(host).name] == ["b", "b.1", "b.2"]


def test_a_link_that_a_user_left_leads_nobody(host: Path) -> None:
    """ann's file of the last boot must not be put where her link of this boot leads."""
    write(host, "home/ann/dir/authorized_keys", "ann's key")
    boot = end_boot(host)
    forget(host)
    (host / "home/ann").mkdir(parents=True)
    (host / "root").mkdir(exist_ok=True)
    (host / "home/ann/dir").symlink_to(host / "root")
    found = lost.read_lost(host, boot)
    with pytest.raises(RefusedError, match="not a plain directory"):
        rescue(host, found, plan_rescue(found, b"/home/ann/dir"))
    assert list((host / "root").iterdir()) == []
    (host / "home/ann/dir").unlink()
    (host / "home/ann/dir").mkdir()
    (host / "home/ann/dir/authorized_keys").symlink_to("/nowhere")
    with pytest.raises(RefusedError, match="is there already"):
        rescue(host, found, plan_rescue(found, b"/home/ann/dir"))


def test_a_damaged_copy_is_not_rescued(host: Path) -> None:
    boot = end_boot(host)
    forget(host)
    found = lost.read_lost(host, boot)
    file = host / f"nix/persist/.anicca/lost/b/files/{found.saved[b'/home/ann/thesis'].number}"
    file.write_text("others of work\n")
    with pytest.raises(AniccaError, match="damaged"):
        rescue(host, found, plan_rescue(found, b"/home/ann/thesis"))
    assert not (host / "home/ann/thesis").exists()
    (host / "nix/persist/.anicca/lost/b/list.json").write_text("{}")
    with pytest.raises(AniccaError, match="damaged"):
        lost.read_lost(host, boot)


def test_the_commands(host: Path) -> None:
    def anicca(*words: str) -> process.Completed:
        return process.run([sys.executable, "-m", "anicca", *words, "--root", host], check=False)

    assert anicca("lost").status == 1
    assert b"nothing is remembered of boot -1" in anicca("lost").stderr
    assert anicca("lost", "--remember").text.startswith("remembered ")
    forget(host)
    told = anicca("lost").text
    assert "/home/ann/thesis" in told.partition("anicca rescue has 1 files")[2]
    assert "until" in anicca("lost", "--list").text
    done = anicca("rescue", "/home/ann/thesis", "--boot", "-1")
    assert (done.status, (host / "home/ann/thesis").read_text()) == (0, "years of work\n"), done.stderr
    assert anicca("rescue", "/home/ann/other").status == 1
    (host / "etc/anicca/remember.json").unlink()
    assert "remembers nothing" in anicca("lost", "--remember").text
