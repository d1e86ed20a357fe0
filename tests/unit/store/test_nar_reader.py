from collections.abc import Iterator

import pytest

from anicca.store import nar
from anicca.store.nar_reader import MAX_DEPTH, NarError, parse


def text(*words: bytes | int) -> bytes:
    parts = []
    for word in words:
        if isinstance(word, int):
            parts.append(word.to_bytes(8, "little"))
        else:
            parts.append(len(word).to_bytes(8, "little") + word + bytes(-len(word) % 8))
    return b"".join(parts)


HEAD = text(b"nix-archive-1", b"(", b"type")
FILE = text(b"(", b"type", b"regular", b"contents", b"x", b")")


def directory(*names: bytes, node: bytes = FILE) -> bytes:
    entries = b"".join(text(b"entry", b"(", b"name", name, b"node") + node + text(b")") for name in names)
    return HEAD + text(b"directory") + entries + text(b")")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends early"),
        (text(b"nix-archive-2"), "nix-archive-1"),
        (HEAD + text(b"fifo", b")"), "type b'fifo'"),
        (directory(b"."), "cannot be a file's name"),
        (directory(b".."), "cannot be a file's name"),
        (directory(b""), "cannot be a file's name"),
        (directory(b"a/b"), "cannot be a file's name"),
        (directory(b"a\0"), "cannot be a file's name"),
        (directory(b"b", b"a"), "not sorted, or twice"),
        (directory(b"a", b"a"), "not sorted, or twice"),
        (directory(b"n" * 256), "at most 255"),
        (HEAD + text(b"regular", b"contents", b"x")[:-1] + b"\1" + text(b")"), "padding"),
        (text(b"nix-archive-1")[:-1] + b"\1", "padding"),
        (HEAD + text(b"symlink", b"target", b"", b")"), "empty or has a NUL"),
        (HEAD + text(b"symlink", b"target", b"a\0b", b")"), "empty or has a NUL"),
        (HEAD + text(b"regular", b"contents", b"x", b")") + b"more", "after the end"),
        (HEAD + text(b"regular", b"executable", b"x", b"contents", b"x", b")"), "b'' was expected"),
        (HEAD + text(b"regular", b"contents", 1 << 60), "ends early"),
        (text(1 << 60), "at most"),
    ],
    ids=str,
)
def test_what_nix_refuses_is_refused_with_the_offset(content: bytes, reason: str) -> None:
    with pytest.raises(NarError, match=reason) as caught:
        list(parse(iter([content])))
    assert 0 <= caught.value.offset <= len(content)


def test_depth_is_bounded() -> None:
    node: nar.Node = nar.File(b"")
    for _ in range(MAX_DEPTH + 1):
        node = nar.Directory({b"d": node})
    with pytest.raises(NarError, match="deep"):
        list(parse(iter([nar.dump_bytes(node)])))


def test_a_file_is_streamed_not_gathered() -> None:
    size = 1 << 30
    piece = bytes(1 << 16)

    def chunks() -> Iterator[bytes]:
        yield HEAD + text(b"regular", b"contents", size)
        for _ in range(size // len(piece)):
            yield piece
        yield text(b")")

    assert len([0 for _ in parse(chunks())]) == 1 + size // len(piece)
