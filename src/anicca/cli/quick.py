"""A short cut for questions to the store: Python's start, SQLite, the answer; neither click nor value types.

It prints what `store_commands.query` prints, to the byte, and knows nothing else: whatever it is not sure of, first of
all everything that is to fail, it leaves to the long way, having printed nothing.
"""

from __future__ import annotations

import fcntl
import io
import os
import sqlite3
import sys
from _thread import allocate_lock

from anicca.store import rows
from anicca.store.spelling import is_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from anicca.store.rows import Ask

WORK = {
    "gc": "collect",
    "--gc": "collect",
    "optimise": "optimise",
    "--optimise": "optimise",
    "--optimize": "optimise",
}
QUERY = frozenset({"query", "-q", "--query"})
VALIDITY = frozenset({"check-validity", "--check-validity"})
SPELLINGS = {"-R": "--requisites", "-d": "--deriver"}
_STDERR = 2
_SHA256 = "sha256:"
_SHA256_LENGTH = 71


class _NotSureError(Exception):
    """The long way is to be taken."""


class _Question:
    """What was asked: which store, what of it, how it is to be printed."""

    def __init__(self, words: list[str]) -> None:
        self.root = os.environ.get("ANICCA_STORE")
        self.as_json = False
        at = 0
        while at < len(words) and words[at] != "store":
            if words[at] == "--json":
                self.as_json = True
            elif words[at] == "--store":
                at += 1
                self.root = words[at] if at < len(words) else None
            else:
                raise _NotSureError
            at += 1
        if self.root == "" or len(words) < at + 2:
            raise _NotSureError
        self.state_dir = os.path.abspath(self.root or "/").rstrip("/") + "/nix/var/nix"  # noqa: PTH100 (no Path)
        self.store_dir = self.state_dir.removesuffix("/var/nix") + "/store"
        verb, *rest = words[at + 1 :]
        if verb == "-qR":
            verb, rest = "-q", ["-R", *rest]
        self.verb = verb
        self.options = [SPELLINGS.get(w, w) for w in rest if w.startswith("-")]
        self.paths = [w for w in rest if not w.startswith("-")]
        if not all(map(is_path, self.paths)):
            raise _NotSureError


def answered(words: list[str]) -> bool:
    """Whether `words`, a command line without the program, were a question that is answered now."""
    try:
        question = _Question(words)
        answer = _find(question)
        if answer is None:
            return False
        sql, ask = _open(question)
        try:
            record, lines = answer(question, ask)
        finally:
            sql.close()
    except (_NotSureError, sqlite3.Error, OSError):
        return False
    except Exception as error:
        # An `AniccaError`, whose module is not imported for the asking; the long way comes upon it too.
        if type(error).__module__ != "anicca.errors":
            raise
        return False
    if question.as_json:
        import json  # noqa: PLC0415 (where asked for)

        lines = [json.dumps(record if record is not None else lines, indent=2, sort_keys=True)]
    if lines:
        _print("\n".join(lines) + "\n")
    return True


