"""A host's look that has something of everything, for the page's tests and for looking at it."""

from __future__ import annotations

import stat

from anicca.drift.compare import Drift
from anicca.drift.findings import Findings
from anicca.drift.pages import Page, PastBoot
from anicca.drift.pile import Finding, Pile
from anicca.drift.rules import Judgement, judge
from anicca.roots.facts import GuardFacts, from_record

FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
NOW = 1_795_500_000
SIZES = {
    "/etc/cron.d/evil": 20,
    "/root/.ssh/authorized_keys": 91,
    "/srv/helper": 48_472,
    "/home/ann/thesis.tex": 1_812_000,
    "/home/ann/figures/one.png": 2_300_000,
    "/home/ann/figures/two.png": 900_000,
    "/home/ann/.cache/thumbs/a": 400_000,
    "/home/ann/.bash_history": 3_100,
    "/srv/www/upload/movie.mp4": 9_400_000,
    "/srv/www/upload/notes.txt": 1_200,
    "/var/lib/app/data.db": 4_100_000,
    "/var/lib/app/data.db-wal": 1_000_000,
    "/var/lib/app/index/1": 600_000,
    "/var/lib/app/index/2": 650_000,
    "/var/cache/app/pages/a": 1_700_000,
    "/var/cache/app/pages/b": 700_000,
    "/var/log/app/today.log": 2_600_000,
    "/var/log/app/yesterday.log": 1_400_000,
    "/var/log/nginx/access.log": 800_000,
    "/var/tmp/build/out": 350_000,
    "/opt/tool/bin/tool": 3_000_000,
    "/opt/tool/lib/libtool.so": 1_100_000,
    "/opt/tool/README": 0,
    "/var/lib/app/run.pid": 5,
    "/srv/\u202egnp.exe\x1b[31m": 12,
    "/srv/<script>alert(1)</script>": 12,
}


def guard(outcome: str, *reasons: str) -> GuardFacts:
    """What the guard of a root on f2fs said."""
    return from_record({"outcome": outcome, "root": "f2fs", "reasons": reasons})


def sample(*, extra: int = 0) -> Page:
    """The page; `extra` adds so many small files."""
    found = []
    sizes: dict[str, int] = {**SIZES, **{f"/srv/many/{number // 100}/{number}": number for number in range(extra)}}
    for number, (path, size) in enumerate(sizes.items()):
        mode = FILE | stat.S_ISUID if path == "/srv/helper" else FILE
        drift = Drift(path.encode(), "added", now="file", mode=mode, size=size, mtime_ns=(NOW - number * 4711) * 10**9)
        by = "app.service (StateDirectory)" if "/app/" in path else "user ann" if path.startswith("/home/ann") else ""
        found.append(Finding(drift, judge(drift, lambda _path: False), by))
    changed = Drift(b"/var/lib/pam/seen", "content", was="5 bytes", now="7 bytes", origin="seed", mode=FILE, size=7)
    opened = Drift(b"/srv", "mode", was="0755", now="0777", origin="seed", mode=DIRECTORY, mtime_ns=NOW * 10**9)
    unread = Drift(b"/srv/broken", "unreadable", now="Input/output error", mode=FILE)
    explained = Drift(b"/var/lib/systemd/timers", "added", mode=DIRECTORY)
    found += [
        Finding(changed, Judgement("state", "state of a service")),
        Finding(opened, Judgement("user data", "someone's own files")),
        Finding(unread, Judgement("user data", "")),
        Finding(explained, Judgement("generated", "made by a service as it starts", expected=True)),
    ]
    boots = tuple(
        PastBoot(
            f"{number:032x}",
            None if number == 5 else NOW - (24 - number) * 86_400.0,
            None if number == 5 else (number * 37) % 91 + 4,
            2 if number == 11 else 0,
            guard("made-afresh", "the root was not blank: /var was there") if number == 8 else guard("blank"),
        )
        for number in range(14)
    )
    facts = {
        "host": "sundryvm",
        "release": "Debian GNU/Linux 13 (trixie)",
        "architecture": "amd64",
        "made": "2026-11-24",
    }
    findings = Findings("the system of sundryvm", Pile(found), 1432, 38_000_000, 1398, 0, True)
    return Page(facts, findings, "/nix/store/abc-system-sundryvm", guard("blank"), boots)
