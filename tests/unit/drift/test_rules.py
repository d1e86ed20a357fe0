"""What a difference means: the dangerous first, what Debian makes explained, and only in its place."""

from __future__ import annotations

import stat

import pytest

from anicca.drift.compare import Drift
from anicca.drift.findings import Findings
from anicca.drift.pile import Finding, Pile
from anicca.drift.report import headline, render
from anicca.drift.rules import CLASSES, RULES, Judgement, judge

FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
DEVICE = stat.S_IFCHR | 0o600


def judged(path: str, mode: int = FILE, *, kind: str = "added", **more: object) -> Judgement:
    declared = {b"/usr/lib/python3/a.py", b"/usr/share/ca-certificates/a.crt", b"/etc/init.d/cron"}
    return judge(Drift(path.encode(), kind, mode=mode, **more), declared.__contains__)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "mode", "more"),
    [
        ("/etc/ld.so.preload", FILE, {}),
        ("/etc/systemd/system/evil.service", FILE, {}),
        ("/home/ann/.config/systemd/user/evil.service", FILE, {}),
        ("/etc/cron.d/evil", FILE, {}),
        ("/var/spool/cron/crontabs/root", FILE, {}),
        ("/home/ann/.ssh/authorized_keys", FILE, {}),
        ("/usr/lib/modules/6.12/extra/evil.ko.xz", FILE, {}),
        ("/etc/sudoers.d/evil", FILE, {}),
        ("/etc/rc2.d/S01evil", LINK, {"target": b"/tmp/evil"}),
        ("/var/lib/dpkg/info/evil.postinst", FILE, {}),
        ("/tmp/shell", FILE | stat.S_ISUID, {}),
        ("/var/cache/apt/archives/shell", FILE | stat.S_ISGID, {}),
        ("/srv/capable", FILE, {"xattrs": ("security.capability",)}),
        ("/var/tmp/kmem", DEVICE, {}),
        ("/dev/hidden", FILE, {}),
        ("/usr/bin/env", FILE, {"kind": "content", "origin": "package coreutils"}),
        ("/usr/bin/env", FILE, {"kind": "owner"}),
        ("/usr/bin/env", LINK, {"kind": "type"}),
        ("/etc/cron.d", 0, {"kind": "mount"}),
        ("/etc/pam.d/sshd", 0, {"kind": "removed"}),
    ],
)
def test_the_suspicious(path: str, mode: int, more: dict[str, object]) -> None:
    assert judged(path, mode, **more).name == "suspicious"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "mode", "target"),
    [
        ("/etc/passwd", FILE, b""),
        ("/usr/lib/python3/__pycache__/a.cpython-313.pyc", FILE, b""),
        ("/etc/ssl/certs/a.pem", LINK, b"/usr/share/ca-certificates/a.crt"),
        ("/etc/ssl/certs/0123abcd.0", LINK, b"a.pem"),
        ("/etc/rc2.d/S01cron", LINK, b"../init.d/cron"),
        ("/dev/null", DEVICE, b""),
        ("/var/lib/dpkg/status", FILE, b""),
        ("/var/lib/dpkg/triggers/File", FILE, b""),
        ("/usr/share/mime/image", DIRECTORY, b""),
        ("/var/lib/texmf/web2c/pdftex/latex.fmt", FILE, b""),
        ("/etc/.java/.systemPrefs/.system.lock", FILE, b""),
        ("/etc/apparmor.d/local", DIRECTORY, b""),
    ],
)
def test_what_debian_makes_is_explained(path: str, mode: int, target: bytes) -> None:
    assert judged(path, mode, target=target).expected


@pytest.mark.parametrize(
    ("path", "mode", "target"),
    [
        ("/usr/lib/python3/__pycache__/other.cpython-313.pyc", FILE, b""),
        ("/etc/ssl/certs/a.pem", LINK, b"/tmp/a.crt"),
        ("/etc/ssl/certs/a.pem", FILE, b""),
        ("/etc/ssl/certs/0123abcd.0", LINK, b"/tmp/a"),
        ("/etc/passwd", DIRECTORY, b""),
        ("/etc/passwd2", FILE, b""),
        ("/usr/local/bin/tool", FILE, b""),
    ],
)
def test_what_only_looks_like_it_is_not(path: str, mode: int, target: bytes) -> None:
    assert not judged(path, mode, target=target).expected


def test_nothing_beneath_a_mount_is_explained() -> None:
    found = judged("/etc/passwd", hidden=True)
    assert not found.expected
    assert judged("/mnt/x", hidden=True).name == "beneath a mount"


def test_without_explanations_a_changed_account_file_is_suspicious() -> None:
    drift = Drift(b"/etc/passwd", "added", mode=FILE)
    assert judge(drift, lambda _: True, explained=False).name == "suspicious"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/ann/x", "user data"),
        ("/var/cache/x/y", "cache"),
        ("/home/ann/.cache/x", "cache"),
        ("/var/log/x", "log"),
        ("/var/lib/x/y.lock", "lock"),
        ("/usr/local/bin/x", "software"),
        ("/etc/x", "configuration"),
        ("/var/lib/x", "state"),
        ("/x", "other"),
    ],
)
def test_the_broad_classes(path: str, name: str) -> None:
    assert judged(path).name == name


def test_every_class_has_its_place_in_the_order() -> None:
    assert {rule.name for rule in RULES} <= set(CLASSES)


def findings(*drifts: Drift) -> Findings:
    found = Pile(Finding(one, judge(one, lambda _: False)) for one in drifts)
    return Findings("us", found, 10, 0, 9, 0, sees_beneath=True)


def test_a_person_sees_few_lines_and_the_suspicious_first() -> None:
    many = [Drift(b"/srv/w", "added", mode=DIRECTORY)]
    many += [Drift(b"/srv/w/%d" % number, "added", mode=FILE, size=1000) for number in range(5000)]
    many += [Drift(b"/root/c/%d/su" % number, "added", mode=FILE | stat.S_ISUID) for number in range(300)]
    many += [Drift(b"/etc/cron.d/x", "added", mode=FILE)]
    lines = list(render(findings(*many)))
    assert len(lines) < 12
    assert lines[0].startswith("drift: 5302 paths, 301 suspicious")
    assert lines[2].startswith("suspicious: 301 paths")
    assert "300 below /root/c/" in lines[3]
    assert any("/srv/w/ and 5000 below it, 5.0 MB" in line for line in lines)
    assert len(list(render(findings(*many), everything=True))) > 5300


def test_a_name_cannot_harm_a_terminal() -> None:
    text = "\n".join(render(findings(Drift(b"/srv/\x1b[31m\n\xff\xe2\x80\xae", "added", mode=FILE))))
    assert "/srv/\\x1b[31m\\n\\xff\\u202e" in text


def test_what_was_not_seen_is_not_called_no_drift() -> None:
    assert headline(findings()).startswith("no drift (")
    unread = findings(Drift(b"/srv/x", "unreadable", now="Permission denied"))
    assert headline(unread).startswith("no drift in what could be seen")
    assert "Permission denied" in "\n".join(render(unread))
