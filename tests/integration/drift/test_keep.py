"""keep and orphans on a host that is a directory: what a copy must have, cuts at any step, nothing declared lost."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from anicca import fs, process
from anicca.drift import area, keep, orphans
from anicca.drift.scan import Options, Scan
from anicca.errors import AniccaError, RefusedError, UsageError

pytestmark = pytest.mark.integration


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with two generations, the second of which runs; it keeps /var/lib/notes and /srv/app/data."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files their owners")
    top = tmp_path / "host"
    for number, kept in (
        (1, "d 0750 7 7 /var/lib/old\n"),
        (2, "d 0750 7 7 /var/lib/notes\nd 0755 0 0 /srv/app/data\n"),
    ):
        system = top / f"nix/store/{number:04}-system"
        (system / "layout").mkdir(parents=True)
        (system / "layout/persist").write_text(kept)
        (system / "manifest.jsonl").write_text("")
        (system / "spec.json").write_text(json.dumps({"name": "h", "files": {}, "units": {}}))
    profiles = top / "nix/var/nix/profiles"
    profiles.mkdir(parents=True)
    (profiles / "system-1-link").symlink_to("/nix/store/0001-system")
    (profiles / "system-2-link").symlink_to("/nix/store/0002-system")
    (top / "run/anicca").mkdir(parents=True)
    (top / "run/anicca/system").symlink_to("/nix/store/0002-system")
    (top / "etc").mkdir()
    (top / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nann:x:7:7::/:/bin/sh\n")
    (top / "etc/group").write_text("root:x:0:\nann:x:7:\n")
    (top / "nix/persist").mkdir(mode=0o700)
    for path in ("var/lib/notes", "srv/app/data"):
        (top / "nix/persist" / path).mkdir(parents=True)
        (top / path).mkdir(parents=True)
    return top


@pytest.fixture
def state(host: Path) -> Path:
    """A directory with one of everything."""
    top = host / "var/lib/app"
    top.mkdir(mode=0o750)
    (top / "a").write_text("hello")
    os.chown(top / "a", 7, 7)
    (top / "a").chmod(0o4640)
    os.link(top / "a", top / "again")
    (top / "link").symlink_to("/nowhere")
    (top / "empty").mkdir(mode=0o1777)
    os.mkfifo(top / "fifo")
    os.setxattr(top / "a", "user.mark", b"x")
    (top / b"n\xff\n".decode("utf-8", "surrogateescape")).touch()
    with (top / "holes").open("wb") as file:
        file.truncate(1 << 24)
    os.utime(top / "a", ns=(1, 1_234_567_890_123_456_789))
    os.chown(top, 7, 7)
    top.chmod(0o750)
    return top


def entries(top: Path) -> list[tuple[object, ...]]:
    found = Scan(os.fsencode(top), Options(want=lambda _path: "sha256"))
    return [(e.path, e.mode, e.uid, e.gid, e.mtime_ns, e.target, e.xattrs, e.digest, e.nlink) for e in found]


def kept(host: Path, path: str, **more: bool) -> keep.Plan:
    plan = keep.plan_keep(host, path, **more)
    keep.keep(host, plan)
    return plan


def test_a_copy_has_everything_and_the_line_says_so(host: Path, state: Path) -> None:
    before = entries(state)
    plan = kept(host, "/var/lib/app")
    assert plan.line == 'persist=[Persist("/var/lib/app", owner="ann", group="ann", mode=0o750)]'
    assert entries(host / "nix/persist/var/lib/app") == before == entries(state)
    holes = (host / "nix/persist/var/lib/app/holes").stat()
    assert holes.st_blocks * 512 < holes.st_size // 2
    assert list((host / "nix/persist/.anicca/new").glob("*")) == []
    assert (host / "nix/persist/.anicca").stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("state")
def test_the_line_can_be_declared_as_it_is(host: Path) -> None:
    from anicca.declare import Host, Persist, User  # noqa: PLC0415 (names of the line)
    from anicca.declare.combine import combine  # noqa: PLC0415

    (host / "var/lib/app/a").chmod(0o600)
    for path in ("/var/lib/app", "/var/lib/app/a"):
        line = keep.plan_keep(host, path).line
        said = eval(f"dict({line})", {"Persist": Persist, "dict": dict})
        spec = combine(Host(name="h", users=[User("ann")], **said))
        found = next(one for one in spec.persist if one.path == path)
        seen = (host / path[1:]).stat()
        assert (found.owner, found.mode) == ("ann", seen.st_mode & 0o7777)


@pytest.mark.usefixtures("state")
def test_single_files_are_warned_of_and_roots_own_directories_need_no_words(host: Path) -> None:
    plan = kept(host, "/var/lib/app/a")
    assert any("renaming" in warning for warning in plan.warnings)
    assert any("other names" in warning for warning in plan.warnings)
    assert 'kind="f"' in plan.line
    (host / "srv/www").mkdir()
    assert keep.plan_keep(host, "/srv/www").line == 'persist=["/srv/www"]'
    os.chown(host / "srv/www", 4242, 0)
    assert any("4242" in warning for warning in keep.plan_keep(host, "/srv/www").warnings)


@pytest.mark.usefixtures("state")
def test_what_cannot_be_kept_is_refused_and_nothing_is_left(host: Path) -> None:
    for path in ("/usr/bin", "/etc/passwd", "var/lib/app", "/nix/store", "/var/lib/app/link", "/var/lib/app/fifo"):
        with pytest.raises(UsageError):
            keep.plan_keep(host, path)
    with pytest.raises(AniccaError, match="No such file"):
        keep.plan_keep(host, "/var/lib/missing")
    (host / "var/lib/old").mkdir()
    with pytest.raises(RefusedError, match="persists already"):
        keep.plan_keep(host, "/var/lib")
    (host / "var/lib/notes/x").touch()
    assert keep.plan_keep(host, "/var/lib/notes/x").already == "/var/lib/notes"


def test_a_file_that_changes_while_it_is_copied_is_not_kept(
    host: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process.run

    def run(argv: list[object], **more: object) -> object:
        done = real(argv, **more)  # type: ignore[arg-type]
        if argv[0] == "cp":
            (state / "a").write_text("HELLO")
        return done

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(AniccaError, match="/a: changed while it was copied"):
        kept(host, "/var/lib/app")
    assert not (host / "nix/persist/var/lib/app").exists()
    assert not (host / "nix/persist/.anicca/new").exists()


@pytest.mark.parametrize("what", ["rename", "sync_directory", "copy"])
def test_a_cut_at_any_step_leaves_all_or_nothing(
    host: Path, state: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The process is ended hard at the step; what is there then is whole or absent, and the next run succeeds."""
    whole = entries(state)
    pid = os.fork()
    if pid == 0:
        if what == "rename":
            monkeypatch.setattr(Path, "rename", lambda *_: os._exit(9))
        elif what == "sync_directory":
            monkeypatch.setattr(fs, "sync_directory", lambda *_: os._exit(9))
        else:
            monkeypatch.setattr(area, "_compare", lambda *_: os._exit(9))
        try:
            kept(host, "/var/lib/app")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    target = host / "nix/persist/var/lib/app"
    if target.exists():
        assert entries(target) == whole
    else:
        kept(host, "/var/lib/app")
        assert entries(target) == whole
    assert [one.path for one in orphans.find_orphans(host)] == [b"/var/lib/app"]


