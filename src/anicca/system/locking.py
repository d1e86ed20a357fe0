"""Make a host's lock: apt resolves, the tree is assembled once, and each name that it has gets its number."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from anicca import events
from anicca.debian import resolve as resolving
from anicca.debian.apt import Wish, open_apt
from anicca.debian.environment import plan_environment
from anicca.debian.lock import Change, Lock, allocate, diff_pins, lock_path, read_lock
from anicca.debian.modules import TOOLS, check_headers, headers_of
from anicca.debian.tree import plan_tree
from anicca.declare.check import check_ids
from anicca.declare.spec import resolution_key
from anicca.errors import DeclarationError, Fault, Place, UsageError
from anicca.fs import write_atomic
from anicca.system.build import realise

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from anicca.debian.apt import AptRoot
    from anicca.debian.archive import Mirrors
    from anicca.debian.fetch import Fetcher
    from anicca.debian.lock import Pin
    from anicca.declare.spec import Spec
    from anicca.events import Report
    from anicca.store import LocalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A lock that was made, and what it changed of the one before."""

    lock: Lock
    packages: tuple[Change, ...]
    toolchain: tuple[Change, ...]
    modules: tuple[Change, ...]
    written: bool


def resolve(
    spec: Spec,
    old: Lock | None,
    *,
    apt_directory: Path,
    mirrors: Mirrors,
    update: Collection[str] | None,
    report: Report = events.ignore,
) -> Lock:
    """The pins for a spec, ids as they were.

    `update` names packages that may move to newer versions; None lets none move that need not, an empty collection
    all. Pins of versions that the archive has no more move in any case.
    """
    wish = wish_of(spec)
    everything = update is not None and not update
    moving, needed = set(update or ()), {*spec.root.module_packages}
    if moving & needed:
        moving |= needed  # they are of one source
    old_packages = () if old is None or everything else old.packages
    old_tools = () if old is None or everything else old.toolchain
    old_modules = () if old is None or everything else old.modules
    if old is not None:
        _check_pinned(set(update or ()), {pin.name for pin in (*old.packages, *old.toolchain, *old.modules)})
    held = [pin for pin in old_packages if pin.name not in moving]
    held_tools = [pin for pin in old_tools if pin.name not in moving]
    with open_apt(apt_directory, wish, mirrors, report) as apt:
        report(events.Started(task="resolve"))
        packages = resolving.resolve(apt, wish, held, report)
        toolchain = resolving.resolve_toolchain(apt, wish, held_tools, report)
        modules = _resolve_modules(apt, spec, packages, held=old_modules, moving=moving) if needed else ()
        report(events.Finished(task="resolve", note=f"{len(packages)} packages"))
        epoch = resolving.index_epoch(apt)
    if old is not None and (packages, toolchain, modules) == (old.packages, old.toolchain, old.modules):
        # The same pins, so the same tree: a newer index is no reason to build it again.
        epoch = old.epoch
    return Lock(
        release=spec.release,
        architecture=spec.architecture,
        resolution=resolution_key(spec),
        epoch=epoch,
        packages=packages,
        toolchain=toolchain,
        modules=modules,
        users={} if old is None else old.users,
        groups={} if old is None else old.groups,
    )


def _resolve_modules(
    apt: AptRoot, spec: Spec, packages: Sequence[Pin], *, held: Sequence[Pin], moving: Collection[str]
) -> tuple[Pin, ...]:
    """The pins of what builds the root's kernel module, for the kernel that is among the packages."""
    headers = headers_of(packages)
    names = (*spec.root.module_packages, *TOOLS, headers.name)
    wish = replace(wish_of(spec), packages=names, places=dict.fromkeys(names, spec.origins.get("root", ())))
    holds = [pin for pin in held if pin.name not in {*moving, headers.name}]
    found = resolving.resolve(apt, wish, [*holds, headers])
    check_headers(found, headers)
    return found


