"""Building derivations in the order of their needs, several at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.events import Advanced, Finished, Started, ignore
from anicca.store.derivation import from_derivation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from anicca.events import Report
    from anicca.store.context import Builtin, Settings
    from anicca.store.derivation import Instantiated
    from anicca.store.local import LocalStore
    from anicca.store.path import StorePath
    from anicca.store.running import Limits

    Substitute = Callable[[set[StorePath]], object]


def build(
    store: LocalStore,
    goals: Sequence[Instantiated],
    *,
    builders: Mapping[str, Builtin] | None = None,
    report: Report = ignore,
    jobs: int = 1,
    cores: int = 0,
    keep_failed: bool = False,
    keep_going: bool = False,
    check: bool = False,
    limits: Limits | None = None,
    substitute: Substitute | None = None,
) -> dict[StorePath, dict[str, StorePath]]:
    """Make all outputs of `goals` valid; the outputs of each by the derivation's path.

    What is valid already is not built (with `check`, goals are built again and compared). `substitute` is offered
    the outputs that are missing and may make some valid. Up to `jobs` derivations are built at once. The first
    failure ends the others and is raised, with `keep_going` after all that can still be built. An interrupt ends all
    builders, then goes on as KeyboardInterrupt.
    """
    result = {goal.path: dict(goal.outputs) for goal in goals}
    if store.writable:
        # What is valid now may be collected before it is used: protect, then look.
        store.protect({path for goal in goals for path in goal.outputs.values()})
    todo = {goal.path: goal for goal in goals} if check else plan(store, goals)
    if not todo:
        return result
    store.protect(_touched(todo.values()))
    if not check:
        todo = plan(store, goals)
    if substitute is not None and todo and not check:
        substitute({p for item in todo.values() for p in item.outputs.values()})
        todo = plan(store, goals)
    if not todo:
        return result
    store.add_derivation(*todo.values())
    if check:
        build(store, [i for goal in goals for i in goal.inputs], builders=builders, report=report, jobs=jobs)
    from anicca.store import context, running  # noqa: PLC0415 (where nothing is to be built, none of it is needed)

    settings = context.Settings(
        builders=_with_own(builders or {}),
        cores=cores,
        keep_failed=keep_failed,
        check=check,
        limits=limits or running.Limits(),
    )
    _run(store, todo, settings, report, jobs=jobs, keep_going=keep_going)
    return result


def rebuild(
    store: LocalStore,
    item: Instantiated,
    *,
    repair: StorePath,
    builders: Mapping[str, Builtin] | None = None,
    report: Report = ignore,
) -> None:
    """Build `item`, which is valid, again and put its output `repair` in the place of a damaged one.

    AniccaError if what was built is not what is registered.
    """
    from anicca.store import context, realise, running  # noqa: PLC0415 (where used)

    build(store, list(item.inputs), builders=builders, report=report)
    store.protect(_touched([item]))
    settings = context.Settings(builders=_with_own(builders or {}), check=True, repair=repair)
    with running.Cancel() as cancel:
        realise.realise(store, item, settings, report, cancel)


def _touched(items: Iterable[Instantiated]) -> set[StorePath]:
    """What building `items` makes and reads."""
    touched: set[StorePath] = set()
    for item in items:
        touched.add(item.path)
        touched.update(item.outputs.values(), item.drv.input_sources)
        for needed in item.inputs:
            touched.update(needed.outputs[n] for n in item.drv.input_derivations[needed.path])
    return touched


def plan(store: LocalStore, goals: Sequence[Instantiated]) -> dict[StorePath, Instantiated]:
    """What must be built for all outputs of `goals` to be valid: nothing whose outputs are."""
    todo: dict[StorePath, Instantiated] = {}
    level: dict[StorePath, Instantiated] = {goal.path: goal for goal in goals}
    wanted: dict[StorePath, set[StorePath]] = {goal.path: set(goal.outputs.values()) for goal in goals}
    seen: dict[StorePath, set[StorePath]] = {}
    while level:
        valid = store.valid({p for path in level for p in wanted[path]})
        following: dict[StorePath, Instantiated] = {}
        for path, item in level.items():
            fresh = wanted[path] - seen.get(path, set())
            seen.setdefault(path, set()).update(fresh)
            if path in todo or fresh <= valid:
                continue
            todo[path] = item
            for needed in item.inputs:
                names = item.drv.input_derivations[needed.path]
                wanted.setdefault(needed.path, set()).update(needed.outputs[n] for n in names)
                following[needed.path] = needed
        level = following
    return todo


def load(store: LocalStore, paths: Iterable[StorePath]) -> list[Instantiated]:
    """The derivations in `.drv` files of the store, with their inputs. AniccaError if one is not what it claims."""
    loaded: dict[StorePath, Instantiated] = {}
    goals = list(paths)
    stack = list(goals)
    while stack:
        path = stack[-1]
        if path in loaded:
            stack.pop()
            continue
        drv = store.read_derivation(path)
        missing = [p for p in drv.input_derivations if p not in loaded]
        if missing:
            if set(missing) & set(stack):
                raise AniccaError(f"{path}: needs itself")
            stack += missing
            continue
        try:
            loaded[path] = from_derivation(drv, path, loaded)
        except ValueError as error:
            raise AniccaError(str(error)) from error
        stack.pop()
    return [loaded[path] for path in goals]


def _with_own(builders: Mapping[str, Builtin]) -> Mapping[str, Builtin]:
    """The caller's builders and those of the store itself."""
    from anicca.store.fetch import fetchurl  # noqa: PLC0415 (where used)

    return {"builtin:fetchurl": fetchurl, **builders}


def _run(
    store: LocalStore,
    todo: Mapping[StorePath, Instantiated],
    settings: Settings,
    report: Report,
    *,
    jobs: int,
    keep_going: bool,
) -> None:
    """Build all of `todo`."""
    from anicca.store.realise import realise  # noqa: PLC0415 (see `build`)
    from anicca.store.running import Cancel  # noqa: PLC0415
    from anicca.store.schedule import run_in_order  # noqa: PLC0415

    def done(path: StorePath, count: int) -> None:
        report(Advanced(task="build", done=count, note=todo[path].drv.name))

    report(Started(task="build", total=len(todo), unit="derivations"))
    with Cancel() as cancel:
        run_in_order(
            {path: [i.path for i in item.inputs] for path, item in todo.items()},
            lambda path: realise(store, todo[path], settings, report, cancel),
            jobs=jobs,
            done=done,
            cancel=cancel.ask,
            keep_going=keep_going,
        )
    report(Finished(task="build"))
