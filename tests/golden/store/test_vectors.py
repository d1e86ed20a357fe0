"""Bytes and paths made by real Nix 2.8 and 2.26 (both agree but where said), and ours beside them."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from anicca.store import aterm, base32, derivation, export, nar, signature
from anicca.store.addressed import address, is_content_addressed
from anicca.store.derivation import Instantiated
from anicca.store.hashes import Hash, hash_bytes
from anicca.store.info import PathInfo
from anicca.store.nar_reader import listing, parse
from anicca.store.narinfo import parse_narinfo
from anicca.store.path import StorePath, content_address, make_fixed_path, make_source_path, make_text_path
from anicca.store.roots import indirect_root_name

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "nix-vectors.json").read_text())
NARS = {v["name"]: v for v in VECTORS["nar"]}


def tree(name: str, node: Any) -> nar.Node:
    if name == "tree":
        return nar.Directory(
            {
                b"B": nar.File(b"x" * 9),
                b"a": nar.File(b"12345678"),
                b"a.txt": nar.File(b"A"),
                b"b": nar.Directory(
                    {
                        b"c": nar.Directory({b"l": nar.Symlink(b"../a")}),
                        b"run": nar.File(b"#!/bin/sh\n", executable=True),
                    }
                ),
                b"emptydir": nar.Directory({}),
                "é".encode(): nar.File(b""),
            }
        )
    if node["type"] == "symlink":
        return nar.Symlink(node["target"].encode())
    return nar.File(node["contents"].encode(), executable=node.get("executable", False))


@pytest.mark.parametrize("vector", VECTORS["nix32"], ids=lambda v: f"{v['algo']}-{v['nix32'][:6]}")
def test_a_hash_in_every_spelling(vector: dict[str, str]) -> None:
    found = Hash.parse(f"{vector['algo']}:{vector['hex']}")
    assert found.nix32 == vector["nix32"]
    assert found.sri == vector["sri"]
    assert Hash.parse(vector["sri"]) == Hash.parse(vector["nix32"], vector["algo"]) == found


@pytest.mark.parametrize("vector", VECTORS["nix32_raw"], ids=lambda v: v["hex"][:6])
def test_base32_of_twenty_bytes(vector: dict[str, str]) -> None:
    assert base32.encode(bytes.fromhex(vector["hex"])) == vector["nix32"]
    assert base32.decode(vector["nix32"], 20).hex() == vector["hex"]


@pytest.mark.parametrize("vector", VECTORS["nix32_invalid"], ids=lambda v: v["why"])
def test_base32_that_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"alphabet|non-zero"):
        base32.decode(vector["string"], vector["size"])


@pytest.mark.parametrize("name", NARS)
def test_nar_bytes(name: str, tmp_path: Path) -> None:
    vector = NARS[name]
    content = base64.b64decode(vector["base64"])
    assert nar.dump_bytes(tree(name, vector["node"])) == content
    nar.restore(iter([content]), tmp_path / "x")
    assert b"".join(nar.dump(tmp_path / "x")) == content
    assert nar.hash_path(tmp_path / "x") == (Hash.parse("sha256:" + vector["sha256"]), vector["size"])


@pytest.mark.parametrize("vector", VECTORS["source_path"], ids=lambda v: v["name"])
def test_source_paths(vector: dict[str, str]) -> None:
    content = Hash.parse("sha256:" + vector["preimage"].split(":")[2])
    assert str(make_source_path(vector["name"], content)) == vector["path"]
    assert content_address("recursive", content) == vector["ca"]


@pytest.mark.parametrize("vector", VECTORS["fixed_path"], ids=lambda v: f"{v['method']}-{v['algo']}-{v['name']}")
def test_fixed_paths(vector: dict[str, Any]) -> None:
    content = Hash.parse(f"{vector['algo']}:{vector['hash']}")
    assert str(make_fixed_path(vector["name"], vector["method"], content)) == vector["path"]
    assert content_address(vector["method"], content) == vector["ca"]


@pytest.mark.parametrize("vector", VECTORS["text_path"], ids=lambda v: v["name"])
def test_text_paths(vector: dict[str, Any]) -> None:
    references = frozenset(map(StorePath.parse, vector["refs"]))
    content = vector["contents"].encode()
    path = make_text_path(vector["name"], content, references)
    assert str(path) == vector["path"]
    archive = nar.dump_bytes(nar.File(content))
    info = PathInfo(
        path=path,
        nar_hash=hash_bytes(archive),
        nar_size=len(archive),
        references=references,
        content_address=vector["ca"],
    )
    assert is_content_addressed(info)


def instantiated() -> dict[str, Instantiated]:
    known: dict[StorePath, Instantiated] = {}
    for vector in sorted(VECTORS["derivation"], key=lambda v: bool(v["attr"] == "top")):
        drv = derivation.parse(vector["aterm"].encode(), vector["name"])
        path = StorePath.parse(vector["drvPath"])
        known[path] = derivation.from_derivation(drv, path, known)
    return {path.name: item for path, item in known.items()}


@pytest.mark.parametrize("vector", VECTORS["derivation"], ids=lambda v: v["attr"])
def test_derivations(vector: dict[str, Any]) -> None:
    known = instantiated()
    by_path = {item.path: item for item in known.values()}
    item = known[vector["name"] + ".drv"]
    assert item.content.decode() == vector["aterm"]
    assert str(item.drv.path()) == vector["drvPath"]
    assert {name: str(path) for name, path in item.outputs.items()} == vector["outputs"]
    assert {item.modulo_hex} == set(vector["hashDerivationModulo_unmasked"].values())
    fixed = item.drv.outputs.get("out")
    again = derivation.instantiate(
        name=item.drv.name,
        system=item.drv.system,
        builder=item.drv.builder,
        args=item.drv.args,
        env=item.drv.env,
        inputs={by_path[p]: names for p, names in item.drv.input_derivations.items()},
        sources=item.drv.input_sources,
        outputs=item.drv.env.get("outputs", "out").split(),
        fixed=fixed.fixed[1] if fixed is not None and fixed.fixed is not None else None,
        recursive=bool(fixed is not None and fixed.fixed is not None and fixed.fixed[0]),
    )
    assert again.content == item.content
    assert again.outputs == item.outputs


def test_a_derivation_whose_output_is_another_is_refused() -> None:
    vector = VECTORS["derivation"][0]
    out = vector["outputs"]["out"]
    forged = vector["aterm"].replace(out, "/nix/store/" + "0" * 32 + "-simple")
    drv = derivation.parse(forged.encode(), "simple")
    with pytest.raises(ValueError, match="not named by"):
        derivation.from_derivation(drv, StorePath.parse(vector["drvPath"]), {})


@pytest.mark.parametrize("cut", [1, 7, 60, -1])
def test_a_derivation_cut_short_is_refused(cut: int) -> None:
    text = VECTORS["derivation"][0]["aterm"]
    with pytest.raises(aterm.AtermError, match="offset"):
        derivation.parse(text[:cut].encode(), "simple")


@pytest.mark.parametrize("vector", VECTORS["signing"]["sigs"], ids=lambda v: v["path"][44:])
def test_fingerprints_and_signatures(vector: dict[str, Any]) -> None:
    info = PathInfo(
        path=StorePath.parse(vector["path"]),
        nar_hash=Hash.parse(vector["narHash"]),
        nar_size=vector["narSize"],
        references=frozenset(map(StorePath.parse, vector["references"])),
    )
    key = signature.parse_secret_key(VECTORS["signing"]["secret_key"])
    assert info.fingerprint == vector["fingerprint"]
    assert key.sign(info.fingerprint) == vector["sig"]
    assert str(key.public) == VECTORS["signing"]["public_key"]
    assert key.text == VECTORS["signing"]["secret_key"]
    signed = PathInfo(
        path=info.path,
        nar_hash=info.nar_hash,
        nar_size=info.nar_size,
        references=info.references,
        signatures=(vector["sig"],),
    )
    keys = signature.keyring([VECTORS["signing"]["public_key"]])
    assert signature.good_signatures(signed, keys) == ["vec-1"]
    other = PathInfo(path=info.path, nar_hash=info.nar_hash, nar_size=info.nar_size + 1, signatures=(vector["sig"],))
    assert signature.good_signatures(other, keys) == []


@pytest.mark.parametrize("vector", VECTORS["narinfo"], ids=lambda v: f"{v['nix']}-{v['compression']}-{len(v['text'])}")
def test_narinfo(vector: dict[str, Any]) -> None:
    assert parse_narinfo(vector["text"]).unparse() == vector["text"]
    if vector.get("ls"):
        path = str(parse_narinfo(vector["text"]).info.path)
        content = next(base64.b64decode(v["nar_base64"]) for v in VECTORS["signing"]["sigs"] if v["path"] == path)
        assert listing(iter([content])) == vector["ls"]["root"]


@pytest.mark.parametrize("vector", VECTORS["export"], ids=lambda v: v["path"][44:])
def test_export_trailers(vector: dict[str, Any]) -> None:
    content = base64.b64decode(vector["base64"])
    info = PathInfo(
        path=StorePath.parse(vector["path"]),
        nar_hash=Hash("sha256", bytes(32)),
        nar_size=1,
        references=frozenset(map(StorePath.parse, vector["references"])),
        deriver=StorePath.parse(vector["deriver"]) if vector["deriver"] else None,
    )
    tail = export.trailer(info) + bytes(8)
    assert content.endswith(tail)
    archive = content[8 : -len(tail)]
    assert list(parse(iter([archive])))


def test_listing_of_the_tree() -> None:
    root = listing(iter([base64.b64decode(NARS["tree"]["base64"])]))
    assert isinstance(root["entries"], dict)
    assert list(root["entries"]) == ["B", "a", "a.txt", "b", "emptydir", "é"]
    found = root["entries"]["a"]
    assert isinstance(found["narOffset"], int)
    assert base64.b64decode(NARS["tree"]["base64"])[found["narOffset"] :][:8] == b"12345678"
    assert root["entries"]["é"] == {"type": "regular", "size": 0}


@pytest.mark.parametrize("vector", VECTORS["auto_root"], ids=lambda v: v["indirect_link"])
def test_names_of_indirect_roots(vector: dict[str, str]) -> None:
    assert indirect_root_name(Path(vector["indirect_link"])) == vector["auto_name"]


def test_content_addressed_with_a_reference_to_itself() -> None:
    sigs = {v["path"]: v for v in VECTORS["signing"]["sigs"]}
    rewrites = VECTORS["make_content_addressed"]["2.8.0"]["rewrites"]
    old = next(p for p in rewrites if p.endswith("-multi-dev"))
    out = next(p for p in sigs[old]["references"] if p.endswith("-multi"))
    # Where its other reference had moved to is in the vectors' database.
    moved = {StorePath.parse(out): StorePath.parse("/nix/store/6z5qxhkqba9nc2xbrzxpsi1da7cgizmm-multi")}
    path, references = StorePath.parse(old), [StorePath.parse(r) for r in sigs[old]["references"]]
    assert path in references
    content = base64.b64decode(sigs[old]["nar_base64"])
    found = address(path, [content[:100], content[100:]], references, moved)
    assert str(found.path) == rewrites[old]
    # 2.17 to 2.34 forgot where the references to itself were; 2.35 does as 2.8 did, and so do we. What 2.26 made of it
    # shows that this is all that they differ in.
    (before, after), _own = found.rewrites
    zeroed = content.replace(before, after).replace(path.hash_part.encode(), bytes(32))
    forgetful = make_source_path(path.name, hash_bytes(zeroed), moved.values(), self_reference=True)
    assert str(forgetful) == VECTORS["make_content_addressed"]["2.26.3"]["rewrites"][old] != rewrites[old]
