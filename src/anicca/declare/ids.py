"""Whether owners and groups exist: known only once the tree's accounts are, so checked against the lock. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from anicca.declare.spec import FileSpec, LinkSpec, Spec
from anicca.errors import DeclarationError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def check_ids(spec: Spec, users: Iterable[str], groups: Iterable[str]) -> None:
    """Check every owner and group against those that exist in the tree.

    The declaration's own users and groups count without being given. Raises `DeclarationError`.
    """
    known = {
        "user": {*users, *(user.name for user in spec.users)},
        "group": {*groups, *(group.name for group in spec.groups)},
    }
    faults = []
    for kind, name, thing, option in _used_ids(spec):
        if name not in known[kind]:
            hint = near(name, known[kind]) or f"declare it, or install the package that brings the {kind}"
            faults.append(
                Fault(message=f"undeclared {kind} {name} on {thing}", places=spec.origins.get(option, ()), hint=hint)
            )
    if faults:
        raise DeclarationError(*faults)


def near(name: str, known: Iterable[str]) -> str | None:
    """A hint with the known names that look most like `name`, or None."""
    names = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    return f"is it {' or '.join(names)}?" if names else None


def _used_ids(spec: Spec) -> Iterator[tuple[str, str, str, str]]:
    """Each use of a name: its kind, the name, what uses it, and the option that said so."""
    for entry in spec.files:
        option = f"files[{entry.path}]"
        if not isinstance(entry, LinkSpec):
            kind = "file" if isinstance(entry, FileSpec) else "directory"
            yield "user", entry.owner, f"{kind} {entry.path}", option
            yield "group", entry.group, f"{kind} {entry.path}", option
    for kept in spec.persist:
        if kept.owner is not None:
            yield "user", kept.owner, f"persisted path {kept.path}", f"persist[{kept.path}].owner"
        if kept.group is not None:
            yield "group", kept.group, f"persisted path {kept.path}", f"persist[{kept.path}].group"
    for user in spec.users:
        for group in user.groups:
            yield "group", group, f"user {user.name}", f"users[{user.name}].groups[{group}]"
    for declared in spec.groups:
        for member in declared.members:
            yield "user", member, f"group {declared.name}", f"groups[{declared.name}].members[{member}]"