def test_what_was_kept_before_is_set_aside_not_lost(host: Path, state: Path) -> None:
    kept(host, "/var/lib/app")
    (state / "a").write_text("newer")
    with pytest.raises(RefusedError, match="from an earlier time"):
        kept(host, "/var/lib/app")
    kept(host, "/var/lib/app", replace=True)
    assert (host / "nix/persist/var/lib/app/a").read_text() == "newer"
    [aside] = orphans.read_aside(host)
    assert (host / f"nix/persist/.anicca/aside/{aside.number}/what/a").read_text() == "hello"


def test_orphans_are_what_no_generation_declares(host: Path) -> None:
    persist = host / "nix/persist"
    (persist / "var/lib/old/deep").mkdir(parents=True)
    (persist / "var/lib/gone/deep").mkdir(parents=True)
    (persist / "var/lib/gone/deep/file").write_text("12345")
    (persist / "srv/app/note").write_text("1")
    (persist / "srv/app/data/mine").write_text("1")
    (persist / ".anicca").mkdir()
    found = {one.path: (one.kind, one.paths, one.size_bytes) for one in orphans.find_orphans(host)}
    assert found == {b"/var/lib/gone": ("directory", 3, 5), b"/srv/app/note": ("file", 1, 1)}
    # The generation that kept it is dropped.
    (host / "nix/var/nix/profiles/system-1-link").unlink()
    assert b"/var/lib/old" in {one.path for one in orphans.find_orphans(host)}


def test_without_a_readable_generation_nothing_is_called_an_orphan(host: Path) -> None:
    (host / "nix/store/0001-system/layout/persist").unlink()
    with pytest.raises(AniccaError, match="generation 1"):
        orphans.find_orphans(host)
    for link in (host / "nix/var/nix/profiles").iterdir():
        link.unlink()
    (host / "run/anicca/system").unlink()
    with pytest.raises(AniccaError, match="no generation"):
        orphans.find_orphans(host)