def _check_pinned(names: Collection[str], pinned: Collection[str]) -> None:
    """Raise `UsageError` for packages that are to move and are not pinned at all."""
    unknown = sorted(set(names) - set(pinned))
    if unknown:
        near = [match for name in unknown for match in difflib.get_close_matches(name, pinned, n=2)]
        raise UsageError(
            f"the lock has no {', '.join(unknown)} that could be updated",
            hint="did you mean " + " or ".join(near) + "?" if near else "add new packages to the declaration",
        )


def wish_of(spec: Spec) -> Wish:
    """What a spec asks of apt."""
    kernel = spec.kernel.package
    places = {name: spec.origins.get(f"packages[{name}]", ()) for name in spec.packages}
    return Wish(
        release=spec.release,
        architecture=spec.architecture,
        components=spec.components,
        packages=tuple(sorted({*spec.packages, kernel})),
        places={**places, kernel: places.get(kernel) or spec.origins.get("kernel", ())},
    )


def with_ids(lock: Lock, spec: Spec, store: LocalStore, fetcher: Fetcher, report: Report = events.ignore) -> Lock:
    """The lock with a number for every name: the tree is assembled to see which names its packages make."""
    environment = plan_environment(lock)
    tree = plan_tree(lock, environment)
    realise(store, [tree.tree], environment, fetcher, report=report)
    facts = json.loads((store.physical(tree.tree.out) / "facts.json").read_bytes())
    check_ids(spec, facts["users"], facts["groups"])
    people = tuple(user.name for user in spec.users)
    return replace(
        lock,
        users=allocate(lock.users, facts["users"], people),
        groups=allocate(lock.groups, facts["groups"], (*people, *(group.name for group in spec.groups))),
    )


def make_lock(
    spec: Spec,
    host_file: Path,
    *,
    store: LocalStore,
    fetcher: Fetcher,
    apt_directory: Path,
    mirrors: Mirrors,
    update: Collection[str] | None = None,
    report: Report = events.ignore,
) -> Locked:
    """Write HOST.lock beside HOST.py, unless it is as it was."""
    path = lock_path(host_file)
    old = read_lock(path)
    pins = resolve(spec, old, apt_directory=apt_directory, mirrors=mirrors, update=update, report=report)
    lock = with_ids(pins, spec, store, fetcher, report)
    written = lock != old
    if written:
        write_atomic(path, lock.to_json())
    before = old.packages if old else ()
    tools_before = old.toolchain if old else ()
    modules_before = old.modules if old else ()
    return Locked(
        lock=lock,
        packages=diff_pins(before, lock.packages),
        toolchain=diff_pins(tools_before, lock.toolchain),
        modules=diff_pins(modules_before, lock.modules),
        written=written,
    )


def require_lock(spec: Spec, host_file: Path) -> Lock:
    """The host's lock. Raises `DeclarationError` where there is none or it is not this declaration's."""
    path = lock_path(host_file)
    lock = read_lock(path)
    command = f"anicca lock {host_file}"
    if lock is None:
        raise DeclarationError(
            Fault(message="this host has no lock yet", places=(Place(str(path), 1),), hint=f"make it: {command}")
        )
    if lock.resolution != resolution_key(spec) or lock.release != spec.release:
        asked = {*spec.packages, spec.kernel.package}
        fresh = sorted(asked - {pin.name for pin in lock.packages})
        what = (
            f"it does not pin {', '.join(fresh)}" if fresh else "other packages, release or components were asked for"
        )
        raise DeclarationError(
            Fault(
                message=f"the lock is not this declaration's any more: {what}",
                places=(Place(str(path), 1),),
                hint=f"bring it up to date, moving no other pin: {command}",
            )
        )
    people = {user.name for user in spec.users} - lock.users.keys()
    circles = {group.name for group in spec.groups} - lock.groups.keys()
    if people or circles:
        raise DeclarationError(
            Fault(
                message=f"the lock has no ids for {', '.join(sorted(people | circles))}",
                places=(Place(str(path), 1),),
                hint=f"allocate them, moving no other: {command}",
            )
        )
    check_ids(spec, lock.users, lock.groups)
    return lock
