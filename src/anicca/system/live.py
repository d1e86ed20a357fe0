"""What moves a running host from one system to another: units, mounts, paths of the root, what persists. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anicca.system.diff import compare_boot
from anicca.system.rereading import why_reread
from anicca.system.treeview import TreeView, belongings, changed_in_etc, changed_in_usr
from anicca.system.unitfiles import USER_DIRECTORIES, read_units
from anicca.system.units import Active, Changed, UnitPlan, opened_at_start, plan_units

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from anicca.system.erofs import ImageEntry
    from anicca.system.reading import Persisted, System


@dataclass(frozen=True, slots=True, kw_only=True)
class Lay:
    """Make a path of the root what a boot would make it."""

    entry: ImageEntry

    def __str__(self) -> str:
        return f"lay out {self.entry.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """Remove a path that a boot would not make: a directory only if it is empty."""

    path: str

    def __str__(self) -> str:
        return f"remove {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Bind a persisted path; `seed` is what it holds the first time, unless it `adopts` what is on the root now."""

    kept: Persisted
    seed: tuple[ImageEntry, ...]
    adopts: bool = False

    def __str__(self) -> str:
        return f"persist {self.kept.path}{', with what it holds now' if self.adopts else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Unbind a path that persists no more. Its content stays where it is kept."""

    path: str

    def __str__(self) -> str:
        return f"persist {self.path} no more (its content stays in /nix/persist)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What the host has at paths that come to persist or do so no more."""

    adopted: frozenset[str] = frozenset()
    """Those that come to persist and hold something that no system put there."""
    users: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Path to the units that have something there open."""


PathStep = Lay | Clear | Keep | Release


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """All that happens, in this order: units stop, paths, /usr, /etc, then what `units` has left, then users'."""

    usr: bool = False
    etc: bool = False
    units: UnitPlan = field(default_factory=UnitPlan)
    reread: tuple[str, ...] = ()
    """Why systemd reads its units again, unless it starts anew."""
    opens: frozenset[str] = frozenset()
    """What the units that restart open as they start: read before they stop, as nobody is served meanwhile."""
    early: frozenset[str] = frozenset()
    """Units of `units` that others take for granted: they restart first."""
    checks: tuple[str, ...] = ()
    """Units that say whether the host is well: what `boot-complete.target` requires."""
    paths: tuple[PathStep, ...] = ()
    reboot: tuple[str, ...] = ()
    """What only a reboot brings."""
    users: Mapping[int, UnitPlan] = field(default_factory=dict)
    """User id to what happens to the units of that user's own systemd, which runs now."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing happens on the running host."""
        units = self.units
        acts = [acted for _verb, acted in units.acts()]
        return not (self.usr or self.etc or self.paths or units.reexecute or units.tmpfiles or any(acts) or self.users)

    def sentences(self) -> Iterator[str]:
        """The plan, a line a step."""
        units = self.units
        yield from (f"stop {one}" for one in units.stop)
        yield from map(str, self.paths)
        yield from (f"replace {path} in place" for path, is_so in (("/usr", self.usr), ("/etc", self.etc)) if is_so)
        if units.reexecute:
            yield f"start systemd anew ({'; '.join(units.reexecute)})"
        elif self.reread:
            yield f"have systemd read its units again ({'; '.join(self.reread)})"
        if units.tmpfiles:
            yield f"have systemd-tmpfiles make what is missing ({'; '.join(units.tmpfiles)})"
        yield from (f"reload {one}" for one in units.reload)
        yield from (f"restart {one}" for one in units.restart)
        yield from (f"start {one}" for one in units.start)
        for uid, theirs in self.users.items():
            yield from (f"{verb} for user {uid}: {one}" for verb, acted in theirs.acts() for one in acted)
        yield from (f"check {unit}" for unit in self.checks)
        yield from (f"waits for a restart: {one}" for one in units.waits)
        yield from (f"waits for a reboot: {one}" for one in self.reboot)


