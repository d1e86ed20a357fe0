"""`anicca store` prints what `nix-store` prints, takes its short names, and leaves other things alone."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from tests.integration.store.trixie import BOTH

from anicca import process
from anicca.store import LocalStore, instantiate
from anicca.store.build import build

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.store.conftest import Nix

    from anicca.store import Instantiated

pytestmark = pytest.mark.integration


def run(root: Path, *words: str | Path, stdin: bytes | None = None, status: int = 0) -> bytes:
    done = process.run(
        [sys.executable, "-m", "anicca", "--store", root, *words],
        stdin=stdin,
        check=False,
        env={**os.environ, "TERM": "dumb"},
    )
    assert done.status == status, done.stderr.decode()
    return done.stdout


def ours(root: Path, *words: str | Path, stdin: bytes | None = None) -> str:
    return run(root, "store", *words, stdin=stdin).decode()


@pytest.fixture
def items(store: LocalStore) -> dict[str, Instantiated]:
    a = instantiate(name="a", system="x86_64-linux", builder="/bin/sh", args=["-c", "echo a > $out; echo said"])
    b = instantiate(
        name="b",
        system="x86_64-linux",
        builder="/bin/sh",
        args=["-c", f"echo {a.out} > $out; echo $out {a.out} > $dev"],
        env={"v": "value", "w": 'it\'s $x\n"é"'},
        inputs=[a],
        outputs=("out", "dev"),
    )
    build(store, [b])
    store.add_root("b", b.outputs["dev"])
    store.close()
    return {"a": a, "b": b}


@BOTH
def test_queries_print_what_nix_store_prints(nix: Nix, items: dict[str, Instantiated], root: Path) -> None:
    a, b = items["a"], items["b"]
    dev = str(b.outputs["dev"])
    for words in (
        ["-q", "--references", dev],
        ["-q", "--requisites", dev],
        ["-qR", dev],
        ["-qR", str(b.path)],
        ["-q", "--referrers", str(a.out)],
        ["-q", "--referrers-closure", str(a.out)],
        ["-q", "--deriver", dev, str(a.out)],
        ["-q", "--outputs", str(b.path)],
        ["-q", "--hash", dev, str(a.out)],
        ["-q", "--size", dev],
        ["-q", "--binding", "v", str(b.path)],
        ["-q", "--roots", str(a.out)],
        ["-q", "--tree", dev],
        ["-qR", "--include-outputs", str(b.path)],
        ["--gc", "--print-roots"],
        ["--gc", "--print-live"],
        ["--gc", "--print-dead"],
        ["--check-validity", dev],
        ["--check-validity", "--print-invalid", dev, f"/nix/store/{'0' * 32}-x"],
        ["--dump-db"],
        ["--print-env", str(b.path)],
        ["-r", str(b.path)],
        ["--verify"],
        ["--verify-path", dev],
        ["-l", str(a.path)],
    ):
        theirs = nix("nix-store", *words)
        mine = ours(root, *words)
        if words[0] == "--print-env":
            # 2.26 ends each line twice, by mistake.
            theirs = theirs.replace("\n\nexport ", "\nexport ").rstrip("\n") + "\n"
        if words[0] == "--gc" or words[:2] == ["-qR", "--include-outputs"] or "--referrers" in words[1:2]:
            assert sorted(mine.splitlines()) == sorted(theirs.splitlines()), words
        else:
            assert mine == theirs, words


@BOTH
def test_dump_restore_export_import(nix: Nix, items: dict[str, Instantiated], root: Path, tmp_path: Path) -> None:
    out = items["a"].out
    physical = root / "nix" / "store" / out.basename
    assert run(root, "store", "--dump", physical) == nix.raw("nix-store", "--dump", physical)
    run(root, "store", "--restore", tmp_path / "x", stdin=nix.raw("nix-store", "--dump", physical))
    assert (tmp_path / "x").read_text() == "a\n"
    run(root, "store", "restore", tmp_path / "x", stdin=b"", status=2)
    content = run(root, "store", "--export", str(out))
    assert content == nix.raw("nix-store", "--export", str(out))
    assert ours(tmp_path / "second", "--import", stdin=content).split() == [str(out)]
    assert ours(root, "hash", "--base32", physical).strip() in ours(root, "-q", "--hash", str(out))


@BOTH
def test_add_delete_gc(nix: Nix, root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    path = ours(root, "--add", tmp_path / "file").strip()
    assert nix("nix-store", "--add", tmp_path / "file").strip() == path
    fixed = ours(root, "--add-fixed", "sha1", tmp_path / "file").strip()
    assert nix("nix-store", "--add-fixed", "sha1", tmp_path / "file").strip() == fixed
    ours(root, "root", "kept", path)
    run(root, "store", "--delete", path, status=1)
    assert ours(root, "--delete", fixed).startswith("1 store paths deleted, ")
    assert ours(root, "--gc").startswith("0 store paths deleted, ")
    assert ours(root, "cat", path) == "content"
    assert ours(root, "add", "--link-equal", "--name", "again", tmp_path / "file").strip() != path
    assert len(list((root / "nix/store/.links").iterdir())) == 1
    text = ours(root, "add-text", "t", "--reference", path, stdin=b"text").strip()
    assert ours(root, "-q", "--references", text).strip() == path


@BOTH
def test_what_changes_the_store_has_nix_store_s_names_too(nix: Nix, items: dict[str, Instantiated], root: Path) -> None:
    b = items["b"]
    dev, drv = b.outputs["dev"], str(b.path)
    assert ours(root, "--realise", drv) == ours(root, "--realize", drv) == nix("nix-store", "--realise", drv)
    assert ours(root, "--read-log", str(items["a"].out)) == "said\n"
    assert ours(root, "--query", "--references", str(dev)) == nix("nix-store", "--query", "--references", str(dev))
    for verb in ("--optimise", "--optimize"):
        assert ours(root, verb).endswith("files\n")
    # A database that is lost, and loaded again by each from what the other dumped.
    text = nix("nix-store", "--dump-db")
    shutil.rmtree(root / "nix/var/nix/db")
    nix("nix-store", "--init")
    ours(root, "--load-db", stdin=text.encode())
    assert ours(root, "--dump-db") == text
    shutil.rmtree(root / "nix/var/nix/db")
    nix("nix-store", "--load-db", stdin=text.encode())
    assert ours(root, "--dump-db") == text
    # Registered without a hash, which is taken of what lies there. (Nix takes it of what lies in `/nix/store` itself.)
    copy = root / "nix/store" / f"{'0' * 32}-copy"
    copy.write_text("copy")
    text = f"{'/nix/store/' + copy.name}\n\n1\n{items['a'].out}\n"
    ours(root, "--register-validity", stdin=text.encode())
    assert ours(root, "-q", "--references", f"/nix/store/{copy.name}").split() == [str(items["a"].out)]
    assert nix("nix-store", "--verify", "--check-contents") == ""


def test_damage_is_repaired_from_a_cache_and_by_building(
    items: dict[str, Instantiated], root: Path, tmp_path: Path
) -> None:
    built = items["a"].out
    text = ours(root, "add-text", "t", stdin=b"whole").strip()
    cache = f"file://{tmp_path}/cache"
    ours(root, "copy", "--to", cache, text)
    files = [root / "nix/store" / built.basename, root / text[1:]]
    for words in (["--verify", "--check-contents", "--repair"], ["--repair-path", str(built), text]):
        for file in files:
            file.chmod(0o644)
            file.write_text("damaged")
        run(root, "store", "verify", "--check-contents", status=1)
        run(root, "store", *words, status=1)
        ours(root, *words, "--substituter", cache)
        assert [file.read_text() for file in files] == ["a\n", "whole"]
        assert ours(root, "verify", "--check-contents") == ""


def test_json_on_everything_that_prints(items: dict[str, Instantiated], root: Path) -> None:
    dev = str(items["b"].outputs["dev"])
    for words in (
        ["query", "--references", dev],
        ["path-info", "-r", "-S", dev],
        ["gc", "--print-live"],
        ["gc", "--print-roots"],
        ["verify"],
        ["ls", dev],
        ["hash", root / "nix" / "store" / items["a"].out.basename],
        ["dump-db"],
        ["print-env", str(items["b"].path)],
        ["optimise"],
        ["gc"],
    ):
        json.loads(run(root, "--json", "store", *words))
    a = items["a"]
    assert json.loads(run(root, "--json", "store", "log", str(a.out))) == {str(a.path): "said\n"}
    assert json.loads(run(root, "--json", "store", "cat", str(a.out))) == {"text": "a\n"}
    (root / "raw").write_bytes(b"\xff")
    raw = ours(root, "add", root / "raw").strip()
    assert json.loads(run(root, "--json", "store", "cat", raw)) == {"base64": "/w=="}
    made = json.loads(run(root, "--json", "store", "key", "k-1", root / "secret", root / "public"))
    assert made == {"public": (root / "public").read_text(), "secret_file": str(root / "secret")}
    shown = json.loads(run(root, "store", "show-derivation", "-r", str(items["b"].path)))
    assert set(shown) == {str(items["a"].path), str(items["b"].path)}


def test_copy_sign_and_keys(items: dict[str, Instantiated], root: Path, tmp_path: Path) -> None:
    dev = str(items["b"].outputs["dev"])
    ours(root, "--generate-binary-cache-key", "k-1", tmp_path / "secret", tmp_path / "public")
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0
    public = (tmp_path / "public").read_text()
    assert dev in ours(root, "sign", "-r", "-k", tmp_path / "secret", dev).split()
    run(root, "store", "verify-path", "--trusted-key", public, str(items["a"].out), status=0)
    other = f"other-1:{public.split(':')[1]}"
    run(root, "store", "verify-path", "--trusted-key", other, str(items["a"].out), status=1)
    assert ours(root, "verify-path", "--trusted-key", other, str(items["a"].path)) == ""
    sent = ours(root, "copy", "--to", f"file://{tmp_path}/cache", dev).split()
    assert sorted(sent) == sorted(ours(root, "-qR", dev).split())
    second = tmp_path / "second"
    run(second, "store", "copy", "--from", f"file://{tmp_path}/cache", dev, status=1)
    ours(second, "copy", "--from", f"file://{tmp_path}/cache", "--trusted-key", public, dev)
    assert ours(second, "verify", "--check-contents") == ""
    third = tmp_path / "third"
    ours(third, "realise", "--substituter", f"file://{tmp_path}/cache", "--trusted-key", public, dev)
    assert ours(third, "-qR", dev) == ours(root, "-qR", dev)
    fourth = tmp_path / "fourth"
    ours(root, "copy", "--to", fourth, dev)
    assert ours(fourth, "-qR", dev) == ours(root, "-qR", dev)


def test_profiles(items: dict[str, Instantiated], root: Path) -> None:
    a, dev = str(items["a"].out), str(items["b"].outputs["dev"])
    assert ours(root, "profile", "set", "p", a).strip() == "1"
    assert ours(root, "profile", "set", "p", dev).strip() == "2"
    assert ours(root, "profile", "set", "p", dev).strip() == "2"
    profile = root / "nix" / "var" / "nix" / "profiles" / "p"
    assert str(profile.readlink()) == "p-2-link"
    assert str(profile.with_name("p-2-link").readlink()) == dev
    assert ours(root, "profile", "rollback", "p").strip() == "1"
    run(root, "store", "profile", "rollback", "p", status=1)
    assert "(current)" in ours(root, "profile", "list", "p").splitlines()[0]
    run(root, "store", "profile", "delete", "p", "1", status=1)
    assert ours(root, "profile", "delete", "p", "old").strip() == "2"
    assert ours(root, "profile", "set", "p", dev).strip() == "2"


def test_failures_have_a_status_and_say_what_to_do(root: Path, tmp_path: Path) -> None:
    run(root, "store", "-q", "--references", f"/nix/store/{'0' * 32}-x", status=1)
    run(root, "store", "-q", "--references", str(tmp_path), status=2)
    run(root, "store", "-q", status=2)
    run(root, "store", "nonsense", status=2)
