import pytest

from anicca.store.hashes import Hash, hash_bytes
from anicca.store.path import StorePath, check_name, make_fixed_path, make_text_path

PART = "0mdqa9w1p6cmli6976v4wi0sw9r4p5pr"


def test_reading_and_showing() -> None:
    path = StorePath.parse(f"/nix/store/{PART}-a.b+c?d=e_f-1")
    assert str(path) == f"/nix/store/{PART}-a.b+c?d=e_f-1"
    assert StorePath.parse(path.basename) == path
    assert StorePath.within(f"{path}/bin/x") == path
    assert not path.is_derivation


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/nix/store",
        f"/nix/store/{PART}",
        f"/nix/store/{PART}-",
        f"/nix/store/{PART}-a/b",
        f"/nix/store/{PART}-a b",
        f"/nix/store/{PART}-{'a' * 212}",
        f"/nix/store/{PART[:-1]}e-a",
        f"/nix/store/{PART}-.",
        f"/nix/store/{PART}-..",
        f"/nix/store/{PART}-.-x",
        f"/nix/store/{PART}-..-x",
        f"/other/{PART}-a",
        f"/nix/store/{PART}-a\n",
    ],
)
def test_what_is_no_store_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a path|not a store path's name"):
        StorePath.parse(text)


@pytest.mark.parametrize("name", [".a", "...", "..a", "a..", "-"])
def test_dots_that_are_fine(name: str) -> None:
    check_name(name)


def test_order_is_by_hash_part() -> None:
    a, b = StorePath("0" * 32, "z"), StorePath("1" * 32, "a")
    assert sorted([b, a]) == [a, b]


def test_only_recursive_sha256_may_have_references() -> None:
    reference = make_text_path("r", b"")
    with pytest.raises(ValueError, match="references"):
        make_fixed_path("x", "flat", hash_bytes(b""), [reference])


def test_hash_spellings_that_are_refused() -> None:
    for text in ("sha256", "sha256:", "md4:" + "0" * 32, "sha256-xx", "00", "sha256:" + "g" * 64):
        with pytest.raises(ValueError, match=r"hash|algorithm|length|base|hex"):
            Hash.parse(text)
    with pytest.raises(ValueError, match="expected"):
        Hash.parse("sha1:" + "0" * 40, "sha256")
