"""The store's database: which objects are valid, and how they refer to each other. Nix's schema 10.

The only module that knows SQL. A path that is not in `ValidPaths` does not exist, whatever lies on disk.
"""

# ruff: noqa: S608 (queries are joined from constants of this file; every value is a parameter)

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anicca.errors import AniccaError
from anicca.store.graph import topological
from anicca.store.hashes import Hash
from anicca.store.info import PathInfo
from anicca.store.path import HASH_LENGTH, StorePath

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

SCHEMA_VERSION = "10"
_BUSY_SECONDS = 3600
_IN = "in (select value from json_each(?))"
_COLUMNS = "id, path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca"


def _texts(paths: Iterable[StorePath]) -> str:
    return json.dumps([str(p) for p in paths])


class Database:
    """An open database. Safe to share between threads: one statement or transaction at a time."""

    def __init__(self, directory: Path, *, create: bool) -> None:
        """Open `directory`/db.sqlite; with `create`, make it where it is missing. Read-only if it cannot be written."""
        self._lock = threading.RLock()
        self._depth = 0
        file = directory / "db.sqlite"
        self.read_only = not create and not os.access(file, os.W_OK)
        mode = "immutable=1" if self.read_only else "mode=rwc" if create else "mode=rw"
        try:
            self._sql = sqlite3.connect(
                f"{file.absolute().as_uri()}?{mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=_BUSY_SECONDS,
                cached_statements=64,
            )
            self._sql.execute("pragma foreign_keys = 1")
            if not self.read_only:
                self._sql.execute("pragma synchronous = normal")
                self._sql.execute("pragma main.journal_mode = wal")
                self._sql.execute("pragma wal_autocheckpoint = 40000")
            if create:
                self._sql.executescript((Path(__file__).parent / "schema.sql").read_text())
        except sqlite3.Error as error:
            raise AniccaError(
                f"{file}: cannot be opened as the store's database: {error}",
                hint="`anicca store verify --rebuild-database` makes one anew from what is provably whole",
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

    def _all(self, query: str, *parameters: Any) -> list[Any]:
        with self._lock:
            try:
                return self._sql.execute(query, parameters).fetchall()
            except sqlite3.DatabaseError as error:
                raise AniccaError(f"the store's database is damaged: {error}") from error

    def valid(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """Those of `paths` that are valid."""
        by_text = {str(p): p for p in paths}
        rows = self._all(f"select path from ValidPaths where path {_IN}", json.dumps(list(by_text)))
        return {by_text[text] for (text,) in rows}

    def all_valid(self) -> list[StorePath]:
        """Every valid path, sorted."""
        return [_path(text) for (text,) in self._all("select path from ValidPaths order by path")]

    def infos(self, paths: Collection[StorePath] | None = None) -> dict[StorePath, PathInfo]:
        """What is known of those of `paths` that are valid (None: of all)."""
        if paths is None:
            rows = self._all(f"select {_COLUMNS} from ValidPaths")
        else:
            rows = self._all(f"select {_COLUMNS} from ValidPaths where path {_IN}", _texts(paths))
        names = {row[0]: row[1] for row in rows}
        pairs = self._all(
            "select r.referrer, v.path from Refs r join ValidPaths v on v.id = r.reference"
            + (f" where r.referrer {_IN}" if paths is not None else ""),
            *((json.dumps(list(names)),) if paths is not None else ()),
        )
        references: dict[int, list[StorePath]] = {}
        for referrer, text in pairs:
            references.setdefault(referrer, []).append(_path(text))
        found = (_info(row, references.get(row[0], ())) for row in rows)
        return {info.path: info for info in found}

    def closure(self, paths: Iterable[StorePath], *, referrers: bool = False) -> set[StorePath]:
        """`paths` and all they refer to, directly or not; with `referrers`, all that refer to them."""
        near, far = ("reference", "referrer") if referrers else ("referrer", "reference")
        rows = self._all(
            f"with recursive C(id) as (select id from ValidPaths where path {_IN}"
            f" union select r.{far} from C join Refs r on r.{near} = C.id)"
            " select v.path from C join ValidPaths v on v.id = C.id",
            _texts(paths),
        )
        return {_path(text) for (text,) in rows}

    def needs(self, paths: Iterable[StorePath]) -> dict[StorePath, list[StorePath]]:
        """What each of `paths` that is valid refers to: less than `infos`, and faster."""
        texts = _texts(paths)
        found: dict[StorePath, list[StorePath]] = {}
        known: dict[str, StorePath] = {}
        rows = self._all(
            "select v.path, w.path from ValidPaths v left join Refs r on r.referrer = v.id"
            f" left join ValidPaths w on w.id = r.reference where v.path {_IN}",
            texts,
        )
        for text, reference in rows:
            path = known.get(text) or known.setdefault(text, _path(text))
            references = found.setdefault(path, [])
            if reference is not None:
                references.append(known.get(reference) or known.setdefault(reference, _path(reference)))
        return found

    def referrers(self, path: StorePath) -> set[StorePath]:
        """The objects that refer to `path`, itself too where it does."""
        rows = self._all(
            "select w.path from ValidPaths v join Refs r on r.reference = v.id join ValidPaths w on w.id = r.referrer"
            " where v.path = ?",
            str(path),
        )
        return {_path(text) for (text,) in rows}

    def derivation_outputs(self, drv: StorePath) -> dict[str, StorePath]:
        """The outputs that a valid `.drv` names."""
        rows = self._all(
            "select o.id, o.path from DerivationOutputs o join ValidPaths v on v.id = o.drv where v.path = ?", str(drv)
        )
        return {name: _path(text) for name, text in rows}

    def all_derivation_outputs(self) -> list[tuple[StorePath, StorePath]]:
        """All pairs of a valid `.drv` and an output it names."""
        rows = self._all("select v.path, o.path from DerivationOutputs o join ValidPaths v on v.id = o.drv")
        return [(_path(drv), _path(out)) for drv, out in rows]

    def derivers(self, output: StorePath) -> set[StorePath]:
        """The valid derivations that have `output` as an output."""
        rows = self._all(
            "select v.path from DerivationOutputs o join ValidPaths v on v.id = o.drv where o.path = ?", str(output)
        )
        return {_path(text) for (text,) in rows}

    def has_name(self, name: str) -> bool:
        """Whether some valid path has this name."""
        escaped = name.replace("_", r"\_")
        pattern = f"/nix/store/{'_' * HASH_LENGTH}-{escaped}"
        return bool(self._all(r"select 1 from ValidPaths where path like ? escape '\' limit 1", pattern))

    def from_hash_part(self, hash_part: str) -> StorePath | None:
        """The valid path with this hash part."""
        prefix = f"/nix/store/{hash_part}"
        rows = self._all("select path from ValidPaths where path >= ? limit 1", prefix)
        return _path(rows[0][0]) if rows and rows[0][0].startswith(prefix + "-") else None

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
            ids = dict(self._all(f"select path, id from ValidPaths where path {_IN}", json.dumps(list(wanted))))
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

    def invalidate(self, paths: Iterable[StorePath]) -> None:
        """Make paths invalid, referrers first. AniccaError if something valid still refers to one."""
        try:
            with self.transaction():
                self._sql.executemany("delete from ValidPaths where path = ?", [(str(p),) for p in paths])
        except sqlite3.IntegrityError as error:
            raise AniccaError(f"a path to be deleted is still referred to: {error}") from error

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, as far as readers allow."""
        self._all("pragma wal_checkpoint(truncate)")

    def check(self) -> list[str]:
        """What SQLite itself finds wrong; nothing if all is well."""
        return [text for (text,) in self._all("pragma integrity_check") if text != "ok"]


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


def _path(text: object) -> StorePath:
    try:
        return StorePath.parse(str(text))
    except ValueError as error:
        raise AniccaError(f"the store's database is damaged: {error}") from error


def _info(row: tuple[Any, ...], references: Iterable[StorePath]) -> PathInfo:
    _id, path, nar_hash, time, deriver, size, ultimate, sigs, content_address = row
    try:
        return PathInfo(
            path=_path(path),
            nar_hash=Hash.parse(str(nar_hash)),
            nar_size=int(size or 0),
            references=frozenset(references),
            deriver=_path(deriver) if deriver else None,
            registration_time=int(time),
            ultimate=bool(ultimate),
            signatures=tuple(str(sigs).split()) if sigs else (),
            content_address=str(content_address) if content_address else None,
        )
    except (TypeError, ValueError) as error:
        raise AniccaError(f"the store's database is damaged at {path}: {error}") from error
