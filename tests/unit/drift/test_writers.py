"""Who wrote a path: from what systemd and /proc say, the strongest trace first; and where it was declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.drift.origins import said_of
from anicca.drift.writers import Writers, parse_units, read_open

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = """\
Id=nginx.service
User=
LogsDirectory=nginx
StateDirectory=
ReadWritePaths=-/srv/up /

Id=postgresql@17-main.service
User=postgres
StateDirectory=postgresql postgresql/17
CacheDirectory=pg:cache-link

Id=root.service
User=root
WorkingDirectory=!/var/lib/deep/er
"""
SPEC = {"users": {"ann": {"home": "/home/ann"}}}
ORIGINS = {
    "files[/etc/motd]": ("host.py:9",),
    "units[a.service].content": ("host.py:12",),
    "units[ssh.service].state": ("host.py:13",),
    "persist[/var/lib/notes]": ("host.py:20", "web.py:2"),
    "packages[less]": ("host.py:3",),
    "users[ann]": ("host.py:5",),
}


def writers(**more: dict[bytes, str]) -> Writers:
    places, runs_as = parse_units(SHOWN)
    return Writers(more.get("open_by", {}), places, runs_as, {0: "root", 7: "ann", 9: "postgres"})


def test_the_strongest_trace_wins() -> None:
    known = writers(open_by={b"/var/log/nginx/access.log": "evil.service"})
    assert known.of(b"/var/log/nginx/access.log", 0) == "evil.service, which has it open"
    assert known.of(b"/var/log/nginx/error.log", 0) == "nginx.service (LogsDirectory)"
    assert known.of(b"/srv/up/x", 7) == "nginx.service (ReadWritePaths)"
    assert known.of(b"/var/lib/postgresql/17/x", 9) == "postgresql@17-main.service (StateDirectory)"
    assert known.of(b"/var/cache/pg/x", 9) == "postgresql@17-main.service (CacheDirectory)"
    assert known.of(b"/var/lib/deep/er/x", 0) == "root.service (WorkingDirectory)"
    assert known.of(b"/elsewhere", 9) == "postgresql@17-main.service, which runs as postgres"
    assert known.of(b"/elsewhere", 7) == "user ann"
    assert known.of(b"/elsewhere", 4242) == "user 4242"


def test_nothing_is_claimed_of_roots_files_and_of_the_whole_root() -> None:
    assert writers().of(b"/elsewhere", 0) == ""
    assert writers().of(b"/srv/upper", 0) == ""


def test_open_files_are_their_units(tmp_path: Path) -> None:
    for pid, group, flags in (("12", "0::/system.slice/a.service\n", "0100001"), ("13", "0::/\n", "0100000")):
        process = tmp_path / pid
        (process / "fd").mkdir(parents=True)
        (process / "fdinfo").mkdir()
        (process / "fd/3").symlink_to(f"/srv/{pid}")
        (process / "fdinfo/3").write_text(f"pos:\t0\nflags:\t{flags}\n")
        (process / "cgroup").write_text(group)
        (process / "comm").write_text("prog\n")
    (tmp_path / "self").mkdir()
    assert read_open(str(tmp_path)) == {b"/srv/12": "a.service"}


def test_where_it_was_said() -> None:
    def said(path: str, package: str = "") -> list[str]:
        return said_of(path.encode(), package, SPEC, ORIGINS)

    assert said("/etc/motd") == ["host.py:9"]
    assert said("/etc/systemd/system/a.service") == ["host.py:12"]
    assert said("/etc/systemd/system/multi-user.target.wants/ssh.service") == ["host.py:13"]
    assert said("/var/lib/notes/deep/er") == ["host.py:20", "web.py:2"]
    assert said("/usr/bin/less", "less") == ["host.py:3"]
    assert said("/home/ann") == ["host.py:5"]
    assert said("/usr/bin/env", "coreutils") == []
