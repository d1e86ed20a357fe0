"""What a boot forgets, remembered for a while: at shutdown the list of it, and small files; later, rescue.

Each boot has a directory of its own among our things in the persistent area, which only root may enter:

    lost/<boot id>/list.json    the drift at shutdown, and which files were kept, written before any file is
    lost/<boot id>/files/N      their content

A boot that was cut off has an empty directory: its list is lost with it. docs/internals/drift.md has the format.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca import fs, process
from anicca.declare.paths import PRIVATE_KEY
from anicca.drift import system
from anicca.drift.area import own, own_place
from anicca.drift.descent import Descent
from anicca.drift.entry import is_below, parent
from anicca.drift.findings import Findings, from_record, to_record
from anicca.drift.pile import DRIFT, EXPLAINED, PARTS, Pile
from anicca.drift.rules import SECRET, matches, rank
from anicca.errors import AniccaError
from anicca.roots.facts import from_record as from_guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anicca.drift.inside import Root
    from anicca.drift.pile import Finding
    from anicca.drift.rules import Rule
    from anicca.roots.facts import GuardFacts

LOST = "lost"
LIST = "list.json"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SETTINGS = b"/etc/anicca/remember.json"
DAY = 86400
SECONDS_FOR_FILES = 45
"""A shutdown does not wait longer for small files."""
MOST_LISTED = MOST_FILES = 20_000
"""So many names, and so many files, are kept of one boot."""

SECRET_NAMES = (
    *("/**/.ssh/id_*", "/**/.ssh/*_key", "/**/*.key", "/**/*.pem", "/**/*.p12", "/**/*.pfx", "/**/*.kdbx"),
    *("/**/.gnupg/**", "/**/.password-store/**", "/**/.netrc", "/**/.pgpass", "/**/.my.cnf", "/**/.git-credentials"),
    *("/**/.aws/**", "/**/.kube/**", "/**/.docker/config.json", "/**/.*_history", "/**/.env", "/**/*secret*"),
    *("/**/*password*", "/**/*passwd*", "/**/*credential*", "/**/*token*", "/**/shadow*", "/**/*.keytab"),
)
"""Names of what people expect a host to forget. What else is secret, the declaration says."""
WORTHLESS = ("cache", "temporary", "lock", "generated")
"""Classes of which no file is kept, only its name."""


class Settings(NamedTuple):
    """What is remembered: all boots together, the largest file, for how long; and what never, by pattern."""

    size_bytes: int
    file_bytes: int
    days: int
    secret: tuple[str, ...] = SECRET_NAMES


class Saved(NamedTuple):
    """A file that was kept: which of `files`, and all that its content does not say."""

    number: int
    size_bytes: int
    sha256: str
    xattrs: tuple[tuple[str, bytes], ...]


class Boot(NamedTuple):
    """A boot that is over. Without `ended` it was cut off, and nothing of it is known."""

    name: str
    ended: float | None
    system: str
    size_bytes: int


class Lost(NamedTuple):
    """What a boot forgot, and what was kept of it, by path."""

    boot: Boot
    findings: Findings
    saved: dict[bytes, Saved]
    not_saved: dict[str, int]
    """Why files were not kept, and how many."""
    guard: GuardFacts | str | None = None
    """What the guard said of that boot, or why that cannot be read."""
    more: int = 0
    """How many paths there were besides, whose names were not kept."""


def read_settings(root: Root, rules: Sequence[Rule] = ()) -> Settings | None:
    """What the running system says is to be remembered; None if nothing is. Raises `AniccaError`."""
    text = root.read_if_there(SETTINGS)
    if not text:
        return None
    try:
        record = json.loads(text)
        secret = (*SECRET_NAMES, *(pattern for rule in rules if rule.name == SECRET for pattern in rule.patterns))
        return Settings(record["size_bytes"], record["file_bytes"], record["days"], secret)
    except (ValueError, KeyError) as error:
        raise AniccaError(f"{os.fsdecode(SETTINGS)}: cannot be read: {error!r}") from error


def plan_files(findings: Findings, settings: Settings, room_bytes: int) -> tuple[list[Finding], dict[str, int]]:
    """The files that shall be kept, most wanted first, and for the others why not. Pure.

    Wanted most is what a person should read first; of that, the small.
    """
    chosen, refused, seen = [], dict[str, int](), set[bytes]()

    def refuse(why: str) -> None:
        refused[why] = refused.get(why, 0) + 1

    def want(one: Finding) -> tuple[int, int]:
        return rank(one.judgement.name), one.drift.size

    files = (one for one in findings.drift if stat.S_ISREG(one.drift.mode))
    for one in heapq.nsmallest(MOST_FILES, files, key=want):
        drift = one.drift
        if drift.path in seen:
            continue
        seen.add(drift.path)
        if drift.hidden or any(is_below(drift.path, top) for top in system.ELSEWHERE):
            refuse("not on the root: in memory, or beneath a mount")
        elif matches(settings.secret, drift.path):
            refuse("secret")
        elif one.judgement.name in WORTHLESS:
            refuse(f"{one.judgement.name}")
        elif drift.size > settings.file_bytes:
            refuse(f"larger than {settings.file_bytes} bytes")
        elif drift.size > room_bytes:
            refuse("no room left")
        else:
            room_bytes -= drift.size
            chosen.append(one)
    return chosen, refused


def plan_list(findings: Findings) -> tuple[Findings, int]:
    """The findings that are written down, the suspicious first, and how many paths there were besides. Pure."""
    told = ((rank(one.judgement.name), at, one) for at, one in enumerate(findings.found) if one.part != EXPLAINED)
    chosen = sorted(heapq.nsmallest(MOST_LISTED, told), key=lambda one: one[1])
    # Digests are of no use without the files, and could give a short secret away.
    listed = Pile(one._replace(drift=one.drift._replace(digest="")) for _, _, one in chosen)
    return findings._replace(found=listed), findings.drift.count.paths - listed.counts[DRIFT].paths


def remember(top: Path, findings: Findings, settings: Settings, *, boot: str, running: str = "") -> Boot:
    """Keep what this boot is about to forget. Raises `AniccaError` and `OSError`.

    The list comes first, and whole or not at all; then files, as many as there is time for.
    """
    lost = own(top, LOST)
    prune(top, settings, keep=boot)
    name, count = boot, 0
    # After a soft reboot the kernel's boot is the same, and what is forgotten is not.
    while (lost / name / LIST).exists():
        count += 1
        name = f"{boot}.{count}"
    place = lost / name
    fs.make_private_directory(place)
    fs.make_private_directory(place / "files")
    ended = time.time()
    files, refused = plan_files(findings, settings, max(0, settings.size_bytes - _size(lost)))
    _write_list(place, findings, {}, refused, ended=ended, running=running)
    saved: dict[bytes, Saved] = {}
    deadline = time.monotonic() + SECONDS_FOR_FILES
    with_root = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    descent = Descent({b"/": with_root})
    try:
        for number, one in enumerate(files):
            if time.monotonic() > deadline:
                refused["no time left"] = len(files) - number
                break
            kept = _save(descent, one.drift.path, place / "files" / str(number), settings.file_bytes)
            if isinstance(kept, Saved):
                saved[one.drift.path] = kept
            else:
                refused[kept] = refused.get(kept, 0) + 1
    finally:
        descent.close()
        os.close(with_root)
    process.run(["sync", "-f", place])
    _write_list(place, findings, saved, refused, ended=ended, running=running)
    prune(top, settings, keep=name)
    return Boot(name, ended, running, _size(place))


def _save(descent: Descent, path: bytes, target: Path, largest_bytes: int) -> Saved | str:
    """Copy one file, no link followed; why not, if not. Its number is its name there."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path.rpartition(b"/")[2], flags, dir_fd=descent.enter(parent(path)))
    except OSError as error:
        return f"unreadable ({error.strerror})"
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return "not a file any more"
        content = file.read(largest_bytes + 1)
        if len(content) > largest_bytes:
            return f"larger than {largest_bytes} bytes"
        if PRIVATE_KEY.search(content):
            return "secret"
        attributes = tuple((name, os.getxattr(fd, name)) for name in sorted(os.listxattr(fd)))
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(out, "wb") as copy:
        copy.write(content)
    return Saved(int(target.name), len(content), hashlib.sha256(content).hexdigest(), attributes)


