"""The text form of validity: what `--dump-db`, `--load-db` and `--register-validity` speak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.store.hashes import Hash
from anicca.store.info import PathInfo
from anicca.store.path import StorePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anicca.store.local import LocalStore


def dump_registration(infos: Iterable[PathInfo]) -> Iterator[str]:
    """Lines: path, hash, size, deriver, number of references, references."""
    for info in infos:
        references = sorted(info.references)
        yield str(info.path)
        yield info.nar_hash.hex
        yield str(info.nar_size)
        yield "" if info.deriver is None else str(info.deriver)
        yield str(len(references))
        yield from map(str, references)


def parse_registration(
    lines: Iterable[str], *, measure: Callable[[StorePath], tuple[Hash, int]] | None = None
) -> Iterator[PathInfo]:
    """Read what `dump_registration` gives, line by line without line ends. Raises AniccaError with the line.

    With `measure`, the lines lack hash and size, as `nix-store --register-validity` wants them: it says what they are.
    """
    numbered = enumerate(lines, 1)
    at = 0

    def line() -> str:
        nonlocal at
        at, text = next(numbered, (at, None))
        if text is None:
            raise AniccaError(f"the registration ends early, after line {at}")
        return text

    while True:
        following = next(numbered, None)
        if following is None:
            return
        at, first = following
        try:
            path = StorePath.parse(first)
            nar_hash, size = (Hash.parse(line(), "sha256"), int(line())) if measure is None else measure(path)
            deriver = line()
            references = frozenset(StorePath.parse(line()) for _ in range(int(line())))
            yield PathInfo(
                path=path,
                nar_hash=nar_hash,
                nar_size=size,
                references=references,
                deriver=StorePath.parse(deriver) if deriver else None,
            )
        except ValueError as error:
            raise AniccaError(f"line {at} of the registration: {error}") from error


def register_in_place(store: LocalStore, infos: Iterable[PathInfo]) -> int:
    """Register objects that lie in the store already, after looking that each is what is said of it; how many."""
    from anicca.store.canonical import canonicalise  # noqa: PLC0415 (dumping needs none of it)

    checked = []
    derivations = {}
    for info in infos:
        store.protect((info.path,))
        lying = store.physical(info.path)
        if not lying.is_symlink() and not lying.exists():
            raise AniccaError(f"{info.path}: is not in the store, so it cannot be registered")
        if canonicalise(lying).nar_hash != info.nar_hash:
            raise AniccaError(f"{info.path}: is not what is to be registered: its hash differs")
        checked.append(info)
        if info.path.is_derivation:
            derivations[info.path] = store.read_derivation(info.path).output_paths
    store.register(checked, derivations)
    return len(checked)
