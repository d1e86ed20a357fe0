"""Binary caches over HTTP and from directories: honest ones, slow ones, broken ones, and those that lie."""

from __future__ import annotations

import lzma
import os
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import httpx
import pytest

from anicca import process
from anicca.errors import AniccaError
from anicca.events import Notice
from anicca.store import LocalStore, StorePath, instantiate, transport
from anicca.store.build import build
from anicca.store.cache import BinaryCache
from anicca.store.copying import copy, substitute
from anicca.store.hashes import Hash, hash_bytes
from anicca.store.info import PathInfo
from anicca.store.narinfo import NarInfo, parse_narinfo
from anicca.store.serve import CacheServer
from anicca.store.signature import SecretKey, generate, keyring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.store.conftest import Nix

    from anicca.events import Event
    from anicca.store import BuildContext, Instantiated

pytestmark = pytest.mark.integration


@pytest.fixture
def key() -> SecretKey:
    return generate("test-1")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[LocalStore]:
    with LocalStore.open(tmp_path / "source", durable=False) as opened:
        yield opened


def fill(source: LocalStore) -> StorePath:
    """A small closure that needs signatures."""

    def make(context: BuildContext) -> None:
        context.outputs["out"].mkdir()
        (context.outputs["out"] / "data").write_bytes(os.urandom(100_000))
        (context.outputs["out"] / "needs").write_text(context.env.get("needs", ""))

    a = instantiate(name="a", system="builtin", builder="builtin:make")
    b = instantiate(name="b", system="builtin", builder="builtin:make", inputs=[a], env={"needs": str(a.out)})
    build(source, [b], builders={"builtin:make": make})
    return b.out


def test_serving_and_substituting(source: LocalStore, store: LocalStore, key: SecretKey) -> None:
    path = fill(source)
    keys = keyring([str(key.public)])
    with CacheServer(source, keys=[key]) as server:
        cache = BinaryCache.open(server.url)
        missing = StorePath("0" * 32, "missing")
        assert substitute(store, [cache], [path, missing], keys=keys) == {path}
        assert cache.closure([path]) == source.closure([path])
    assert store.closure([path]) == source.closure([path])
    assert store.verify(check_contents=True) == []
    assert not store.info(path).ultimate
    assert store.info(path).signatures


def test_real_nix_takes_from_our_server(source: LocalStore, nix: Nix, key: SecretKey) -> None:
    path = fill(source)
    with CacheServer(source, keys=[key]) as server:
        there = nix.at(nix.root, NIX_CONFIG=f"trusted-public-keys = {key.public}")
        there("nix", "copy", "--from", server.url, str(path))
    nix("nix-store", "--verify", "--check-contents")
    assert str(path) in nix("nix", "path-info", "--all")


def test_nothing_is_taken_without_a_trusted_signature(source: LocalStore, store: LocalStore, key: SecretKey) -> None:
    path = fill(source)
    with CacheServer(source, keys=[key]) as server:
        cache = BinaryCache.open(server.url)
        for keys in (keyring([]), keyring([str(generate("test-1").public)])):
            with pytest.raises(AniccaError, match="lacks a signature"):
                copy(cache, store, [path], keys=keys)
            seen: list[Event] = []
            assert substitute(store, [cache], [path], keys=keys, report=seen.append) == set()
            assert any(isinstance(e, Notice) and "signature" in e.text for e in seen)
    assert store.all_valid() == []


def test_what_is_named_by_its_content_needs_no_signature(source: LocalStore, store: LocalStore) -> None:
    a = source.add_text("a", "a")
    b = source.add_text("b", f"{a}", [a])
    with CacheServer(source) as server:
        copy(BinaryCache.open(server.url), store, [b], keys=keyring([]))
    assert store.valid([a, b]) == {a, b}


