"""Codecs give back what they were given, and refuse by their own errors whatever else comes."""

import contextlib
import string
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from anicca.errors import AniccaError
from anicca.store import aterm, base32, derivation, nar, nar_fill
from anicca.store.addressed import rewrite
from anicca.store.compression import compress, decompress
from anicca.store.derivation import Derivation, Output
from anicca.store.hashes import SIZES, Hash
from anicca.store.info import PathInfo
from anicca.store.nar_reader import Chunk, DirectoryEnd, DirectoryStart, LinkSeen, NarError, RegularStart, parse
from anicca.store.narinfo import NarInfo, parse_narinfo
from anicca.store.path import StorePath
from anicca.store.registration import dump_registration, parse_registration

NAME = string.ascii_letters + string.digits + "+-._?="
names = st.text(NAME, min_size=1, max_size=20).filter(lambda n: not n.startswith("."))
parts = st.text(base32.ALPHABET, min_size=32, max_size=32)
paths = st.builds(StorePath, parts, names)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
file_names = st.binary(min_size=1, max_size=12).filter(lambda n: n not in (b".", b"..") and not set(n) & {0, 47})
nodes: st.SearchStrategy[nar.Node] = st.recursive(
    st.builds(nar.File, st.binary(max_size=100), st.booleans())
    | st.builds(nar.Symlink, st.binary(min_size=1, max_size=30).filter(lambda t: 0 not in t)),
    lambda children: st.builds(nar.Directory, st.dictionaries(file_names, children, max_size=4)),
    max_leaves=12,
)
hashes = st.sampled_from(sorted(SIZES)).flatmap(
    lambda a: st.builds(Hash, st.just(a), st.binary(min_size=SIZES[a], max_size=SIZES[a]))
)
sha256s = st.builds(Hash, st.just("sha256"), st.binary(min_size=32, max_size=32))
outputs = st.dictionaries(names, st.builds(lambda p: Output(str(p)), paths), min_size=1, max_size=3) | st.builds(
    lambda p, h, r: {"out": Output(str(p), ("r:" if r else "") + h.algorithm, h.hex)}, paths, hashes, st.booleans()
)
derivations = st.builds(
    Derivation,
    name=st.just("n"),
    system=texts,
    builder=texts,
    args=st.lists(texts, max_size=3).map(tuple),
    env=st.dictionaries(texts, texts, max_size=5),
    input_sources=st.frozensets(paths, max_size=3),
    input_derivations=st.dictionaries(paths, st.frozensets(names, max_size=2), max_size=3),
    outputs=outputs,
)
infos = st.builds(
    PathInfo,
    path=paths,
    nar_hash=sha256s,
    nar_size=st.integers(1, 1 << 40),
    references=st.frozensets(paths, max_size=3),
    deriver=st.none() | paths,
)


def rebuilt(chunks: list[bytes]) -> nar.Node:
    stack: list[dict[bytes, nar.Node]] = [{}]
    path: tuple[bytes, ...] = ()
    content = b""
    start: RegularStart | None = None

    def close() -> None:
        nonlocal start, content
        if start is not None:
            stack[-1][start.path[-1] if start.path else b""] = nar.File(content, start.executable)
        start, content = None, b""

    for event in parse(iter(chunks)):
        if not isinstance(event, Chunk):
            close()
        match event:
            case RegularStart():
                start = event
            case Chunk():
                content += event.content
            case LinkSeen():
                stack[-1][event.path[-1] if event.path else b""] = nar.Symlink(event.target)
            case DirectoryStart():
                stack.append({})
            case DirectoryEnd():
                path = event.path
                made = nar.Directory(stack.pop())
                stack[-1][path[-1] if path else b""] = made
    close()
    return stack[0][b""]


@given(nodes, st.integers(1, 50))
def test_nar(node: nar.Node, size: int) -> None:
    content = nar.dump_bytes(node)
    assert rebuilt([content[n : n + size] for n in range(0, len(content), size)]) == node


@given(nodes, st.data())
def test_a_damaged_nar_is_refused_or_another_tree(node: nar.Node, data: st.DataObject) -> None:
    content = bytearray(nar.dump_bytes(node))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    offset = 0
    try:
        assert rebuilt([bytes(content)]) != node
    except NarError as error:
        offset = error.offset
    assert 0 <= offset <= len(content)


@given(st.binary(max_size=300))
def test_any_bytes_after_the_magic(tail: bytes) -> None:
    with contextlib.suppress(NarError):
        list(parse(iter([nar_fill.MAGIC + tail])))


@given(st.binary(max_size=70))
def test_base32(raw: bytes) -> None:
    assert base32.decode(base32.encode(raw), len(raw)) == raw


@given(hashes)
def test_hash_spellings(found: Hash) -> None:
    assert Hash.parse(str(found)) == Hash.parse(found.sri) == Hash.parse(f"{found.algorithm}:{found.hex}") == found


@given(derivations)
def test_derivation(drv: Derivation) -> None:
    assert derivation.parse(derivation.unparse(drv), "n") == drv


@given(derivations, st.data())
def test_a_damaged_derivation(drv: Derivation, data: st.DataObject) -> None:
    content = bytearray(derivation.unparse(drv))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(aterm.AtermError):
        derivation.parse(bytes(content), "n")


@given(infos, st.lists(st.builds(lambda n: f"{n}:AAAA", names), max_size=2))
def test_narinfo(info: PathInfo, signatures: list[str]) -> None:
    entry = NarInfo(info=replace(info, signatures=tuple(signatures)), url="nar/x.nar", compression="none")
    assert parse_narinfo(entry.unparse()) == entry


@given(st.text(max_size=300))
def test_any_text_as_narinfo(text: str) -> None:
    with contextlib.suppress(AniccaError):
        parse_narinfo(text)


@given(st.lists(infos, max_size=4))
def test_registration(some: list[PathInfo]) -> None:
    assert list(parse_registration(dump_registration(some))) == some


@given(
    st.lists(st.binary(max_size=200), max_size=5), st.sampled_from(["none", "xz", "bzip2", "zstd"]), st.integers(1, 40)
)
@settings(deadline=None)
def test_compression(chunks: list[bytes], method: str, size: int) -> None:
    packed = b"".join(compress(method, iter(chunks)))
    pieces = [packed[n : n + size] for n in range(0, len(packed), size)]
    assert b"".join(decompress(method, iter(pieces))) == b"".join(chunks)


@given(st.binary(max_size=300), st.sampled_from(["xz", "bzip2", "zstd", "gzip"]))
def test_any_bytes_as_compressed(raw: bytes, method: str) -> None:
    with contextlib.suppress(AniccaError):
        list(decompress(method, iter([raw])))


@given(st.lists(st.sampled_from([b"x" * 7, b"0" * 32, b"1" * 32, b"ab"]), max_size=20), st.integers(1, 70))
def test_rewriting_across_borders(words: list[bytes], size: int) -> None:
    text = b"-".join(words)
    pieces = [text[n : n + size] for n in range(0, len(text), size)]
    assert b"".join(rewrite(pieces, [(b"0" * 32, b"2" * 32)])) == text.replace(b"0" * 32, b"2" * 32)
