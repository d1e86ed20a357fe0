"""What runs on another host: a look at its root, answered on stdout. Standard library only, sent as source by `remote`.

The answer follows a line with MARK, whatever a login prints before. It is lines under zlib: of a scan one with the
facts, then one an entry; of a drift look one a finding, then one with the facts. An error is plain JSON.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from typing import TYPE_CHECKING, Any

from anicca.drift.facts import expectation_for, facts_of
from anicca.drift.findings import Look, finding_record, of_the_system, only, plain_record
from anicca.drift.inside import Root
from anicca.drift.lines import put_path
from anicca.drift.pile import Pile
from anicca.drift.rows import without_collector
from anicca.drift.scan import Options, Scan

if TYPE_CHECKING:
    from typing import BinaryIO

MARK = b"\nanicca-drift-answer\n"


@without_collector()
def main(request: dict[str, Any]) -> None:
    """Do what is asked and answer; what cannot be done is answered too."""
    out = sys.stdout.buffer
    out.write(MARK)
    top = os.fsencode(request["root"])
    options = Options(cross_mounts=request["cross_mounts"], polite=True)
    try:
        if request["what"] == "drift":
            answer_drift(top, options, out)
        else:
            answer_scan(top, options, out, system_only=request["system_only"], beneath=request["beneath"])
    except (OSError, ValueError, KeyError) as error:
        out.write(json.dumps({"error": str(error)}).encode())
    out.flush()


def answer_drift(top: bytes, options: Options, out: BinaryIO) -> None:
    """The drift of a root: a line for each finding as it is found, then one with the rest."""
    look = Look(top, expectation_for(top), options)
    packer = zlib.compressobj(1)
    out.writelines(packer.compress(json.dumps(finding_record(one)).encode() + b"\n") for one in look)
    # The findings are gone already: nothing is kept of them here, in memory or on a disk.
    last = {"facts": facts_of(top), "findings": plain_record(look.summed(Pile()))}
    out.write(packer.compress(json.dumps(last).encode() + b"\n") + packer.flush())


def answer_scan(top: bytes, options: Options, out: BinaryIO, *, system_only: bool, beneath: bool) -> None:
    """Everything about a root, with every file's digest."""
    belongs = of_the_system(Root(top)) if system_only else None
    scan = Scan(top, options._replace(want="sha256", beneath=beneath))
    blobs = scan.blobs() if belongs is None else only(belongs, scan.blobs())
    packer = zlib.compressobj(1)
    header = {
        "facts": facts_of(top),
        "sees_beneath": scan.sees_beneath,
        "mounts": [_mount(mount) for mount in scan.mounts],
        "visited": [_path(mount.path) for mount in scan.visited],
    }
    out.write(packer.compress(json.dumps(header).encode() + b"\n"))
    out.writelines(packer.compress(lines) for _, lines in blobs)
    out.write(packer.flush())


def _path(path: bytes) -> dict[str, Any]:
    record: dict[str, Any] = {}
    put_path(record, "path", path)
    return record


def _mount(mount: Any) -> dict[str, Any]:
    record = {name: getattr(mount, name) for name in ("number", "device", "options", "kind")}
    for name in ("root", "path", "source"):
        put_path(record, name, getattr(mount, name))
    return record