def test_the_next_cache_is_asked(
    source: LocalStore, store: LocalStore, tmp_path: Path, key: SecretKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_WAIT_SECONDS", 0)
    path = fill(source)
    good = BinaryCache.open(f"file://{tmp_path}/good", compression="zstd", secret_key=key)
    copy(source, good, [path])
    bad = BinaryCache.open(f"file://{tmp_path}/bad", compression="none", secret_key=key)
    copy(source, bad, [path])
    for archive in (tmp_path / "bad" / "nar").iterdir():
        archive.write_bytes(archive.read_bytes()[:-8] + b"\1" * 8)
    nobody = BinaryCache.open("http://127.0.0.1:9")
    seen: list[Event] = []
    caches = [nobody, BinaryCache.open(f"file://{tmp_path}/bad"), BinaryCache.open(f"file://{tmp_path}/good")]
    assert substitute(store, caches, [path], keys=keyring([str(key.public)]), report=seen.append) == {path}
    texts = [e.text for e in seen if isinstance(e, Notice)]
    assert any("127.0.0.1:9" in text for text in texts)
    assert any("/bad" in text for text in texts)
    assert store.verify(check_contents=True) == []


def test_only_what_is_missing_is_sent(source: LocalStore, tmp_path: Path) -> None:
    path = fill(source)
    cache = BinaryCache.open(f"file://{tmp_path}/cache")
    assert set(copy(source, cache, [path])) == source.closure([path])
    assert copy(source, cache, [path]) == []
    another = source.add_text("x", f"{path}", [path])
    assert copy(source, BinaryCache.open(f"file://{tmp_path}/cache"), [another]) == [another]


def lie(file: Path, key: SecretKey, changes: dict[str, object]) -> None:
    """Change a narinfo, signed as it now is."""
    changes = dict(changes)
    entry = parse_narinfo(file.read_text())
    outer = {name: changes.pop(name) for name in ("url", "file_size", "file_hash", "compression") if name in changes}
    info = replace(entry.info, **changes)  # type: ignore[arg-type]
    info = replace(info, signatures=(key.sign(info.fingerprint),))
    file.write_text(replace(entry, info=info, **outer).unparse())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nar_size": 7}, "more than"),
        ({"nar_size": 1 << 40}, "instead of"),
        ({"nar_hash": Hash("sha256", bytes(32))}, "has hash"),
        ({"file_size": 5}, "more than"),
        ({"file_size": 1 << 40}, "instead of"),
        ({"file_hash": Hash("sha256", bytes(32))}, "has hash"),
        ({"url": "../../../etc/passwd"}, "out of the cache"),
        ({"url": "nar/missing"}, "No such file"),
        ({"compression": "xz"}, "damaged xz"),
        ({"compression": "magic"}, "not a compression"),
        ({"references": frozenset([StorePath("0" * 32, "none")])}, "not in the store that it is to be copied from"),
        ({"path": StorePath("0" * 32, "other")}, "is about"),
    ],
    ids=str,
)
def test_lies_are_seen_even_signed_ones(  # noqa: PLR0917 (fixtures)
    source: LocalStore, store: LocalStore, tmp_path: Path, key: SecretKey, changes: dict[str, object], reason: str
) -> None:
    path = source.add_text("x", "x" * 1000)
    copy(source, BinaryCache.open(f"file://{tmp_path}/cache", compression="none"), [path])
    lie(tmp_path / "cache" / f"{path.hash_part}.narinfo", key, changes)
    with pytest.raises(AniccaError, match=reason):
        copy(BinaryCache.open(f"file://{tmp_path}/cache"), store, [path], keys=keyring([str(key.public)]))
    assert store.all_valid() == []
    store.close()
    assert {p.name for p in store.store_dir.iterdir()} == {".links"}


