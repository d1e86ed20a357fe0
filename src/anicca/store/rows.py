"""What is asked of the database, in SQL and as text: paths in, paths out. `db` gives the same as values.

`ask` runs a statement with parameters and gives all rows. Paths are spelled as `spelling.is_path` wants them.
"""

# ruff: noqa: S608 (queries are joined from constants of this file; every value is a parameter)

from __future__ import annotations

import sqlite3

from anicca.store.graph import topological

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Ask = Callable[..., list[Any]]

BUSY_SECONDS = 3600
_IN = "in (select value from json_each(?))"
_COLUMNS = "id, path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca"


def connect_reading(file: str) -> sqlite3.Connection:
    """The database in `file`, for reading.

    What others write meanwhile is seen where their write-ahead log can be read. Where it cannot be, as on a medium
    that is read-only, there is none, and the file is taken as it is.
    """
    for mode in ("mode=ro", "immutable=1"):
        sql = sqlite3.connect(
            f"{_uri(file)}?{mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )
        try:
            sql.execute("select 1 from ValidPaths limit 1").fetchall()
        except sqlite3.OperationalError:
            sql.close()
            if mode != "mode=ro":
                raise
        else:
            return sql
    raise AssertionError


def connect_writing(file: str, *, create: bool = False) -> sqlite3.Connection:
    """The database in `file`, for reading and writing, as Nix opens it."""
    sql = sqlite3.connect(
        f"{_uri(file)}?{'mode=rwc' if create else 'mode=rw'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_SECONDS,
    )
    sql.execute("pragma foreign_keys = 1")
    sql.execute("pragma synchronous = normal")
    sql.execute("pragma main.journal_mode = wal")
    sql.execute("pragma wal_autocheckpoint = 40000")
    return sql


def _uri(file: str) -> str:
    return "file:" + file.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def spelled(paths: Iterable[str]) -> str:
    """Paths as a JSON array; nothing in them needs to be escaped."""
    text = '","'.join(paths)
    return f'["{text}"]' if text else "[]"


def valid(ask: Ask, paths: Iterable[str]) -> list[str]:
    """Those of `paths` that are valid."""
    return [text for (text,) in ask(f"select path from ValidPaths where path {_IN}", spelled(paths))]


def numbers(ask: Ask, paths: Iterable[str]) -> dict[str, int]:
    """What other tables call those of `paths` that are valid."""
    return dict(ask(f"select path, id from ValidPaths where path {_IN}", spelled(paths)))


def all_valid(ask: Ask) -> list[str]:
    """Every valid path, sorted."""
    return [text for (text,) in ask("select path from ValidPaths order by path")]


def objects(ask: Ask, paths: Iterable[str] | None = None) -> tuple[list[tuple[Any, ...]], dict[int, list[str]]]:
    """The rows of those of `paths` that are valid (None: of all), and what they refer to by the row's first column.

    A row is its number, the path, its NAR's hash (`sha256:<base 16>`), registration time, deriver, NAR's size, whether
    it was built here, signatures, content address; all but the first four may be None.
    """
    if paths is None:
        rows = ask(f"select {_COLUMNS} from ValidPaths")
        pairs = ask("select r.referrer, v.path from Refs r join ValidPaths v on v.id = r.reference")
    else:
        rows = ask(f"select {_COLUMNS} from ValidPaths where path {_IN}", spelled(paths))
        pairs = ask(
            f"select r.referrer, v.path from Refs r join ValidPaths v on v.id = r.reference where r.referrer {_IN}",
            f"[{','.join([str(row[0]) for row in rows])}]",
        )
    references: dict[int, list[str]] = {}
    for referrer, text in pairs:
        references.setdefault(referrer, []).append(text)
    return rows, references


def closure(ask: Ask, paths: Iterable[str], *, referrers: bool = False) -> list[str]:
    """`paths` and all they refer to, directly or not; with `referrers`, all that refer to them."""
    near, far = ("reference", "referrer") if referrers else ("referrer", "reference")
    rows = ask(
        f"with recursive C(id) as (select id from ValidPaths where path {_IN}"
        f" union select r.{far} from C join Refs r on r.{near} = C.id)"
        " select v.path from C join ValidPaths v on v.id = C.id",
        spelled(paths),
    )
    return [text for (text,) in rows]


def needs(ask: Ask, paths: Iterable[str]) -> dict[str, list[str]]:
    """What each of `paths` that is valid refers to."""
    rows = ask(
        "select v.path, w.path from ValidPaths v left join Refs r on r.referrer = v.id"
        f" left join ValidPaths w on w.id = r.reference where v.path {_IN}",
        spelled(paths),
    )
    found: dict[str, list[str]] = {}
    for text, reference in rows:
        references = found.setdefault(text, [])
        if reference is not None:
            references.append(reference)
    return found


def sorted_by_need(ask: Ask, paths: Iterable[str]) -> list[str]:
    """Those of `paths` that are valid, what is referred to first, as `nix-store` prints them."""
    found = needs(ask, paths)
    return topological({path: found[path] for path in sorted(found)})


def referrers(ask: Ask, path: str) -> list[str]:
    """What refers to `path`, itself too where it does."""
    rows = ask(
        "select w.path from ValidPaths v join Refs r on r.reference = v.id join ValidPaths w on w.id = r.referrer"
        " where v.path = ?",
        path,
    )
    return [text for (text,) in rows]


def outputs(ask: Ask) -> list[tuple[str, str, str | None]]:
    """Every valid derivation with each output that it names, and what that one was built by, if it is valid."""
    return ask(
        "select v.path, o.path, w.deriver from DerivationOutputs o join ValidPaths v on v.id = o.drv"
        " left join ValidPaths w on w.path = o.path"
    )


def invalidate(ask: Ask, path: str) -> None:
    """Make a path invalid. AniccaError if something valid still refers to it."""
    try:
        ask("delete from ValidPaths where path = ?", path)
    except sqlite3.IntegrityError as error:
        from anicca.errors import AniccaError  # noqa: PLC0415 (slow import, and rare)

        raise AniccaError(f"{path}: something that is valid refers to it, so it was not deleted") from error
