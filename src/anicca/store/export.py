"""The export format: NARs in a row, each with its path, references and deriver (nix `export-import.cc`)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.events import Advanced, Finished, Started, ignore
from anicca.store.graph import topological
from anicca.store.hashes import Hash
from anicca.store.info import PathInfo
from anicca.store.nar_reader import ByteReader, NarError, read_nar
from anicca.store.path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anicca.events import Report
    from anicca.store.local import LocalStore

_NEXT = (1).to_bytes(8, "little")
_END = (0).to_bytes(8, "little")
_MARK = (0x4558494E).to_bytes(8, "little")
MAX_REFERENCES = 1 << 16


def _string(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(-len(raw) % 8)


def trailer(info: PathInfo) -> bytes:
    """What follows an object's NAR."""
    references = sorted(info.references)
    return b"".join(
        (
            _MARK,
            _string(str(info.path)),
            len(references).to_bytes(8, "little"),
            *(_string(str(r)) for r in references),
            _string("" if info.deriver is None else str(info.deriver)),
            _END,
        )
    )


def export(store: LocalStore, paths: Iterable[StorePath], *, report: Report = ignore) -> Iterator[bytes]:
    """Objects in the export format, each after what it refers to. AniccaError where one is damaged."""
    wanted = list(dict.fromkeys(paths))
    infos = store.infos(wanted)
    for path in wanted:
        if path not in infos:
            raise AniccaError(f"{path}: not valid in this store")
    report(Started(task="export", total=sum(infos[p].nar_size for p in wanted), unit="B"))
    done = 0
    for path in topological({p: infos[p].references for p in sorted(wanted)}):
        yield _NEXT
        state = sha256()
        for chunk in store.nar(path):
            state.update(chunk)
            yield chunk
            done += len(chunk)
            report(Advanced(task="export", done=done, note=path.name))
        if state.digest() != infos[path].nar_hash.digest:
            raise AniccaError(f"{path}: was modified since it was registered; it must not spread")
        yield trailer(infos[path])
    yield _END
    report(Finished(task="export"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trailer:
    path: StorePath
    references: frozenset[StorePath]
    deriver: StorePath | None


def import_(store: LocalStore, chunks: Iterator[bytes], *, report: Report = ignore) -> list[StorePath]:
    """Add all objects of an export; their paths in order. The format has no signatures: it must be trusted.

    An object's hash follows its content, so each is laid out first and registered when its name was read.
    """
    from anicca.store.canonical import set_tree_metadata  # noqa: PLC0415 (exporting needs none of it)
    from anicca.store.nar_restore import restore_events  # noqa: PLC0415

    reader = ByteReader(chunks)
    added: list[StorePath] = []
    report(Started(task="import", unit="objects"))
    while True:
        word = reader.exactly(8)
        if word == _END:
            report(Finished(task="import"))
            return added
        if word != _NEXT:
            raise NarError(reader.offset - 8, "neither another object nor the end of the export")
        with store.scratch() as directory:
            staged = directory / "object"
            tee = _Tee(reader)
            restore_events(read_nar(tee), staged)
            found = _trailer(reader)
            info = PathInfo(
                path=found.path,
                nar_hash=Hash("sha256", tee.state.digest()),
                nar_size=tee.size,
                references=found.references,
                deriver=found.deriver,
            )
            store.protect((info.path,))
            if not store.is_valid(info.path):
                set_tree_metadata(staged)
                store.install({info.path: staged}, [info], derivations=_outputs(info.path, staged.read_bytes))
            added.append(found.path)
            report(Advanced(task="import", done=len(added), note=found.path.name))


def _outputs(path: StorePath, read: object) -> dict[StorePath, dict[str, StorePath]]:
    if not path.is_derivation:
        return {}
    from anicca.store.derivation import parse  # noqa: PLC0415 (rare)

    assert callable(read)
    return {path: parse(read(), path.name.removesuffix(".drv")).output_paths}


class _Tee(ByteReader):
    """Reads on behalf of another reader, and hashes what it read."""

    def __init__(self, source: ByteReader) -> None:
        super().__init__(iter(()))
        self._source = source
        self.state = sha256()
        self.size = 0

    def exactly(self, size: int) -> bytes:
        return self._seen(self._source.exactly(size))

    def some(self, limit: int) -> bytes:
        return self._seen(self._source.some(limit))

    def _seen(self, raw: bytes) -> bytes:
        self.state.update(raw)
        self.size += len(raw)
        self.offset = self.size
        return raw


def _trailer(reader: ByteReader) -> _Trailer:
    start = reader.offset
    if reader.exactly(8) != _MARK:
        raise NarError(start, "no mark after an object")
    try:
        path = StorePath.parse(reader.string().decode())
        count = reader.number()
        if count > MAX_REFERENCES:
            raise NarError(start, f"{count} references")
        references = frozenset(StorePath.parse(reader.string().decode()) for _ in range(count))
        deriver = reader.string().decode()
        found = _Trailer(path=path, references=references, deriver=StorePath.parse(deriver) if deriver else None)
    except ValueError as error:
        raise NarError(start, str(error)) from error
    if reader.number() == 1:
        reader.string(1 << 16)  # An old kind of signature, which Nix passes over too.
    return found