BOMB = """
import sys
from pathlib import Path
from anicca.errors import AniccaError
from anicca.store import LocalStore, StorePath
from anicca.store.cache import BinaryCache
from anicca.store.copying import copy
with LocalStore.open(Path(sys.argv[1]), durable=False) as store:
    try:
        copy(BinaryCache.open(sys.argv[2]), store, [StorePath.parse(sys.argv[3])])
    except AniccaError as error:
        print(error)
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def limited(root: Path, url: str, path: StorePath) -> tuple[str, int]:
    """The error and the peak of memory, in MB, of a process that copies from a hostile cache."""
    done = process.run([sys.executable, "-c", BOMB, root, url, str(path)], timeout_seconds=60)
    *error, peak = done.text.splitlines()
    return " ".join(error), int(peak)


@pytest.mark.parametrize("size", [1000, 1 << 40])
def test_a_bomb_does_not_go_off(root: Path, tmp_path: Path, size: int) -> None:
    directory = tmp_path / "cache"
    (directory / "nar").mkdir(parents=True)
    (directory / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    path = StorePath("0" * 32, "bomb")
    head = b"".join(
        len(w).to_bytes(8, "little") + w + bytes(-len(w) % 8)
        for w in (b"nix-archive-1", b"(", b"type", b"symlink", b"target")
    )
    packed = lzma.compress(head + (1 << 40).to_bytes(8, "little") + bytes(300_000_000), preset=0)
    (directory / "nar" / "x").write_bytes(packed)
    info = PathInfo(path=path, nar_hash=hash_bytes(b""), nar_size=size)
    (directory / f"{'0' * 32}.narinfo").write_text(NarInfo(info=info, url="nar/x", compression="xz").unparse())
    error, peak = limited(root, f"file://{directory}", path)
    assert "more than" in error or "not a valid NAR" in error
    assert peak < 200


class Endless(BaseHTTPRequestHandler):
    """Sends zeros for ever, whatever is asked."""

    protocol_version = "HTTP/1.0"
    narinfo = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if self.path.endswith(".narinfo") and self.narinfo:
            self.wfile.write(self.narinfo)
            return
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.mark.parametrize("what", ["narinfo", "nar"])
def test_a_cache_that_never_ends(root: Path, what: str) -> None:
    path = StorePath("0" * 32, "endless")
    info = PathInfo(path=path, nar_hash=hash_bytes(b""), nar_size=10_000_000)
    narinfo = NarInfo(info=info, url="nar/x", compression="none").unparse().encode() if what == "nar" else b""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Endless,), {"narinfo": narinfo}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        error, peak = limited(root, f"http://127.0.0.1:{server.server_port}", path)
    finally:
        server.shutdown()
        server.server_close()
    assert error
    assert peak < 200


class Broken(BaseHTTPRequestHandler):
    """Breaks every connection after some bytes, but lets one go on from there."""

    protocol_version = "HTTP/1.0"
    files: dict[str, bytes] = {}  # noqa: RUF012 (replaced for each test)
    asked: list[str] = []  # noqa: RUF012 (as above)

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.asked.append(f"{self.path} {wanted}")
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : first + 60_000])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_a_broken_connection_is_taken_up_where_it_broke(source: LocalStore, store: LocalStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(150_000))
    path = source.add_path("file", file)
    copy(source, BinaryCache.open(f"file://{tmp_path}/cache", compression="none"), [path])
    files = {
        f"/{p.relative_to(tmp_path / 'cache')}": p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file()
    }
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Broken,), {"files": files, "asked": asked}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        copy(BinaryCache.open(f"http://127.0.0.1:{server.server_port}"), store, [path])
    finally:
        server.shutdown()
        server.server_close()
    assert [line.split()[1] for line in asked if "/nar/" in line] == ["None", "bytes=60000-", "bytes=120000-"]
    assert store.verify(check_contents=True) == []


@pytest.mark.parametrize(
    "size",
    [pytest.param(600_000_000, id="large"), pytest.param(5_000_000_000, id="huge", marks=pytest.mark.nightly)],
)
def test_a_large_file_takes_little_memory(root: Path, tmp_path: Path, size: int) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(size)
    program = (
        "import sys\nfrom pathlib import Path\nfrom anicca.store import LocalStore\n"
        "from anicca.store.nar import restore\n"
        "with LocalStore.open(Path(sys.argv[1]), durable=False) as store:\n"
        "    path = store.add_path('big', Path(sys.argv[2]))\n"
        "    restore(store.nar(path), Path(sys.argv[2] + '-again'))\n"
        "print(next(int(line.split()[1]) // 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    done = process.run([sys.executable, "-c", program, root, big], timeout_seconds=900)
    assert int(done.text) < 100
    assert (tmp_path / "big-again").stat().st_size == size


def test_fetchurl_goes_on_where_it_broke(store: LocalStore) -> None:
    content = os.urandom(150_000)
    asked: list[str] = []
    handler = type("Handler", (Broken,), {"files": {"/file": content}, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"

    def fetch(name: str) -> Instantiated:
        return instantiate(
            name=name,
            system="builtin",
            builder="builtin:fetchurl",
            env={"url": f"{url}/{name}"},
            fixed=hash_bytes(content),
        )

    try:
        item = fetch("file")
        build(store, [item])
        with pytest.raises(AniccaError, match="404"):
            build(store, [fetch("missing")])
    finally:
        server.shutdown()
        server.server_close()
    assert store.physical(item.out).read_bytes() == content
    assert [line.split()[1] for line in asked] == ["None", "bytes=60000-", "bytes=120000-"]


def test_the_server_s_other_pages(source: LocalStore) -> None:
    path = fill(source)
    deriver = source.info(path).deriver
    assert deriver is not None
    with CacheServer(source) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/nix-cache-info").text.startswith("StoreDir: /nix/store\n")
        listing = client.get(f"/{path.hash_part}.ls").json()
        assert listing["root"]["entries"]["data"]["size"] == 100_000
        narinfo = parse_narinfo(client.get(f"/{path.hash_part}.narinfo").text)
        whole = client.get(f"/{narinfo.url}").content
        assert whole == b"".join(source.nar(path))
        assert client.get(f"/{narinfo.url}", headers={"Range": "bytes=1000-"}).content == whole[1000:]
        assert client.head(f"/{narinfo.url}").headers["Content-Length"] == str(len(whole))
        assert client.get(f"/log/{deriver.basename}").status_code == 200
        for missing in ("/x", "/../etc/passwd", f"/{'0' * 32}.narinfo", f"/log/{'0' * 32}-x.drv", "/nar/x.nar"):
            assert client.get(missing).status_code == 404
