"""The short way, as `quick`, to collect garbage and to link equal files: the store's own code for it, without click.

What goes wrong is left to the long way, which begins again where this one ended, and says what it is. So is whatever
is to be watched: on a terminal, and with `--json`.
"""

from __future__ import annotations

from anicca.store import rows
from anicca.store.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from anicca.store.rows import Ask

_MIB = 1 << 20


def collect(store_dir: str, state_dir: str, ask: Ask) -> str:
    """Collect garbage; what is printed. Raises whatever comes."""
    from anicca.store.collecting import Collector  # noqa: PLC0415 (where asked for)

    session = Session(store_dir, state_dir)
    try:
        with Collector(session=session, ask=ask, store_dir=store_dir, state_dir=state_dir) as collector:
            collector.everything(keep_derivations=True, keep_outputs=False)
    finally:
        session.close()
    return collected_text(len(collector.paths), collector.freed)


def optimise(store_dir: str, state_dir: str, ask: Ask) -> str:
    """Link equal files of all objects; what is printed. Raises whatever comes."""
    from anicca.store.linking import Links  # noqa: PLC0415 (where asked for)

    session = Session(store_dir, state_dir)
    links = Links(store_dir)
    try:
        links.objects(rows.all_valid(ask), session, ask)
    finally:
        session.close()
    return linked_text(links.files, links.size_bytes)


def collected_text(objects: int, freed_bytes: int) -> str:
    """What a collection did, as `nix-store` says it."""
    return f"{objects} store paths deleted, {freed_bytes / _MIB:.2f} MiB freed"


def linked_text(files: int, saved_bytes: int) -> str:
    """What linking saved, as `nix-store` says it."""
    return f"{saved_bytes / _MIB:.2f} MiB freed by hard-linking {files} files"