def plan_live(
    old: System,
    new: System,
    active: Iterable[Active],
    *,
    users: Mapping[int, Iterable[Active]] | None = None,
    moved: Moved | None = None,
    goal: str = "default.target",
) -> LivePlan:
    """The plan from what runs to `new`. Reads both systems; touches nothing."""
    moved = moved or Moved()
    old_view, new_view = TreeView(old), TreeView(new)
    old_units, new_units = read_units(old_view), read_units(new_view)
    usr, etc = changed_in_usr(old, new), changed_in_etc(old, new)
    same_seed = old.part("seed.erofs") == new.part("seed.erofs")
    seed = (
        frozenset()
        if same_seed
        else frozenset(path for path in old.seed.keys() | new.seed.keys() if old.seed.get(path) != new.seed.get(path))
    )
    changed = Changed(
        usr=usr, etc=etc, seed=seed, loads=old_view.loads, belongs=belongings(new_view, new_units) if etc else {}
    )
    here = {one.name: one for one in active}
    units = plan_units(old_units, new_units, here.values(), changed, goal=goal).pausing(moved.users)
    restarted = [(unit, here[one.unit].maps) for one in units.restart if (unit := new_units.get(one.unit))]
    reboot = [f"{change.path}: {change.what}" for change in compare_boot(old, new)]
    checks = (
        new_units.reachable("boot-complete.target") - {"boot-complete.target"} - new_units.reachable("sysinit.target")
    )
    return LivePlan(
        usr=old.part("tree.erofs") != new.part("tree.erofs"),
        etc=old.part("etc.erofs") != new.part("etc.erofs"),
        units=units,
        reread=why_reread(new_view, old_units, new_units, usr | etc),
        opens=frozenset[str]().union(*(opened_at_start(unit, changed, maps) for unit, maps in restarted)),
        early=new_units.reachable("sysinit.target"),
        checks=tuple(sorted(checks - new_units.reachable(goal))),
        paths=tuple(plan_paths(old.seed, new.seed, old.persist, new.persist, moved.adopted)),
        reboot=tuple(reboot),
        users=_plan_users(old_view, new_view, users or {}, changed),
    )


def _plan_users(
    old: TreeView, new: TreeView, users: Mapping[int, Iterable[Active]], changed: Changed
) -> Mapping[int, UnitPlan]:
    """What happens to the units of users' own systemd; those to whose nothing happens are left out."""
    if not users:
        return {}
    before, after = read_units(old, USER_DIRECTORIES), read_units(new, USER_DIRECTORIES)
    plans = {uid: plan_units(before, after, theirs, changed) for uid, theirs in users.items()}
    return {uid: plan for uid, plan in plans.items() if any(acted for _verb, acted in plan.acts())}


def plan_paths(
    old_seed: Mapping[str, ImageEntry],
    new_seed: Mapping[str, ImageEntry],
    old_kept: Mapping[str, Persisted],
    new_kept: Mapping[str, Persisted],
    adopted: Collection[str] = (),
) -> Iterator[PathStep]:
    """The steps on the root: what persists no more, what goes, what comes, what persists from now on."""
    for path in sorted(old_kept.keys() - new_kept.keys(), reverse=True):
        yield Release(path=path)
    changed = {path for path in old_seed.keys() | new_seed.keys() if old_seed.get(path) != new_seed.get(path)}
    # What lies at or below a persisted path is laid out once, when the path is first kept.
    changed = {path for path in changed if not any(_at_or_below(path, kept) for kept in new_kept)}
    for path in sorted(changed, reverse=True):
        before, after = old_seed.get(path), new_seed.get(path)
        if after is None or (before is not None and before.kind != after.kind):
            yield Clear(path=path)
    for path in sorted(changed):
        if path in new_seed:
            yield Lay(entry=new_seed[path])
    for path, kept in new_kept.items():
        if old_kept.get(path) != kept:
            below = tuple(entry for at, entry in sorted(new_seed.items()) if _at_or_below(at, path))
            yield Keep(kept=kept, seed=below, adopts=path in adopted)


def _at_or_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")
