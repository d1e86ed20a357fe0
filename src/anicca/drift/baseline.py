"""A filesystem's whole state in one file: lines of JSON under zstd, sealed by a digest and, with a key, a signature.

The first line says what it is of, the last one seals it; between them is a line an entry, in the order of a scan.
docs/internals/drift.md has the format.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import zstandard

from anicca.drift.expect import Expectation
from anicca.errors import AniccaError, RefusedError
from anicca.store.signature import parse_public_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from anicca.drift.scan import Blob
    from anicca.store.signature import PublicKey, SecretKey

FORMAT = 1
LEVEL = 1
BLOB_BYTES = 1 << 20
SEAL = b'{"seal":'


class Seal(NamedTuple):
    """The last line: how many entries, the digest of all lines before it, and of the states alone (no times).

    Two machines in the same state have the same `state`.
    """

    entries: int
    sha256: str
    state: str
    signature: str


class Baseline(NamedTuple):
    """A baseline whose seal holds. `signed_by` names the key that was checked, if one was."""

    path: Path
    facts: dict[str, Any]
    seal: Seal
    signed_by: str


def save(path: Path, facts: dict[str, Any], blobs: Iterable[Blob], key: SecretKey | None = None) -> Seal:
    """Write a baseline, of lines as a scan has them; the old one at `path` stays until the new one is whole.

    Raises `OSError`.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as file:
            packer = zstandard.ZstdCompressor(level=LEVEL, threads=-1)
            with packer.stream_writer(file, closefd=False) as out:
                seal = _write(out, facts, blobs, key)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    return seal


def _write(out: IO[bytes], facts: dict[str, Any], blobs: Iterable[Blob], key: SecretKey | None) -> Seal:
    header = json.dumps({"anicca-baseline": FORMAT, **facts}, sort_keys=True).encode() + b"\n"
    whole, states = hashlib.sha256(header), hashlib.sha256()
    out.write(header)
    count = 0
    for state, lines in blobs:
        states.update(state)
        whole.update(lines)
        out.write(lines)
        count += lines.count(b"\n")
    digest = whole.hexdigest()
    signature = key.sign(_signed(digest)) if key is not None else ""
    seal = Seal(count, digest, states.hexdigest(), signature)
    out.write(json.dumps({"seal": seal._asdict()}).encode() + b"\n")
    return seal


def _signed(digest: str) -> str:
    return f"anicca-baseline;{FORMAT};{digest}"


def open_baseline(path: Path, key: PublicKey | str | None = None) -> Baseline:
    """Check a baseline from its first byte to its last.

    Raises `RefusedError` where it was altered, cut off or, with a key, not signed by it; `AniccaError` where it is no
    baseline.
    """
    whole = hashlib.sha256()
    count = -1
    header: dict[str, Any] | None = None
    seal: Seal | None = None
    for blob in _blobs(path):
        if seal is not None:
            raise RefusedError(f"{path}: goes on after its seal")
        lines, last = _parted(blob)
        if last:
            seal = _seal(path, last)
        whole.update(lines)
        count += lines.count(b"\n")
        if header is None:
            header = _header(path, lines[: lines.find(b"\n")])
    if header is None or seal is None:
        raise RefusedError(f"{path}: cut off, it has no seal", hint="save it again")
    if seal.sha256 != whole.hexdigest() or seal.entries != count:
        raise RefusedError(f"{path}: was altered, its digest is not what its seal says")
    return Baseline(path, header, seal, _signer(path, seal, key))


def _signer(path: Path, seal: Seal, key: PublicKey | str | None) -> str:
    if key is None:
        return ""
    public = parse_public_key(key) if isinstance(key, str) else key
    if not seal.signature:
        raise RefusedError(f"{path}: is not signed")
    if not _verify(public, _signed(seal.sha256), seal.signature):
        raise RefusedError(f"{path}: is not signed by {public.name}")
    return public.name


def _seal(path: Path, line: bytes) -> Seal:
    try:
        return Seal(**json.loads(line)["seal"])
    except (TypeError, ValueError) as error:
        raise RefusedError(f"{path}: its seal cannot be read") from error


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
        known = header["anicca-baseline"]
    except (ValueError, KeyError, TypeError) as error:
        raise AniccaError(f"{path}: not a baseline") from error
    if known != FORMAT:
        raise AniccaError(f"{path}: a baseline of format {known}, this anicca reads {FORMAT}")
    return {name: value for name, value in header.items() if name != "anicca-baseline"}


def _verify(key: PublicKey, message: str, signature: str) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 (slow import)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    name, _, body = signature.partition(":")
    try:
        raw = base64.b64decode(body, validate=True)
        Ed25519PublicKey.from_public_bytes(key.raw).verify(raw, message.encode())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return name == key.name


def _blobs(path: Path) -> Iterator[bytes]:
    """The content, in pieces of whole lines."""
    try:
        with path.open("rb") as file:
            unpacked = zstandard.ZstdDecompressor().stream_reader(file)
            rest = b""
            while chunk := unpacked.read(BLOB_BYTES):
                end = chunk.rfind(b"\n") + 1
                if end:
                    yield rest + chunk[:end]
                    rest = b""
                rest += chunk[end:]
            if rest:
                yield rest
    except FileNotFoundError as error:
        raise AniccaError(f"{path}: there is no such baseline") from error
    except zstandard.ZstdError as error:
        raise RefusedError(f"{path}: not a baseline, or damaged ({error})") from error


def _parted(blob: bytes) -> tuple[bytes, bytes]:
    """The lines before the seal, and what begins with it."""
    at = 0 if blob.startswith(SEAL) else blob.find(b"\n" + SEAL) + 1
    return (blob[:at], blob[at:]) if at or blob.startswith(SEAL) else (blob, b"")


def read_lines(baseline: Baseline) -> Iterator[bytes]:
    """The lines of its entries, in pieces of whole lines. Raises `RefusedError` if it changed since it was opened."""
    whole = hashlib.sha256()
    header = True
    for blob in _blobs(baseline.path):
        lines, last = _parted(blob)
        whole.update(lines)
        yield lines[lines.find(b"\n") + 1 :] if header else lines
        header = False
        if last:
            break
    if whole.hexdigest() != baseline.seal.sha256:
        raise RefusedError(f"{baseline.path}: changed while it was read")


def expectation_of(baseline: Baseline) -> Expectation:
    """What a baseline says must be there, its lines aside."""
    return Expectation(f"{baseline.path.name} of {baseline.facts.get('made', 'some time')}", entries=(), rules=False)
