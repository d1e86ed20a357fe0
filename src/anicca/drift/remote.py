"""The same look on another host: our own modules are sent as source over ssh to its Python, nothing is installed."""

from __future__ import annotations

import itertools
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anicca import process
from anicca.drift.agent import MARK
from anicca.drift.compare import Around
from anicca.drift.findings import Findings, finding_of, from_plain
from anicca.drift.lines import get_path, state_of
from anicca.drift.mounts import Mount
from anicca.drift.pile import Pile
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anicca.drift.scan import Blob

MODULES = (
    *("entry", "rows", "lines", "mounts", "view", "descent", "content", "reader", "walk", "pool", "scan", "expect"),
    *("states", "compare", "rules", "pile", "inside", "records", "dpkg", "system", "facts", "findings", "agent"),
)
"""Each after those it imports. They use nothing but the standard library of Python 3.9."""

LOADER = """\
import sys, types
for name, source in SOURCES:
    module = types.ModuleType(name)
    module.__path__ = []
    sys.modules[name] = module
    above, _, last = name.rpartition(".")
    if above:
        setattr(sys.modules[above], last, module)
    exec(compile(source, "<%s>" % name, "exec"), module.__dict__)
sys.modules["anicca.drift.agent"].main(REQUEST)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """How to reach a host's Python: the command before it (`ssh user@host`; nothing: this machine), sudo or not."""

    reach: tuple[str, ...]
    name: str
    python: str = "python3"
    sudo: bool = False

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that reads a program from stdin."""
        sudo = ("sudo", "-n") if self.sudo else ()
        return (*self.reach, *sudo, self.python, "-I", "-S", "-")


def make_program(request: dict[str, Any]) -> bytes:
    """The whole program for a request, as one source."""
    here = Path(__file__).parent
    sources = [("anicca", ""), ("anicca.drift", "")]
    sources += [(f"anicca.drift.{name}", (here / f"{name}.py").read_text()) for name in MODULES]
    return f"SOURCES = {sources!r}\nREQUEST = {request!r}\n{LOADER}".encode()


def look_there(host: Host, *, root: str = "/", cross_mounts: bool = True) -> tuple[dict[str, str], Findings]:
    """The facts of a host's root and its drift. Raises `AniccaError`."""
    lines = _lines(host, _ask(host, {"what": "drift", "root": root, "cross_mounts": cross_mounts}))
    found = Pile()
    try:
        for line in lines:
            record = json.loads(line)
            if "findings" in record:
                return record["facts"], from_plain(record["findings"], found)
            found.add(finding_of(record))
    except (ValueError, KeyError, TypeError) as error:
        raise _garbled(host) from error
    raise _garbled(host)


def scan_there(
    host: Host, *, root: str = "/", cross_mounts: bool = True, system_only: bool = False, beneath: bool = True
) -> tuple[dict[str, str], Around, Iterator[Blob]]:
    """The facts of a host's root and all that is in it, as lines with digests. Raises `AniccaError`, later too."""
    request = {"what": "scan", "root": root, "cross_mounts": cross_mounts}
    answer = _ask(host, {**request, "system_only": system_only, "beneath": beneath})
    blobs = _unpacked(host, answer)
    try:
        first, _, rest = next(blobs).partition(b"\n")
        header = json.loads(first)
        mounts = tuple(_mount(record) for record in header["mounts"])
        visited = tuple(get_path(record, "path") for record in header["visited"])
        around = Around(mounts, visited, header["sees_beneath"])
        return header["facts"], around, map(_with_states, itertools.chain((rest,), blobs))
    except (StopIteration, ValueError, KeyError) as error:
        raise _garbled(host) from error


def _ask(host: Host, request: dict[str, Any]) -> bytes:
    done = process.run(host.argv, stdin=make_program(request), check=False)
    _, mark, answer = done.stdout.partition(MARK)
    if done.status != 0 or not mark:
        raise AniccaError(
            f"{host.name}: no answer (status {done.status})",
            detail=done.stderr.decode("utf-8", "replace").strip() or None,
            hint="it takes ssh without a question, and python3 on the host",
        )
    if answer.startswith(b"{"):
        raise AniccaError(f"{host.name}: {json.loads(answer).get('error')}")
    return answer


def _lines(host: Host, answer: bytes) -> Iterator[bytes]:
    for blob in _unpacked(host, answer):
        yield from blob.split(b"\n")[:-1]


def _unpacked(host: Host, answer: bytes) -> Iterator[bytes]:
    """Whole lines."""
    unpacker = zlib.decompressobj()
    rest = b""
    for at in range(0, len(answer), 1 << 16):
        try:
            rest += unpacker.decompress(answer[at : at + (1 << 16)])
        except zlib.error as error:
            raise _garbled(host) from error
        end = rest.rfind(b"\n") + 1
        if end:
            yield rest[:end]
        rest = rest[end:]
    if not unpacker.eof or rest:
        # A scan that was cut off must not look like a host with less on it.
        raise _garbled(host)


def _with_states(lines: bytes) -> Blob:
    return b"".join(state_of(line) + b"\n" for line in lines.split(b"\n")[:-1]), lines


def _mount(record: dict[str, Any]) -> Mount:
    return Mount(
        number=record["number"],
        device=record["device"],
        root=get_path(record, "root"),
        path=get_path(record, "path"),
        options=record["options"],
        kind=record["kind"],
        source=get_path(record, "source"),
    )


def _garbled(host: Host) -> AniccaError:
    return AniccaError(f"{host.name}: the answer is cut off or not ours")


def ssh(host: str, command: Sequence[str] = ("ssh",)) -> Host:
    """A host by ssh, never asking for a password."""
    # `--` so that no host name is taken for an option.
    return Host(reach=(*command, "-o", "BatchMode=yes", "--", host), name=host)
