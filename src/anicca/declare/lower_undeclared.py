"""What is said about undeclared paths as files of /etc/anicca, which `anicca.drift` reads, and as a unit. Pure.

docs/internals/drift.md tells what the files hold.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, get_args

from anicca.declare.host import File, Part, Unit
from anicca.declare.size import parse_size
from anicca.declare.undeclared import Remember, RuleKind
from anicca.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from anicca.errors import Place

RULES_FILE = "/etc/anicca/rules.json"
REMEMBER_FILE = "/etc/anicca/remember.json"
REMEMBER_UNIT = "anicca-remember.service"
LONGEST_DAYS = 3650

UNIT = f"""\
[Unit]
Description=Remember what this boot forgets
DefaultDependencies=no
RequiresMountsFor=/nix/persist /usr /etc
ConditionPathExists={REMEMBER_FILE}
# Started before everything, so stopped after everything: what services write as they end is there.
After=local-fs.target
Before=sysinit.target shutdown.target
Conflicts=shutdown.target
X-RestartIfChanged=no

[Service]
Type=oneshot
RemainAfterExit=yes
# A boot of which nothing else is found here was cut off.
ExecStart=/usr/bin/install -d -m 0700 /nix/persist/.anicca /nix/persist/.anicca/lost /nix/persist/.anicca/lost/%b
ExecStop=/etc/anicca/bin/anicca lost --remember
TimeoutStopSec=90
# Whoever shuts down waits for it.
Nice=-5

[Install]
WantedBy=sysinit.target
"""


def rules_part(text: str, place: Place) -> Part:
    """What `anicca drift` is told about undeclared paths."""
    return Part(files={RULES_FILE: File(text, declared_at=place)}, declared_at=place)


def remember_part(remember: Remember, place: Place) -> Part:
    """What is remembered of each boot, and the unit that does it at shutdown."""
    return Part(
        files={REMEMBER_FILE: File(remember_text(remember), declared_at=place)},
        units=[Unit(REMEMBER_UNIT, UNIT, declared_at=place)],
        declared_at=place,
    )


def rules_text(kinds: Mapping[str, RuleKind], secrets: Iterable[str], whys: Mapping[str, str]) -> str:
    """The file of rules: classes by pattern, then secrets, sorted."""
    rules = [{"path": path, "kind": kind, "why": whys.get(path, "")} for path, kind in sorted(kinds.items())]
    rules += [{"path": path, "kind": "secret", "why": whys.get(path, "")} for path in sorted(secrets)]
    return json.dumps({"rules": rules}, indent=1, ensure_ascii=False) + "\n"


def remember_text(remember: Remember) -> str:
    """The file that says what is remembered, sizes in bytes."""
    record = {
        "size_bytes": parse_size(remember.size),
        "file_bytes": parse_size(remember.file),
        "days": remember.days,
    }
    return json.dumps(record, indent=1) + "\n"


def check_rules(rules: Mapping[str, RuleKind], places: Mapping[str, tuple[Place, ...]]) -> Iterator[Fault]:
    """The faults of rules; `places` tells where each pattern was said."""
    for path, kind in rules.items():
        at = places.get(path, ())
        if kind not in get_args(RuleKind):
            yield Fault(message=f"{kind!r} is no kind of rule", places=at, hint=", ".join(get_args(RuleKind)))
        if not path.startswith("/") or "/../" in f"{path}/" or "\n" in path or "//" in path:
            yield Fault(
                message=f"{path!r} is not a pattern of absolute paths", places=at, hint="such as /srv/app/*.tmp"
            )
        elif re.search(r"\[[^\]/]*(/|$)", path):
            yield Fault(message=f"{path!r} has a bracket that does not close", places=at)
        elif kind == "expected" and path in ("/**", "/*", "/"):
            yield Fault(message=f"{path!r} as expected would hide all drift", places=at, hint="name what you mean")


def check_remember(remember: Remember, places: tuple[Place, ...]) -> Iterator[Fault]:
    """The faults of what is remembered."""
    for name, size in (("size", remember.size), ("file", remember.file)):
        try:
            parse_size(size)
        except ValueError:
            yield Fault(message=f"remember: {name} is {size!r}, not a size such as '64M'", places=places)
    if not 0 <= remember.days <= LONGEST_DAYS:
        hint = f"0 remembers nothing; at most {LONGEST_DAYS}"
        yield Fault(message=f"remember: {remember.days} is not a number of days", places=places, hint=hint)
