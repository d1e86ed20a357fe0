"""An entry as a line of JSON, as baselines and other hosts' answers have it (docs/internals/drift.md)."""

from __future__ import annotations

import base64
import json
import os
import stat
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Any

from anicca.drift.entry import FORMATS, Entry, kind_of
from anicca.drift.rows import FORMAT

if TYPE_CHECKING:
    from anicca.drift.rows import Row

DEVICES = (stat.S_IFCHR, stat.S_IFBLK)


def put_path(record: dict[str, Any], name: str, path: bytes) -> None:
    """Set `name` to the path as text; as `name64` where it is not UTF-8, so that every reader of JSON can read it."""
    try:
        record[name] = path.decode()
    except UnicodeDecodeError:
        record[f"{name}64"] = base64.b64encode(path).decode()


def get_path(record: dict[str, Any], name: str) -> bytes:
    """What `put_path` set. Raises `KeyError`."""
    if name in record:
        text = record[name]
        return bytes(text.encode())
    return base64.b64decode(record[f"{name}64"])


def to_state(row: Row, leader: bytes) -> str:
    """All of an entry but its time, which says nothing of its state. Defaults are left out. No line break in it."""
    # Put together by hand: there is one for each path of a disk, and `json.dumps` takes three times as long.
    path, mode, uid, gid, size, _, _, nlink, _, _, rdev, target, xattrs, digest, flags, error = row
    line = "{" + _path("p", path) + _kind(mode)
    if uid:
        line += f',"u":{uid}'
    if gid:
        line += f',"g":{gid}'
    if mode & FORMAT == stat.S_IFREG:
        line += f',"s":{size},"d":"{digest}"' if digest else f',"s":{size}'
    if target:
        line += "," + _path("l", target)
    if mode & FORMAT in DEVICES:
        line += f',"r":[{os.major(rdev)},{os.minor(rdev)}]'
    if xattrs:
        values = {name: base64.b64encode(value).decode() for name, value in xattrs}
        line += f',"x":{json.dumps(values)}'
    if leader:
        line += f',"n":{nlink},' + _path("h", leader)
    if flags:
        line += f',"f":"{flags}"'
    if error:
        line += f',"e":{_quoted(error)}'
    return line + "}"


@lru_cache(maxsize=1024)
def _kind(mode: int) -> str:
    return f',"k":"{kind_of(mode)}","m":"{stat.S_IMODE(mode):04o}"' if mode else ""


def _path(name: str, path: bytes) -> str:
    try:
        return f'"{name}":{_quoted(path.decode())}'
    except UnicodeDecodeError:
        return f'"{name}64":"{base64.b64encode(path).decode()}"'


def with_time(state: str, row: Row) -> str:
    """The whole line of an entry, from its state."""
    return f'{state[:-1]},"t":{row[5]}}}\n' if row[1] else state + "\n"


def path_of(line: bytes) -> bytes:
    """The path of a line, the short way where there is one. Raises `ValueError` or `KeyError`."""
    if line.startswith(b'{"p":"'):
        path = line[6 : line.index(b'"', 6)]
        if b"\\" not in path:
            return path
    return get_path(json.loads(line), "p")


def state_of(line: bytes) -> bytes:
    """The state of a line."""
    # It is no part of a text: quotes in one have a backslash before them.
    at = line.rfind(b',"t":')
    return line if at < 0 else line[:at] + b"}"


def size_of(line: bytes) -> int:
    """The size of the file that a line is of, 0 if it is of none."""
    at = line.find(b',"s":') + 5
    return int(line[at : line.index(b",", at)]) if at > 4 else 0  # noqa: PLR2004 (it was found)


def from_line(line: bytes) -> tuple[Entry, bytes]:
    """The entry of a line, and the first of its names if it has several. Raises `ValueError` or `KeyError`."""
    record = json.loads(line)
    kind = record.get("k")
    target = get_path(record, "l") if "l" in record or "l64" in record else b""
    leader = get_path(record, "h") if "n" in record else b""
    device = record.get("r")
    entry = Entry(
        path=get_path(record, "p"),
        mode=(FORMATS[kind] | int(record["m"], 8)) if kind else 0,
        uid=record.get("u", 0),
        gid=record.get("g", 0),
        size=record.get("s", len(target)),
        mtime_ns=record.get("t", 0),
        nlink=record.get("n", 1),
        rdev=os.makedev(*device) if device else 0,
        target=target,
        xattrs=tuple((name, base64.b64decode(value)) for name, value in sorted(record.get("x", {}).items())),
        digest=record.get("d", ""),
        flags=record.get("f", ""),
        error=record.get("e", ""),
    )
    return entry, leader
