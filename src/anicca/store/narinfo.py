"""narinfo files: what a binary cache says of an object (nix `nar-info.cc`)."""

from __future__ import annotations

from dataclasses import dataclass

from anicca.errors import AniccaError
from anicca.store.hashes import Hash
from anicca.store.info import PathInfo
from anicca.store.path import StorePath

MAX_BYTES = 1 << 20
"""No narinfo is longer; one with 10,000 references would still fit."""
EXTENSIONS = {"none": "", "xz": ".xz", "bzip2": ".bz2", "zstd": ".zst", "gzip": ".gz"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NarInfo:
    """An object and where its archive is: `url` is relative to the cache."""

    info: PathInfo
    url: str
    compression: str = "bzip2"
    file_hash: Hash | None = None
    file_size: int | None = None

    def unparse(self) -> str:
        """The file, as Nix writes it."""
        info = self.info
        lines = [f"StorePath: {info.path}", f"URL: {self.url}", f"Compression: {self.compression}"]
        if self.file_hash is not None:
            lines.append(f"FileHash: {self.file_hash}")
        if self.file_size is not None:
            lines.append(f"FileSize: {self.file_size}")
        lines += [f"NarHash: {info.nar_hash}", f"NarSize: {info.nar_size}"]
        lines.append("References: " + " ".join(p.basename for p in sorted(info.references)))
        if info.deriver is not None:
            lines.append(f"Deriver: {info.deriver.basename}")
        lines += [f"Sig: {signature}" for signature in info.signatures]
        if info.content_address is not None:
            lines.append(f"CA: {info.content_address}")
        return "".join(line + "\n" for line in lines)


_SINGLE = frozenset(
    {
        "StorePath",
        "URL",
        "Compression",
        "FileHash",
        "FileSize",
        "NarHash",
        "NarSize",
        "References",
        "Deriver",
        "CA",
    }
)


def parse_narinfo(text: str, source: str = "narinfo") -> NarInfo:
    """Read a narinfo; unknown fields are passed over. Raises AniccaError with the line."""
    fields: dict[str, str] = {}
    signatures: list[str] = []
    if len(text) > MAX_BYTES:
        raise AniccaError(f"{source}: longer than {MAX_BYTES} bytes")
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        name, colon, value = line.partition(": ")
        if not colon:
            if line.endswith(":"):
                name, value = line[:-1], ""
            else:
                raise AniccaError(f"{source}: line {number} has no field: {line[:60]!r}")
        if name == "Sig":
            signatures.append(value)
        elif name in fields and name in _SINGLE:
            raise AniccaError(f"{source}: line {number} has {name} again")
        else:
            fields[name] = value
    for name in ("StorePath", "URL", "NarHash", "NarSize"):
        if not fields.get(name):
            raise AniccaError(f"{source}: has no {name}")
    try:
        return _narinfo(fields, tuple(signatures))
    except ValueError as error:
        raise AniccaError(f"{source}: {error}") from error


def _narinfo(fields: dict[str, str], signatures: tuple[str, ...]) -> NarInfo:
    nar_hash = Hash.parse(fields["NarHash"])
    size = _number(fields["NarSize"])
    if nar_hash.algorithm != "sha256" or not size:
        raise ValueError("NarHash is not a sha256, or NarSize is 0")
    if not fields["StorePath"].startswith("/nix/store/"):
        raise ValueError(f"{fields['StorePath']!r} is not in /nix/store")
    deriver = fields.get("Deriver", "")
    info = PathInfo(
        path=StorePath.parse(fields["StorePath"]),
        nar_hash=nar_hash,
        nar_size=size,
        references=frozenset(map(StorePath.parse, fields.get("References", "").split())),
        deriver=StorePath.parse(deriver) if deriver not in ("", "unknown-deriver") else None,
        signatures=signatures,
        content_address=fields.get("CA") or None,
    )
    return NarInfo(
        info=info,
        url=fields["URL"],
        compression=fields.get("Compression") or "bzip2",
        file_hash=Hash.parse(fields["FileHash"]) if fields.get("FileHash") else None,
        file_size=_number(fields["FileSize"]) if fields.get("FileSize") else None,
    )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:  # noqa: PLR2004 (digits of a 64-bit number)
        raise ValueError(f"{text[:40]!r} is not a size")
    return int(text)
