"""dpkg's files as they are written."""

from __future__ import annotations

from anicca.drift import records
from anicca.drift.mounts import below, parse_mountinfo, to_visit


def test_status_has_states_and_conffiles() -> None:
    packages = records.parse_status(
        b"Package: cron\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.0\n"
        b"Conffiles:\n /etc/cron d/a 0123\n /etc/old 4567 obsolete\n /etc/going 89 remove-on-upgrade\n"
        b"Description: x\n more\n\nPackage: gone\nStatus: deinstall ok config-files\nConffiles:\n /etc/gone ab\n"
    )
    assert [(one.name, one.architecture, one.version, one.state) for one in packages] == [
        ("cron", "amd64", "3.0", "installed"),
        ("gone", "", "", "config-files"),
    ]
    assert packages[0].conffiles == ((b"/etc/cron d/a", "0123"),)
    assert packages[1].conffiles == ((b"/etc/gone", "ab"),)


def test_md5sums_have_escaped_names() -> None:
    assert records.parse_md5sums(b"aa  usr/bin/a b\n\\bb  usr/a\\nb\n\ncc  ./x\n") == {
        b"/usr/bin/a b": "aa",
        b"/usr/a\nb": "bb",
        b"/x": "cc",
    }


def test_an_alternative_has_a_slot_for_each_link_and_a_choice_for_each_program() -> None:
    text = b"auto\n/usr/bin/pager\npager.1.gz\n/usr/share/man/man1/pager.1.gz\n\n"
    text += b"/bin/more\n50\n\n/usr/bin/less\n77\n/l.gz\n\n"
    found = records.parse_alternative(b"pager", text)
    assert found.slots == ((b"pager", b"/usr/bin/pager"), (b"pager.1.gz", b"/usr/share/man/man1/pager.1.gz"))
    assert found.allowed(0) == (b"/usr/bin/less",)
    assert found.allowed(1) == (b"/l.gz",)
    manual = records.parse_alternative(b"pager", text.replace(b"auto", b"manual"))
    assert manual.allowed(0) == (b"/bin/more", b"/usr/bin/less")


def test_diversions_overrides_and_excludes() -> None:
    assert records.parse_diversions(b"/a\n/a.real\n:\n/b\n/b.x\ndash\n") == [
        records.Diversion(b"/a", b"/a.real", ""),
        records.Diversion(b"/b", b"/b.x", "dash"),
    ]
    assert records.parse_overrides(b"root crontab 2755 /usr/bin/cron tab\n") == [
        records.Override("root", "crontab", 0o2755, b"/usr/bin/cron tab")
    ]
    assert records.parse_excludes(b"# x\npath-exclude=/usr/share/doc/*\npath-include /usr/share/doc/a\n") == [
        (True, b"/usr/share/doc/*"),
        (False, b"/usr/share/doc/a"),
    ]


def test_tmpfiles_say_what_they_make_and_no_secrets() -> None:
    text = (
        b"# comment\nd /a 0755 root adm -\nL+ /l - - - - ../t\nd /b :0700 :root - -\nf^ /root/key 0600 - - - x\n"
        b"z /c 0700\nd /%m 0755\nR /tmp/x*\n"
    )
    assert records.parse_tmpfiles(text) == [
        records.Temporary(b"/a", "directory", 0o755, "root", "adm"),
        records.Temporary(b"/l", "symlink", None, None, None, b"../t"),
        records.Temporary(b"/b", "directory", None, None, None),
    ]


MOUNTINFO = rb"""20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
21 20 0:5 / /proc rw - proc proc rw
22 20 8:2 / /home rw master:3 propagate_from:2 - ext4 /dev/sda2 rw
23 20 8:1 /etc /srv/a\040b rw - ext4 /dev/sda1 rw
24 20 8:2 / /again rw - ext4 /dev/sda2 rw
25 20 0:40 / /over rw - overlay overlay rw
26 20 0:41 / /home rw - tmpfs tmpfs rw
"""


def test_mounts_are_those_that_are_seen_and_whole_disks_are_visited_once() -> None:
    mounts = parse_mountinfo(MOUNTINFO)
    found = below(mounts, b"/")
    assert [(mount.path, mount.kind) for mount in found] == [
        (b"/proc", "proc"),
        (b"/srv/a b", "ext4"),
        (b"/again", "ext4"),
        (b"/over", "overlay"),
        (b"/home", "tmpfs"),
    ]
    assert [mount.path for mount in to_visit(found, mounts[0])] == [b"/again"]
    assert [mount.path for mount in below(mounts, b"/srv")] == [b"/a b"]
