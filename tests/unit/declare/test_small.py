"""Sizes, roots, and exact lines in a source."""

from __future__ import annotations

import sys
from typing import get_args

import pytest

from anicca.declare import Afresh, Btrfs, F2fs, File, Host, Nilfs2, Overlay, Part, Tmpfs, Zfs
from anicca.declare.base import base
from anicca.declare.location import here
from anicca.declare.root import F2fsCompression, Root
from anicca.declare.services import ssh
from anicca.declare.size import parse_size
from anicca.declare.source import Source, locate
from anicca.errors import Place


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("1K", 1024),
        ("256M", 256 << 20),
        ("1.5G", 3 << 29),
        ("2 GiB", 2 << 30),
        ("1T", 1 << 40),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "5X", "1e3", "12MM", "1 G G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("root", "mount", "mkfs"),
    [
        (F2fs(), "checkpoint=disable,compress_algorithm=zstd,lazytime", ("-O", "extra_attr,compression")),
        (F2fs(compress_algorithm=None, lazytime=False), "checkpoint=disable", ("-O", "extra_attr")),
        (
            F2fs(compress_algorithm="lz4", lazytime=False),
            "checkpoint=disable,compress_algorithm=lz4",
            ("-O", "extra_attr,compression"),
        ),
        (
            F2fs(compress=True),
            "checkpoint=disable,compress_algorithm=zstd,compress_extension=*,lazytime",
            ("-O", "extra_attr,compression"),
        ),
        (Btrfs(), "noatime,compress=zstd", ()),
        (Btrfs(compress=None), "noatime", ()),
        (Afresh("ext4"), "noatime", ("-O", "^has_journal")),
        (Afresh("xfs"), "noatime", ()),
        (Overlay(), "noatime", ()),
        (Nilfs2(size="1G"), "size=1G,mode=0755", ()),
        (Tmpfs(size="2G"), "size=2G,mode=0755", ()),
        (Zfs(), "noatime", ("-O", "compression=lz4")),
        (Zfs(compression=None), "noatime", ("-O", "compression=off")),
    ],
)
def test_each_root_knows_its_options(root: Root, mount: str, mkfs: tuple[str, ...]) -> None:
    assert root.mount_options == mount
    assert root.mkfs_arguments == mkfs


def test_no_f2fs_root_can_be_declared_without_checkpoint_disable() -> None:
    with pytest.raises(TypeError):
        F2fs(checkpoint="enable")  # type: ignore[call-arg]
    for algorithm in get_args(F2fsCompression):
        for lazytime in (True, False):
            options = F2fs(compress_algorithm=algorithm, lazytime=lazytime).mount_options.split(",")
            assert options[0] == "checkpoint=disable"


def line() -> int:
    return sys._getframe(1).f_lineno


def test_a_declaration_knows_its_line() -> None:
    file, expected = File("x"), line()
    assert file.declared_at == Place(__file__, expected)
    assert here() == Place(__file__, line())


def test_a_part_of_the_library_points_at_the_line_that_asked_for_it() -> None:
    part, expected = ssh(), line()
    places = {part.declared_at, *(unit.declared_at for unit in part.units if not hasattr(unit, "rank"))}
    assert places == {Place(__file__, expected)}


def test_what_nobody_asked_for_points_into_the_base() -> None:
    assert base().declared_at.file == "anicca/declare/base.py"


def test_a_line_is_no_part_of_a_declaration() -> None:
    one = File("x")
    other = File("x")
    assert one.declared_at != other.declared_at
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == "File(content='x', owner='root', group='root', mode=420)"


SOURCE = """\
host = Host(
    name="web",
    packages=[
        "curl",
        "less",
    ],
    files={
        "/etc/motd": "curl\\n",
    },
    parts=[f(timezone="a"), Part(timezone="b")],
    locale=LOCALE,
)
"""


@pytest.mark.parametrize(
    ("call", "keyword", "element", "expected"),
    [
        (1, "name", None, 2),
        (1, "packages", None, 3),
        (1, "packages", "less", 5),
        (1, "packages", "vim", 3),
        (1, "files", "/etc/motd", 8),
        (1, "locale", None, 11),
        (1, "timezone", None, 1),
        (10, "timezone", None, 10),
        (99, "name", None, 99),
    ],
)
def test_the_line_of_a_keyword_or_element_is_found(call: int, keyword: str, element: str | None, expected: int) -> None:
    sources = {"host.py": Source(SOURCE)}
    assert locate(sources, Place("host.py", call), keyword, element) == Place("host.py", expected)


def test_an_unknown_or_unreadable_source_leaves_the_place_as_it_is() -> None:
    assert locate({}, Place("x.py", 7), "name") == Place("x.py", 7)
    assert locate({"x.py": Source("def (")}, Place("x.py", 7), "name") == Place("x.py", 7)


def test_declarations_take_any_order_of_keywords() -> None:
    assert Part(timezone="UTC", packages=["x"]) == Part(packages=["x"], timezone="UTC")
    assert Host(name="x").release == "trixie"
