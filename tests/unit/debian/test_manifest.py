from __future__ import annotations

import stat
import struct

import manifest
import pytest
from declared import ancestors


def test_defaults_are_left_out_of_a_line() -> None:
    entry = manifest.Entry(path="/etc", kind="directory", mode=0o755, user="root", group="root", mtime=7)
    assert entry.to_line() == (
        b'{"path":"/etc","kind":"directory","mode":"0755","user":"root","group":"root","mtime":7}\n'
    )


def test_modes_keep_their_setuid_bits() -> None:
    entry = manifest.Entry(path="/usr/bin/su", kind="file", mode=0o4755, user="root", group="root", mtime=7, size=1)
    assert b'"mode":"4755"' in entry.to_line()
    assert manifest.Entry.from_line(entry.to_line()).mode == 0o4755


def test_a_path_is_below_whole_names_only() -> None:
    assert manifest.is_below("/etc", "/etc")
    assert manifest.is_below("/etc/x", "/usr", "/etc")
    assert not manifest.is_below("/etc2", "/etc")
    assert not manifest.is_below("/", "/etc")


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices_pipes_and_sockets_cannot_be_kept(kind: int) -> None:
    with pytest.raises(ValueError, match="file type"):
        manifest.kind_of(kind | 0o600)


def test_an_access_list_tells_whom_it_names() -> None:
    nobody = 0xFFFFFFFF
    entries = [(1, 7, nobody), (2, 6, 1000), (4, 5, nobody), (8, 5, 4), (16, 5, nobody), (32, 5, nobody)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    assert manifest.acl_ids(value) == [1000, 4]


def test_ancestors_come_from_the_outside_in() -> None:
    assert ancestors("/etc/systemd/system/x.service") == ["/etc", "/etc/systemd", "/etc/systemd/system"]
    assert ancestors("/etc") == []
