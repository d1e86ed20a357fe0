"""An entry as a line of JSON, as baselines and other hosts' answers have it (docs/internals/drift.md)."""

from __future__ import annotations

import base64
import json
import os
import stat
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from anicca.drift.entry import FORMATS, Entry, kind_of


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


def to_state(entry: Entry, leader: bytes) -> str:  # noqa: C901 (a line a field)
    """All of an entry but its time, which says nothing of its state. Defaults are left out. No line break in it."""
    # Put together by hand: there is one for each path of a disk, and `json.dumps` takes three times as long.
    line = "{" + _path("p", entry.path)
    kind = kind_of(entry.mode)
    if entry.mode:
        line += f',"k":"{kind}","m":"{stat.S_IMODE(entry.mode):04o}"'
    if entry.uid:
        line += f',"u":{entry.uid}'
    if entry.gid:
        line += f',"g":{entry.gid}'
    if kind == "file":
        line += f',"s":{entry.size}'
    if entry.digest:
        line += f',"d":"{entry.digest}"'
    if entry.target:
        line += "," + _path("l", entry.target)
    if "device" in kind:
        line += f',"r":[{os.major(entry.rdev)},{os.minor(entry.rdev)}]'
    if entry.xattrs:
        values = {name: base64.b64encode(value).decode() for name, value in entry.xattrs}
        line += f',"x":{json.dumps(values)}'
    if leader:
        line += f',"n":{entry.nlink},' + _path("h", leader)
    if entry.flags:
        line += f',"f":"{entry.flags}"'
    if entry.error:
        line += f',"e":{_quoted(entry.error)}'
    return line + "}"


def _path(name: str, path: bytes) -> str:
    try:
        return f'"{name}":{_quoted(path.decode())}'
    except UnicodeDecodeError:
        return f'"{name}64":"{base64.b64encode(path).decode()}"'


def with_time(state: str, entry: Entry) -> str:
    """The whole line of an entry, from its state."""
    return f'{state[:-1]},"t":{entry.mtime_ns}}}\n' if entry.mode else state + "\n"


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
