"""The store's database: which objects are valid, and how they refer to each other. Nix's schema 10.

`rows` has the questions; no other module knows SQL. A path that is not in `ValidPaths` does not exist, whatever lies
on disk.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anicca.errors import AniccaError
from anicca.store import rows
from anicca.store.graph import topological
from anicca.store.hashes import Hash
from anicca.store.info import PathInfo
from anicca.store.path import StorePath
from anicca.store.spelling import HASH_LENGTH, STORE_DIR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

SCHEMA_VERSION = "10"


class Database:
    """An open database. Safe to share between threads: one statement or transaction at a time."""

    def __init__(self, directory: Path, *, create: bool) -> None:
        """Open `directory`/db.sqlite; with `create`, make it where it is missing. Read-only if it cannot be written."""
        self._lock = threading.RLock()
        self._depth = 0
        file = directory / "db.sqlite"
        self.read_only = not create and not os.access(file, os.W_OK)
        try:
            if self.read_only:
                self._sql = rows.connect_reading(str(file.absolute()))
                return
            if create:
                # Not SQLite's to make: what it takes from our umask, its logs would have too.
                os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644))
                file.chmod(0o644)
            self._sql = rows.connect_writing(str(file.absolute()), create=create)
            if create:
                self._sql.executescript((Path(__file__).parent / "schema.sql").read_text())
        except sqlite3.Error as error:
            raise AniccaError(
                f"{file}: cannot be opened as the store's database: {error}",
                hint="move it away, and `anicca store rebuild-db` makes one anew from what is provably whole",
            ) from error

    def close(self) -> None:
        """Close; the object cannot be used any more."""
        with self._lock:
            self._sql.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens or nothing does. Nests."""
        with self._lock:
            if self._depth:
                yield
                return
            self._depth = 1
            try:
                self._sql.execute("begin immediate")
                yield
                self._sql.execute("commit")
            except sqlite3.IntegrityError:
                self._roll_back()
                raise
            except sqlite3.Error as error:
                self._roll_back()
                raise AniccaError(f"the store's database cannot be written: {error}") from error
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._depth = 0

    def _roll_back(self) -> None:
        if self._sql.in_transaction:
            self._sql.execute("rollback")

    def ask(self, query: str, *parameters: Any) -> list[Any]:
        """All rows that a statement gives, as `rows` needs it. AniccaError but on what the schema forbids."""
        with self._lock:
            try:
                return self._sql.execute(query, parameters).fetchall()
            except sqlite3.IntegrityError:
                raise
            except sqlite3.OperationalError as error:
                raise AniccaError(f"the store's database cannot be used: {error}") from error
            except sqlite3.DatabaseError as error:
                raise AniccaError(f"the store's database is damaged: {error}") from error

    def valid(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """Those of `paths` that are valid."""
        by_text = {str(p): p for p in paths}
        return {by_text[text] for text in rows.valid(self.ask, by_text)}

    def all_valid(self) -> list[StorePath]:
        """Every valid path, sorted."""
        return list(map(parse, rows.all_valid(self.ask)))

    def infos(self, paths: Collection[StorePath] | None = None) -> dict[StorePath, PathInfo]:
        """What is known of those of `paths` that are valid (None: of all)."""
        objects, pairs = rows.objects(self.ask, None if paths is None else map(str, paths))
        known: dict[str, StorePath] = {}
        found: dict[StorePath, PathInfo] = {}
        for row in objects:
            references = [known.get(t) or known.setdefault(t, parse(t)) for t in pairs.get(row[0], ())]
            info = _info(row, references)
            found[info.path] = info
        return found

    def closure(self, paths: Iterable[StorePath], *, referrers: bool = False) -> set[StorePath]:
        """`paths` and all they refer to, directly or not; with `referrers`, all that refer to them."""
        return set(map(parse, rows.closure(self.ask, map(str, paths), referrers=referrers)))

    def needs(self, paths: Iterable[StorePath]) -> dict[StorePath, list[StorePath]]:
        """What each of `paths` that is valid refers to: less than `infos`, and faster."""
        known: dict[str, StorePath] = {}
        return {
            parse(path): [known.get(t) or known.setdefault(t, parse(t)) for t in references]
            for path, references in rows.needs(self.ask, map(str, paths)).items()
        }

    def sorted_by_need(self, paths: Iterable[StorePath]) -> list[StorePath]:
        """Those of `paths` that are valid, what is referred to first, as `nix-store` prints them."""
        return list(map(parse, rows.sorted_by_need(self.ask, map(str, paths))))

    def referrers(self, path: StorePath) -> set[StorePath]:
        """The objects that refer to `path`, itself too where it does."""
        return set(map(parse, rows.referrers(self.ask, str(path))))

    def derivation_outputs(self, drv: StorePath) -> dict[str, StorePath]:
        """The outputs that a valid `.drv` names."""
        found = self.ask(
            "select o.id, o.path from DerivationOutputs o join ValidPaths v on v.id = o.drv where v.path = ?", str(drv)
        )
        return {name: parse(text) for name, text in found}

    def derivers(self, output: StorePath) -> set[StorePath]:
        """The valid derivations that have `output` as an output."""
        found = self.ask(
            "select v.path from DerivationOutputs o join ValidPaths v on v.id = o.drv where o.path = ?", str(output)
        )
        return {parse(text) for (text,) in found}

    def has_name(self, name: str) -> bool:
        """Whether some valid path has this name."""
        start = len(f"{STORE_DIR}/{'-' * HASH_LENGTH}-") + 1
        return bool(self.ask("select 1 from ValidPaths where substr(path, ?) = ? limit 1", start, name))

    def from_hash_part(self, hash_part: str) -> StorePath | None:
        """The valid path with this hash part."""
        prefix = f"/nix/store/{hash_part}"
        found = self.ask("select path from ValidPaths where path >= ? limit 1", prefix)
        return parse(found[0][0]) if found and found[0][0].startswith(prefix + "-") else None

    def register(
        self, infos: Collection[PathInfo], derivations: Mapping[StorePath, Mapping[str, StorePath]] | None = None
    ) -> None:
        """Make objects valid, all or none. `derivations` has the outputs of those that are `.drv` files.

        What an object refers to must be valid or among `infos`; AniccaError otherwise, and on cycles.
        """
        topological({info.path: info.references for info in infos})
        with self.transaction():
            self._sql.executemany(
                "insert into ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca)"
                " values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (path) do update set hash = excluded.hash,"
                " narSize = excluded.narSize, ultimate = excluded.ultimate, sigs = excluded.sigs, ca = excluded.ca",
                [_row(info) for info in infos],
            )
            wanted = {str(r) for info in infos for r in info.references}.union(str(info.path) for info in infos)
            ids = rows.numbers(self.ask, wanted)
            missing = sorted(wanted - ids.keys())
            if missing:
                raise AniccaError(f"{missing[0]}: not valid, though something to be registered refers to it")
            self._sql.executemany(
                "insert or ignore into Refs (referrer, reference) values (?, ?)",
                [(ids[str(info.path)], ids[str(r)]) for info in infos for r in info.references],
            )
            self._sql.executemany(
                "insert or replace into DerivationOutputs (drv, id, path) values (?, ?, ?)",
                [
                    (ids[str(drv)], name, str(path))
                    for drv, outputs in (derivations or {}).items()
                    for name, path in outputs.items()
                ],
            )

    def set_signatures(self, path: StorePath, signatures: Iterable[str]) -> None:
        """Replace the signatures of a valid path."""
        with self.transaction():
            self._sql.execute("update ValidPaths set sigs = ? where path = ?", (" ".join(signatures), str(path)))

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, as far as readers allow."""
        self.ask("pragma wal_checkpoint(truncate)")

    def check(self) -> list[str]:
        """What SQLite itself finds wrong; nothing if all is well."""
        return [text for (text,) in self.ask("pragma integrity_check") if text != "ok"]


def _row(info: PathInfo) -> tuple[str, str, int, str | None, int | None, int | None, str | None, str | None]:
    return (
        str(info.path),
        f"sha256:{info.nar_hash.hex}",
        info.registration_time,
        None if info.deriver is None else str(info.deriver),
        info.nar_size or None,
        1 if info.ultimate else None,
        " ".join(info.signatures) or None,
        info.content_address,
    )


def parse(text: object) -> StorePath:
    """The store path that the database spells. AniccaError if it is none."""
    try:
        return StorePath.parse(str(text))
    except ValueError as error:
        raise AniccaError(f"the store's database is damaged: {error}") from error


def _info(row: tuple[Any, ...], references: Iterable[StorePath]) -> PathInfo:
    _id, path, nar_hash, time, deriver, size, ultimate, sigs, content_address = row
    try:
        return PathInfo(
            path=parse(path),
            nar_hash=Hash.parse(str(nar_hash)),
            nar_size=int(size or 0),
            references=frozenset(references),
            deriver=parse(deriver) if deriver else None,
            registration_time=int(time),
            ultimate=bool(ultimate),
            signatures=tuple(str(sigs).split()) if sigs else (),
            content_address=str(content_address) if content_address else None,
        )
    except (TypeError, ValueError) as error:
        raise AniccaError(f"the store's database is damaged at {path}: {error}") from error
