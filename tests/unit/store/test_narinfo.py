import pytest

from anicca.errors import AniccaError
from anicca.store.narinfo import parse_narinfo

GOOD = (
    """\
StorePath: /nix/store/6fcnqzh528jz4zhz4852ymfa3agckf5s-top
URL: nar/x.nar
Compression: none
NarHash: sha256:1fp12fqg6iwhxpf6wk4z03s9rwj3cz5haad5xmawj54iqqllbjqk
NarSize: 272
"""
    "References: \n"
)


def test_what_may_be_missing() -> None:
    found = parse_narinfo(GOOD.replace("Compression: none\n", "") + "Deriver: unknown-deriver\nUnknown: x\n")
    assert found.compression == "bzip2"
    assert found.info.deriver is None
    assert found.info.references == frozenset()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NarSize: 272\n", ""),
        ("NarSize: 272", "NarSize: -1"),
        ("NarSize: 272", "NarSize: 0"),
        ("NarSize: 272", "NarSize: " + "9" * 30),
        ("URL: nar/x.nar\n", ""),
        ("URL: nar/x.nar\n", "URL: nar/x.nar\nURL: nar/y.nar\n"),
        ("/nix/store/6fcn", "/nix/stove/6fcn"),
        ("sha256:1fp1", "sha256:zfp1"),
        ("sha256:1fp12fqg6iwhxpf6wk4z03s9rwj3cz5haad5xmawj54iqqllbjqk", "md5:4425hx5d1mc9y39llj4k4nm55i"),
        ("References: ", "References: ../../etc"),
        ("URL: nar/x.nar", "no field"),
    ],
    ids=repr,
)
def test_what_is_refused(old: str, new: str) -> None:
    with pytest.raises(AniccaError, match="here"):
        parse_narinfo(GOOD.replace(old, new), "here")
