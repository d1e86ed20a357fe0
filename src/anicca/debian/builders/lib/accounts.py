"""passwd, group, shadow and gshadow as outputs: the tree's lines with the lock's numbers, the declared people after.

Passwords are locked: the store is readable by everyone, so it holds none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from declared import Layout
    from manifest import Ids

DAY_SECONDS = 86400
SUBORDINATE_FIRST, SUBORDINATE_COUNT, LOGIN_FIRST = 100000, 65536, 1000
"""useradd's own range of subordinate ids; each login id has its fixed part of it."""


def rewrite(layout: Layout, ids: Ids, users: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]]) -> None:
    """Put the account files of the tree's and the declared users and groups into the layout."""
    passwd = [line.split(":") for line in layout.text("/etc/passwd").splitlines()]
    group = [line.split(":") for line in layout.text("/etc/group").splitlines()]
    group_names = {int(fields[2]): fields[0] for fields in group}
    for fields in passwd:
        fields[2], fields[3] = str(ids.users[fields[0]]), str(ids.groups[group_names[int(fields[3])]])
    for fields in group:
        fields[2] = str(ids.groups[fields[0]])
    shadow = [line.split(":") for line in layout.text("/etc/shadow").splitlines()]
    gshadow = [line.split(":") for line in layout.text("/etc/gshadow").splitlines()]
    for user in users:
        own = str(ids.groups[user["name"]])
        passwd.append(
            [user["name"], "x", str(ids.users[user["name"]]), own, user["comment"], user["home"], user["shell"]]
        )
        shadow.append([user["name"], "!", str(layout.epoch // DAY_SECONDS), "0", "99999", "7", "", "", ""])
    members = {record["name"]: list(record["members"]) for record in groups}
    for user in users:
        for name in user["groups"]:
            members.setdefault(name, []).append(user["name"])
    known = {fields[0]: fields for fields in group}
    for name in sorted(members):
        if name not in known:
            group.append([name, "x", str(ids.groups[name]), ""])
            gshadow.append([name, "!", "", ""])
    for rows, column in ((group, 3), (gshadow, 3)):
        for fields in rows:
            there = [member for member in fields[column].split(",") if member]
            extra = [member for member in sorted(set(members.get(fields[0], []))) if member not in there]
            fields[column] = ",".join(there + extra)
    ranges = "".join(
        f"{user['name']}:{SUBORDINATE_FIRST + (ids.users[user['name']] - LOGIN_FIRST) * SUBORDINATE_COUNT}"
        f":{SUBORDINATE_COUNT}\n"
        for user in users
    )
    layout.file("/etc/passwd", table(passwd))
    layout.file("/etc/group", table(group))
    layout.file("/etc/shadow", table(shadow), group="shadow", mode=0o640)
    layout.file("/etc/gshadow", table(gshadow), group="shadow", mode=0o640)
    layout.file("/etc/subuid", ranges.encode())
    layout.file("/etc/subgid", ranges.encode())


def table(rows: Sequence[Sequence[str]]) -> bytes:
    """Rows as account files have them."""
    return "".join(":".join(row) + "\n" for row in rows).encode()