def _write_list(
    place: Path, findings: Findings, saved: dict[bytes, Saved], refused: dict[str, int], *, ended: float, running: str
) -> None:
    listed, more = plan_list(findings)
    record = {
        "anicca-lost": 1,
        "ended": ended,
        "system": running,
        "guard": _guard(place.parents[4]),
        "findings": {key: list(value) if key in PARTS else value for key, value in to_record(listed).items()},
        "more": more,
        "saved": [
            {
                "path": path.hex(),
                "number": one.number,
                "size": one.size_bytes,
                "sha256": one.sha256,
                "xattrs": {name: value.hex() for name, value in one.xattrs},
            }
            for path, one in saved.items()
        ],
        "not_saved": refused,
    }
    fs.write_atomic(place / LIST, json.dumps(record).encode() + b"\n", mode=0o600)


def _guard(top: Path) -> Any:
    """What the guard did at this boot, for the history; a text is why that cannot be read."""
    try:
        return json.loads((top / "run/anicca/guard.json").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"


def _facts(record: Any) -> GuardFacts | str | None:
    """What is remembered of the guard, or why that cannot be read; None where there was none."""
    try:
        return record if record is None or isinstance(record, str) else from_guard(record)
    except ValueError as error:
        return f"cannot be read: {error}"


def prune(top: Path, settings: Settings, *, keep: str = "", now: float | None = None) -> list[str]:
    """Delete boots that are too old, and the oldest as long as all together are too large; never `keep`."""
    at = time.time() if now is None else now
    gone = []
    boots = [boot for boot in read_boots(top) if boot.name != keep]
    lost = own_place(top, LOST)
    total = sum(boot.size_bytes for boot in boots) + _size(lost / keep if keep else None)
    for boot in boots:
        too_old = at - _when(lost / boot.name, boot) > settings.days * DAY
        if too_old or total > settings.size_bytes:
            fs.remove_tree(lost / boot.name)
            total -= boot.size_bytes
            gone.append(boot.name)
    return gone


def read_boots(top: Path, *, current: str = "") -> list[Boot]:
    """The boots of which something is remembered, or known to be lost, oldest first; without the current one."""
    lost = own_place(top, LOST)
    found = []
    for place in lost.iterdir() if lost.is_dir() else ():
        ended, system = None, ""
        try:
            record = json.loads((place / LIST).read_bytes())
            ended, system = float(record["ended"]), str(record["system"])
        except FileNotFoundError:
            if place.name == current:
                continue
        except (OSError, ValueError, KeyError):
            pass  # what can be said of it, `read_lost` says
        found.append(Boot(place.name, ended, system, _size(place)))
    return sorted(found, key=lambda boot: _when(lost / boot.name, boot))


def _when(place: Path, boot: Boot) -> float:
    return place.stat().st_mtime if boot.ended is None else boot.ended


def find_boot(boots: Sequence[Boot], which: str) -> Boot:
    """The boot that is meant: -1 is the last that is over, -2 the one before; or the beginning of a boot's id.

    Raises `AniccaError`.
    """
    if re.fullmatch(r"-[0-9]{1,6}", which):
        number = int(which)
        if number and -number <= len(boots):
            return boots[number]
        raise AniccaError(
            f"nothing is remembered of boot {which}", hint=f"{len(boots)} boots are; anicca lost --list tells which"
        )
    found = [boot for boot in boots if boot.name.startswith(which)]
    if len(found) != 1:
        raise AniccaError(f"{which!r} names {len(found)} boots", hint="such as -1, or the beginning of a boot's id")
    return found[0]


def read_lost(top: Path, boot: Boot) -> Lost:
    """What a boot forgot. Raises `AniccaError` where it was cut off or its list is damaged."""
    place = own_place(top, LOST) / boot.name
    try:
        record = json.loads((place / LIST).read_bytes())
        saved = {
            bytes.fromhex(one["path"]): Saved(
                one["number"],
                one["size"],
                one["sha256"],
                tuple((name, bytes.fromhex(value)) for name, value in one["xattrs"].items()),
            )
            for one in record["saved"]
        }
        found = from_record(record["findings"])
        return Lost(boot, found, saved, record["not_saved"], _facts(record.get("guard")), record.get("more", 0))
    except FileNotFoundError as error:
        raise AniccaError(
            f"boot {boot.name} ended without a word: the power was cut, or it was reset; what it forgot is not known",
            hint="what must outlive a power cut is declared in persist",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AniccaError(f"{place / LIST}: damaged: {error!r}") from error


def _size(place: Path | None) -> int:
    """What a directory takes, in bytes, by the sizes of its files."""
    if place is None or not place.is_dir():
        return 0
    return sum(one.lstat().st_size for one in place.rglob("*"))


def boot_id(file: Path = BOOT_ID) -> str:
    """The kernel's id of this boot, as systemd writes it."""
    return file.read_text().strip().replace("-", "")