def test_set_aside_put_back_and_deleted_when_due(host: Path) -> None:
    gone = host / "nix/persist/var/lib/gone"
    gone.mkdir()
    (gone / "file").write_text("1")
    for path in (b"/var/lib/notes", b"/var/lib/gone/file", b"/"):
        with pytest.raises(RefusedError):
            orphans.set_aside(host, [path], days=1)
    orphans.set_aside(host, [b"/var/lib/gone"], days=1)
    assert not gone.exists()
    assert orphans.find_orphans(host) == []
    gone.mkdir()
    with pytest.raises(RefusedError, match="is there again"):
        orphans.put_back(host, b"/var/lib/gone")
    gone.rmdir()
    orphans.put_back(host, b"/var/lib/gone")
    assert (gone / "file").read_text() == "1"
    orphans.set_aside(host, [b"/var/lib/gone"], days=2)
    assert orphans.delete_due(host, now=time.time() + 86400) == []
    [one] = orphans.delete_due(host, now=time.time() + 2 * 86400 + 1)
    assert one.path == b"/var/lib/gone"
    assert list((host / "nix/persist/.anicca/aside").iterdir()) == []


@pytest.mark.usefixtures("state")
def test_the_commands(host: Path) -> None:
    def anicca(*words: str | Path) -> process.Completed:
        return process.run([sys.executable, "-m", "anicca", *words], check=False)

    dry = anicca("keep", "/var/lib/app", "--root", host, "--dry-run")
    assert (dry.status, "would be copied" in dry.text) == (0, True), dry.stderr
    assert not (host / "nix/persist/var/lib/app").exists()
    done = anicca("keep", "/var/lib/app", "--root", host)
    assert 'Persist("/var/lib/app", owner="ann", group="ann", mode=0o750)' in done.text
    assert anicca("keep", "/var/lib/app", "--root", host).status == 5
    assert "/var/lib/app  directory" in anicca("orphans", "--root", host).text
    assert anicca("orphans", "--set-aside", "--days", "0", "--root", host).text.startswith("set aside: /var/lib/app")
    assert "no orphans" in anicca("orphans", "--root", host).text
    assert anicca("orphans", "--delete-due", "--root", host).text == "deleted: /var/lib/app\n"
    assert anicca("orphans", "/x", "--root", host).status == 2


def test_what_comes_to_persist_is_adopted_whole(host: Path, state: Path) -> None:
    wanted = {entry.path: entry for entry in Scan(os.fsencode(state), Options())}
    keep.adopt(host, "/var/lib/app")
    found = {entry.path: entry for entry in Scan(os.fsencode(host / "nix/persist/var/lib/app"), Options())}
    assert found.keys() == wanted.keys()
    assert all(found[path].mode == wanted[path].mode and found[path].uid == wanted[path].uid for path in wanted)
    assert orphans.read_aside(host) == []


def test_what_is_kept_below_stays_when_a_path_above_is_adopted(host: Path, state: Path) -> None:
    # As the boot that kept /var/lib/notes did.
    (host / "nix/persist/.anicca/parents/var/lib").mkdir(parents=True)
    keep.adopt(host, "/var/lib/app")
    (state / "since").touch()
    (host / "var/lib/beside").write_text("1")
    keep.adopt(host, "/var")
    assert (host / "nix/persist/var/lib/beside").read_text() == "1"
    assert not (host / "nix/persist/var/lib/app/since").exists()
    assert orphans.read_aside(host) == []
    assert not (host / "nix/persist/.anicca/parents/var").exists()


def test_adopting_hides_and_loses_nothing(host: Path, state: Path) -> None:
    # Nobody declares what is kept there: it is set aside.
    earlier = host / "nix/persist/var/lib/app"
    earlier.mkdir(parents=True)
    (earlier / "earlier").write_text("1")
    keep.adopt(host, "/var/lib/app")
    assert (earlier / "again").exists()
    assert not (earlier / "earlier").exists()
    (aside,) = orphans.read_aside(host)
    assert (host / "nix/persist/.anicca/aside" / aside.number / "what/earlier").read_text() == "1"
    # An earlier generation does: it stays, and what is on the root is set aside.
    (host / "var/lib/old").mkdir()
    (host / "var/lib/old/now").write_text("2")
    kept = host / "nix/persist/var/lib/old"
    kept.mkdir()
    (kept / "then").write_text("3")
    keep.adopt(host, "/var/lib/old")
    assert [path.name for path in kept.iterdir()] == ["then"]
    aside = orphans.read_aside(host)[-1]
    assert (host / "nix/persist/.anicca/aside" / aside.number / "what/now").read_text() == "2"
    assert state.exists()
