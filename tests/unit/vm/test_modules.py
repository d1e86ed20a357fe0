from __future__ import annotations

import pytest

from anicca.errors import AniccaError
from anicca.vm.modules import order_modules, parse_aliases, parse_dependencies, parse_soft_dependencies

DEP = """\
kernel/fs/f2fs/f2fs.ko.xz: kernel/lib/lz4/lz4-compress.ko.xz kernel/lib/crc/crc32.ko.xz
kernel/lib/lz4/lz4-compress.ko.xz:
kernel/lib/crc/crc32.ko.xz:
kernel/crypto/crc32c_generic.ko.xz: kernel/lib/crc/crc32.ko.xz
kernel/a.ko: kernel/b.ko
kernel/b.ko:
"""
SOFT = "softdep f2fs pre: crc32c vanished post: b\nsoftdep b pre: a\n# a comment\n"
ALIAS = "# x\nalias crc32c crc32c_generic\nalias pci:v00001AF4d* virtio_pci\n"


def order(*names: str, builtin: frozenset[str] = frozenset()) -> list[str]:
    return order_modules(
        names,
        paths=parse_dependencies(DEP),
        soft=parse_soft_dependencies(SOFT),
        aliases=parse_aliases(ALIAS),
        builtin=set(builtin),
    )


def test_what_is_needed_comes_first_once() -> None:
    assert order("f2fs") == ["crc32", "crc32c_generic", "lz4_compress", "f2fs"]
    assert order("crc32", "f2fs", "f2fs") == ["crc32", "crc32c_generic", "lz4_compress", "f2fs"]


def test_what_is_built_in_needs_no_loading() -> None:
    assert order("f2fs", "ext4", builtin=frozenset({"crc32", "ext4"})) == ["crc32c_generic", "lz4_compress", "f2fs"]


def test_soft_dependencies_may_go_round() -> None:
    # a needs b, b would like a first.
    assert sorted(order("a")) == ["a", "b"]


def test_a_module_that_is_nowhere_is_named() -> None:
    with pytest.raises(AniccaError, match="no module zfs"):
        order("zfs")


def test_patterns_are_no_aliases() -> None:
    assert parse_aliases(ALIAS) == {"crc32c": ["crc32c_generic"]}