def _print(text: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read our output has seen enough. Nothing may be written to it at exit either.
        sys.stdout = None
        sys.exit(1)


def _open(question: _Question) -> tuple[sqlite3.Connection, Ask]:
    """The database, and how to ask it. A lock that is given back at our end keeps others from changing the schema."""
    directory = f"{question.state_dir}/db"
    with open(f"{directory}/schema", encoding="ascii") as schema:  # noqa: PTH123 (no Path)
        if schema.read().strip() != "10":
            raise _NotSureError
    writable = os.access(directory, os.W_OK)
    if writable:
        fcntl.flock(os.open(f"{directory}/big-lock", os.O_RDWR | os.O_CLOEXEC), fcntl.LOCK_SH | fcntl.LOCK_NB)
    if question.verb not in WORK or question.options:
        sql = rows.connect_reading(f"{directory}/db.sqlite")
        return sql, lambda query, *parameters: sql.execute(query, parameters).fetchall()
    # On a host the store is mounted so that nobody writes to it by mistake: the long way mounts it for us.
    if not writable or not os.access(question.store_dir, os.W_OK):
        raise _NotSureError
    sql = rows.connect_writing(f"{directory}/db.sqlite")
    lock = allocate_lock()

    def ask(query: str, *parameters: Any) -> list[Any]:
        with lock:
            return sql.execute(query, parameters).fetchall()

    return sql, ask


def _find(question: _Question) -> Callable[[_Question, Ask], tuple[Any, list[str]]] | None:
    """Who answers the question, None if nobody here does.

    An answer is what `--json` prints (None: the lines), and the lines.
    """
    options, paths = question.options, question.paths
    if question.verb in QUERY and len(options) == 1 and paths:
        return QUESTIONS.get(options[0])
    if question.verb in VALIDITY and not options and paths:
        return _validity
    if question.verb == "path-info" and set(options) <= {"-r", "-S", "-s", "-rS", "-rs", "--sigs", "--all"}:
        return _path_info
    if paths:
        return None
    if question.verb in ("dump-db", "--dump-db") and not options:
        return _dump_db
    if question.verb in ("gc", "--gc") and len(options) == 1:
        return {"--print-roots": _all_roots, "--print-live": _live, "--print-dead": _dead, "--dry-run": _dead}.get(
            options[0]
        )
    # On a terminal the long way is taken, which draws how far it is.
    if os.isatty(_STDERR):
        return None
    if question.verb in ("verify", "--verify"):
        return {(): _all_there, ("--check-contents",): _all_whole}.get(tuple(options))
    return _work if question.verb in WORK and not options and not question.as_json else None


def _valid(question: _Question, ask: Ask) -> list[str]:
    """The paths of the question, if all are valid."""
    if set(question.paths) - set(rows.valid(ask, question.paths)):
        raise _NotSureError
    return question.paths


def _sound(paths: Iterable[str]) -> list[str]:
    """Paths that come from the database."""
    found = list(paths)
    if not all(map(is_path, found)):
        raise _NotSureError
    return found


def _requisites(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    return None, _sound(rows.sorted_by_need(ask, rows.closure(ask, _valid(question, ask))))


def _references(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    found = {r for needed in rows.needs(ask, _valid(question, ask)).values() for r in needed}
    return None, _sound(rows.sorted_by_need(ask, found))


def _referrers(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    found = {r for path in _valid(question, ask) for r in rows.referrers(ask, path)}
    return None, _sound(rows.sorted_by_need(ask, found))


def _referrers_closure(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    return None, _sound(rows.sorted_by_need(ask, rows.closure(ask, _valid(question, ask), referrers=True)))


def _validity(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    _valid(question, ask)
    return [], []


def _column(number: int, show: Callable[[Any], str]) -> Callable[[_Question, Ask], tuple[Any, list[str]]]:
    """The answer that is a column of each path's row."""

    def answer(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
        by_path = {row[1]: row[number] for row in rows.objects(ask, question.paths)[0]}
        if not by_path.keys() >= set(question.paths):
            raise _NotSureError
        return None, [show(by_path[path]) for path in question.paths]

    return answer


def _digest(text: Any) -> bytes:
    """The digest of a hash as our and Nix's databases spell it."""
    if not (isinstance(text, str) and len(text) == _SHA256_LENGTH and text.startswith(_SHA256)):
        raise _NotSureError
    try:
        return bytes.fromhex(text[len(_SHA256) :])
    except ValueError as error:
        raise _NotSureError from error


def _nix32(text: Any) -> str:
    from anicca.store.base32 import encode  # noqa: PLC0415 (where used)

    return _SHA256 + encode(_digest(text))


def _deriver(text: Any) -> str:
    return "unknown-deriver" if not text else _sound([str(text)])[0]


def _roots(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    users = set(rows.closure(ask, _valid(question, ask), referrers=True))
    return None, [line for path, line in _found_roots(question, ask) if path in users]


def _all_roots(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    return None, [line for _path, line in _found_roots(question, ask)]


def _found_roots(question: _Question, ask: Ask) -> list[tuple[str, str]]:
    """Each valid root, and the line that shows it."""
    from anicca.store.holders import held  # noqa: PLC0415 (where used)

    found = {(path, f"{source} -> {path}") for source, path in held(question.state_dir, question.store_dir)}
    valid = set(rows.valid(ask, {path for path, _line in found}))
    return sorted((pair for pair in found if pair[0] in valid), key=lambda pair: pair[1])


def _live_paths(question: _Question, ask: Ask) -> set[str]:
    from anicca.store.collecting import reached  # noqa: PLC0415 (where used)
    from anicca.store.holders import read_roots  # noqa: PLC0415

    working, held = read_roots(question.state_dir, question.store_dir)
    roots = working.union(path for _source, path in held)
    return reached(ask, roots, keep_derivations=True, keep_outputs=False)


def _live(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    return None, sorted(_sound(_live_paths(question, ask)))


def _dead(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    return None, sorted(set(_sound(rows.all_valid(ask))) - _live_paths(question, ask))


def _work(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    from anicca.cli import quick_work  # noqa: PLC0415 (where asked for)

    do = getattr(quick_work, WORK[question.verb])
    return None, [do(question.store_dir, question.state_dir, ask)]


def _dump_db(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    found, references = rows.objects(ask)
    by_path = {row[1]: row for row in found}
    if question.as_json:
        return {p: _record(by_path[p], references.get(by_path[p][0], [])) for p in _sound(sorted(by_path))}, []
    lines = []
    for path in _sound(sorted(by_path)):
        row = by_path[path]
        of = sorted(_sound(references.get(row[0], ())))
        deriver = "" if not row[4] else _deriver(row[4])
        lines += [path, _digest(row[2]).hex(), str(row[5] or 0), deriver, str(len(of)), *of]
    return None, lines


def _all_there(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    """Nothing is wrong as far as names tell; what is, the long way finds again, and says."""
    there = set(os.listdir(question.store_dir))  # noqa: PTH208 (names)
    if not all(path.rpartition("/")[2] in there for path in _sound(rows.all_valid(ask))):
        raise _NotSureError
    return {"damaged": []}, []


def _all_whole(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    """Every object is what it was when it was registered."""
    from anicca import fs  # noqa: PLC0415 (where asked for)
    from anicca.store.nar_fill import digest, fill  # noqa: PLC0415

    def whole(row: tuple[Any, ...]) -> bool:
        place = question.store_dir + "/" + row[1].rpartition("/")[2]
        try:
            found, size = digest(fill(os.fsencode(place)), "sha256")
        except Exception as error:
            # Whatever it is, the long way says it.
            raise _NotSureError from error
        return found == _digest(row[2]) and size == (row[5] or size)

    _all_there(question, ask)
    objects = rows.objects(ask)[0]
    if ask("pragma integrity_check") != [("ok",)] or not all(fs.in_two(whole, objects)):
        raise _NotSureError
    return {"damaged": []}, []


def _path_info(question: _Question, ask: Ask) -> tuple[Any, list[str]]:
    letters = {letter for option in question.options if not option.startswith("--") for letter in option[1:]}
    paths: list[str] | None = None
    if "--all" not in question.options:
        paths = _valid(question, ask)
        if not paths:
            raise _NotSureError
        paths = sorted(rows.closure(ask, paths)) if "r" in letters else paths
    found, references = rows.objects(ask, paths)
    by_path = {row[1]: row for row in found}
    wanted = sorted(by_path) if paths is None else paths
    sizes = _closure_sizes(ask, wanted) if "S" in letters else {}
    lines = []
    for path in _sound(wanted):
        columns = [path]
        columns += [str(by_path[path][5] or 0)] if "s" in letters else []
        columns += [str(sizes[path])] if sizes else []
        columns += (by_path[path][7] or "").split() if "--sigs" in question.options else []
        lines.append("\t".join(columns))
    if not question.as_json:
        return None, lines
    record = {path: _record(by_path[path], references.get(by_path[path][0], [])) for path in wanted}
    for path, size in sizes.items():
        record[path]["closureSize"] = size
    return record, lines


def _record(row: tuple[Any, ...], references: list[str]) -> dict[str, Any]:
    """One object as `json_forms.path_info_json` has it."""
    from binascii import b2a_base64  # noqa: PLC0415 (where used)

    _number, _path, nar_hash, time, deriver, size, ultimate, signatures, address = row
    return {
        "ca": address or None,
        "deriver": deriver or None,
        "narHash": "sha256-" + b2a_base64(_digest(nar_hash), newline=False).decode(),
        "narSize": size or 0,
        "references": sorted(_sound(references)),
        "registrationTime": time,
        "signatures": (signatures or "").split(),
        "ultimate": bool(ultimate),
    }


def _closure_sizes(ask: Ask, paths: list[str]) -> dict[str, int]:
    every = rows.closure(ask, paths)
    sizes = {row[1]: row[5] or 0 for row in rows.objects(ask, every)[0]}
    needs = rows.needs(ask, every)
    found = {}
    for path in paths:
        seen = {path}
        todo = [path]
        while todo:
            more = [r for r in needs[todo.pop()] if r not in seen]
            seen.update(more)
            todo += more
        found[path] = sum(sizes[p] for p in seen)
    return found


QUESTIONS = {
    "--requisites": _requisites,
    "--references": _references,
    "--referrers": _referrers,
    "--referrers-closure": _referrers_closure,
    "--hash": _column(2, _nix32),
    "--size": _column(5, lambda size: str(size or 0)),
    "--deriver": _column(4, _deriver),
    "--roots": _roots,
}
