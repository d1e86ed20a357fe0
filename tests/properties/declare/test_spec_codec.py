from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anicca.declare.decode import from_json
from anicca.declare.root import Afresh, Btrfs, F2fs, Nilfs2, Overlay, Tmpfs, Zfs
from anicca.declare.spec import (
    DirectorySpec,
    DiskSpec,
    EntrySpec,
    FileSpec,
    GroupSpec,
    Kernel,
    LinkSpec,
    PersistSpec,
    Spec,
    UnitSpec,
    UserSpec,
    to_json,
)

texts = st.text(st.characters(codec="utf-8"), max_size=5)
modes = st.integers(0, 0o7777)


def unique(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, max_size=3, unique=True).map(lambda found: tuple(sorted(found)))


def entry(path: str, kind: str, content: bytes, target: str, mode: int) -> EntrySpec:
    if kind == "link":
        return LinkSpec(path=path, target=target)
    if kind == "directory":
        return DirectorySpec(path=path, owner=target, mode=mode)
    return FileSpec(path=path, content=content, group=target, mode=mode)


entries = st.builds(
    entry,
    texts,
    st.sampled_from(["file", "link", "directory"]),
    st.one_of(st.binary(max_size=5), texts.map(str.encode)),
    texts,
    modes,
)
specs = st.builds(
    Spec,
    name=texts,
    components=unique(texts),
    kernel=st.builds(Kernel, package=texts, parameters=st.lists(texts, max_size=2).map(tuple)),
    packages=unique(texts),
    users=unique(texts).flatmap(
        lambda names: st.tuples(
            *(
                st.builds(UserSpec, name=st.just(n), home=texts, groups=unique(texts), ssh_keys=unique(texts))
                for n in names
            )
        )
    ),
    groups=unique(texts).map(lambda names: tuple(GroupSpec(name=name, members=names) for name in names)),
    files=st.lists(entries, max_size=3, unique_by=lambda made: made.path).map(
        lambda made: tuple(sorted(made, key=lambda each: each.path))
    ),
    units=unique(texts).flatmap(
        lambda names: st.tuples(
            *(
                st.builds(
                    UnitSpec,
                    name=st.just(name),
                    content=st.one_of(st.none(), texts),
                    state=st.sampled_from(["enabled", "disabled", "masked", "static"]),
                )
                for name in names
            )
        )
    ),
    persist=unique(texts).flatmap(
        lambda paths: st.tuples(
            *(
                st.builds(
                    PersistSpec,
                    path=st.just(path),
                    kind=st.sampled_from(["d", "f"]),
                    owner=st.one_of(st.none(), texts),
                    mode=st.one_of(st.none(), modes),
                )
                for path in paths
            )
        )
    ),
    timezone=texts,
    locale=texts,
    root=st.one_of(
        st.builds(F2fs, compress_algorithm=st.sampled_from(["zstd", "lz4", None]), lazytime=st.booleans()),
        st.builds(Btrfs, compress=st.sampled_from(["zstd", None]), keep=st.integers(0, 9), keep_days=st.none()),
        st.builds(Afresh, st.sampled_from(["ext4", "xfs", "f2fs", "btrfs"])),
        st.builds(Overlay, st.sampled_from(["ext4", "xfs", "btrfs"])),
        st.builds(Nilfs2, size=texts),
        st.builds(Tmpfs, size=texts),
        st.builds(Zfs, compression=st.sampled_from(["zstd", None])),
    ),
    disk=st.builds(DiskSpec, esp_bytes=st.integers(0), nix_bytes=st.integers(0), root_bytes=st.integers(0)),
    snapshot=st.one_of(st.none(), texts),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(specs)
def test_a_spec_survives_its_canonical_json(spec: Spec) -> None:
    text = to_json(spec)
    assert from_json(text) == spec
    assert to_json(from_json(text)) == text
    assert text.count(b"\n") == 1


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"3", b'{"name":"h"}', b"\xff"])
def test_what_is_no_spec_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (json's own errors are ValueErrors too)
        from_json(text)
