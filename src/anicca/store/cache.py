"""Binary caches: objects as compressed NARs with narinfo files, in a directory or on a web server."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from anicca.errors import AniccaError
from anicca.store.compression import compress, decompress
from anicca.store.hashes import Hash
from anicca.store.narinfo import EXTENSIONS, MAX_BYTES, NarInfo, parse_narinfo
from anicca.store.transport import open_transport

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from anicca.store.info import PathInfo
    from anicca.store.path import StorePath
    from anicca.store.signature import SecretKey

_LOOKUPS = 16
"""Narinfo files asked for at once."""
_SLACK_BYTES = 1 << 16


class BinaryCache:
    """A cache, with the same questions and the same way to add as `LocalStore`."""

    def __init__(
        self, url: str, *, compression: str = "xz", secret_key: SecretKey | None = None, listings: bool = False
    ) -> None:
        if compression not in EXTENSIONS:
            raise AniccaError(f"{compression!r}: not a compression", hint="none, xz, bzip2 or zstd")
        self._transport = open_transport(url)
        self._compression = compression
        self._secret_key = secret_key
        self._listings = listings
        self._known: dict[StorePath, NarInfo | None] = {}
        self._checked = False
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, url: str, *, compression: str = "xz", secret_key: SecretKey | None = None, listings: bool = False
    ) -> Self:
        """The cache at `file://…`, `http://…` or `https://…`.

        What is added is compressed, signed if there is a key and, with `listings`, has a list of what it holds beside
        it (`.ls`), for those who look into archives without fetching them.
        """
        return cls(url, compression=compression, secret_key=secret_key, listings=listings)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._transport.url

    def _check(self) -> None:
        """Refuse a cache of another store directory."""
        if self._checked:
            return
        text = self._transport.text("nix-cache-info", MAX_BYTES) or ""
        for line in text.splitlines():
            name, _colon, value = line.partition(":")
            if name == "StoreDir" and value.strip() != "/nix/store":
                raise AniccaError(f"{self.url}: is a cache of {value.strip()}, not of /nix/store")
        self._checked = True

    def find(self, path: StorePath) -> NarInfo | None:
        """What the cache says of `path`; None if it has none. AniccaError if it talks nonsense."""
        if path not in self._known:
            self._check()
            name = f"{path.hash_part}.narinfo"
            text = self._transport.text(name, MAX_BYTES)
            found = None if text is None else parse_narinfo(text, f"{self.url}/{name}")
            if found is not None and found.info.path != path:
                raise AniccaError(f"{self.url}/{name}: is about {found.info.path}, not {path}")
            self._known[path] = found
        return self._known[path]

    def infos(self, paths: Collection[StorePath]) -> dict[StorePath, PathInfo]:
        """What is known of those of `paths` that the cache has."""
        with ThreadPoolExecutor(_LOOKUPS) as pool:
            return {n.info.path: n.info for n in pool.map(self.find, paths) if n is not None}

    def info(self, path: StorePath) -> PathInfo:
        """What is known of an object; AniccaError if the cache has none."""
        found = self.find(path)
        if found is None:
            raise AniccaError(f"{path}: not in {self.url}")
        return found.info

    def valid(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """Those of `paths` that the cache has."""
        return set(self.infos(list(paths)))

    def is_valid(self, path: StorePath) -> bool:
        """Whether the cache has the object."""
        return self.find(path) is not None

    def closure(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """`paths` and all that they refer to. AniccaError if one is missing."""
        found: set[StorePath] = set()
        level = set(paths)
        while level:
            infos = self.infos(sorted(level))
            missing = level - infos.keys()
            if missing:
                raise AniccaError(f"{min(missing)}: not in {self.url}")
            found |= level
            level = {r for info in infos.values() for r in info.references} - found
        return found

    def nar(self, path: StorePath) -> Iterator[bytes]:
        """The NAR of an object, in chunks. AniccaError if the archive is not what the narinfo says."""
        found = self.find(path)
        if found is None:
            raise AniccaError(f"{path}: not in {self.url}")
        return decompress(found.compression, self._archive(found))

    def _archive(self, found: NarInfo) -> Iterator[bytes]:
        """The compressed bytes, no more than there should be, their hash checked where one is given."""
        # No compression makes a NAR much larger, so a stream that goes on and on is cut off.
        limit = found.file_size if found.file_size is not None else found.info.nar_size * 2 + _SLACK_BYTES
        state = sha256()
        size = 0
        for chunk in self._transport.chunks(found.url):
            size += len(chunk)
            if size > limit:
                raise AniccaError(f"{self.url}/{found.url}: more than the {limit} bytes that it should have")
            state.update(chunk)
            yield chunk
        if found.file_size is not None and size != found.file_size:
            raise AniccaError(f"{self.url}/{found.url}: {size} bytes instead of {found.file_size}")
        if found.file_hash is not None and found.file_hash.algorithm == "sha256":
            got = Hash("sha256", state.digest())
            if got != found.file_hash:
                raise AniccaError(f"{self.url}/{found.url}: has hash {got} instead of {found.file_hash}")

    def add_nar(self, info: PathInfo, chunks: Iterator[bytes]) -> None:
        """Put an object into the cache, its archive first, then its narinfo; signed if there is a key."""
        with self._lock:
            if self._transport.text("nix-cache-info", MAX_BYTES) is None:
                self._transport.put("nix-cache-info", b"StoreDir: /nix/store\n")
        nar = _Counted(chunks)
        archive = _Counted(compress(self._compression, nar.pass_on()))
        staged = self._transport.put_chunks(archive.pass_on())
        if nar.hash != info.nar_hash or nar.size != info.nar_size:
            staged.unlink()
            raise AniccaError(f"{info.path}: has hash {nar.hash} instead of {info.nar_hash}; it must not spread")
        name = f"nar/{archive.hash.nix32}.nar{EXTENSIONS[self._compression]}"
        self._transport.name_it(staged, name)
        signed = info
        if self._secret_key is not None:
            signature = self._secret_key.sign(info.fingerprint)
            signed = replace(info, signatures=tuple(dict.fromkeys((*info.signatures, signature))))
        entry = NarInfo(
            info=signed,
            url=name,
            compression=self._compression,
            file_hash=archive.hash,
            file_size=archive.size,
        )
        if self._listings:
            self._put_listing(info.path, name)
        self._transport.put(f"{info.path.hash_part}.narinfo", entry.unparse().encode())
        self._known[info.path] = entry

    def _put_listing(self, path: StorePath, archive: str) -> None:
        """Made from the archive as it was written, so that its offsets hold."""
        import json  # noqa: PLC0415 (where asked for)

        from anicca.store.nar import listing  # noqa: PLC0415

        root = listing(decompress(self._compression, self._transport.chunks(archive)))
        text = json.dumps({"root": root, "version": 1}, separators=(",", ":"), sort_keys=True)
        self._transport.put(f"{path.hash_part}.ls", text.encode("utf-8", "surrogateescape"))


class _Counted:
    """Chunks on their way, hashed and counted."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._state = sha256()
        self.size = 0

    def pass_on(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._state.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def hash(self) -> Hash:
        return Hash("sha256", self._state.digest())
