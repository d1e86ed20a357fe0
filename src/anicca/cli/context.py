"""What every command gets: the global options, the store, how progress is shown."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anicca import events

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from anicca.debian.fetch import Fetcher
    from anicca.debian.lock import Lock
    from anicca.declare.spec import Spec
    from anicca.events import Report
    from anicca.store import LocalStore, StorePath
    from anicca.system.locking import Locked
    from anicca.system.plan import SystemPlan

HOST_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(slots=True, kw_only=True)
class Context:
    """The global options. click hands it to commands that ask with `@click.pass_obj`."""

    store_root: Path | None = None
    json: bool = False
    verbose: int = 0
    report: Report = field(default=events.ignore)

    def open_store(self, *, among_mounts: bool = False, link_equal: bool = False) -> LocalStore:
        """The store that `--store` names. Made when first written to. With `link_equal`, what is added shares files.

        Where it is mounted read-only, as on hosts, only this process can write to it, and it sees mounts of its own:
        those who change the host's mounts stay `among_mounts` and do not write to the store.
        """
        from anicca.store import LocalStore  # noqa: PLC0415 (commands that need no store start faster)

        store = LocalStore.open(self.store_root, link_equal=link_equal)
        if not among_mounts and self.store_root is None:
            from anicca.system.switching.mounts import enter_writable  # noqa: PLC0415 (where used)

            enter_writable(store.store_dir)
        return store

    def print(self, record: Any, text: str) -> None:
        """The result: `record` as JSON where asked for, else `text`."""
        if self.json:
            import json  # noqa: PLC0415 (where asked for)

            click.echo(json.dumps(record, indent=2, sort_keys=True))
        elif text:
            click.echo(text)


def evaluate(context: Context, host: Path) -> Spec:
    """The spec of a host's file; its warnings are reported."""
    from anicca.declare.load import evaluate as evaluate_file  # noqa: PLC0415

    spec = evaluate_file(host)
    for warning in spec.warnings:
        context.report(events.Notice(text=str(warning), warning=True))
    return spec


def make_fetcher(spec: Spec, lock: Lock | None) -> Fetcher:
    """The fetcher of a host's packages; the mirror is looked up when something must be fetched."""
    import time  # noqa: PLC0415

    from anicca.debian.archive import find_mirrors  # noqa: PLC0415
    from anicca.debian.fetch import Fetcher, default_cache  # noqa: PLC0415
    from anicca.system.successors import find_successors  # noqa: PLC0415

    return Fetcher(
        cache=default_cache(),
        find_mirrors=lambda: find_mirrors(snapshot=spec.snapshot),
        epoch=int(time.time()) if lock is None else lock.epoch,
        superseded=find_successors(spec, apt_directory(spec)),
    )


def apt_directory(spec: Spec) -> Path:
    """Where the private apt of a host's release keeps its indexes."""
    from anicca.debian.fetch import default_cache  # noqa: PLC0415

    return default_cache() / "apt" / f"{spec.release}-{spec.architecture}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A host's declaration with its lock, and the steps that build it."""

    spec: Spec
    lock: Lock
    plan: SystemPlan

    @property
    def fetcher(self) -> Fetcher:
        """What fetches its packages."""
        return make_fetcher(self.spec, self.lock)


def plan_host(context: Context, host: Path) -> Planned:
    """Evaluate, check the lock, and plan; touches no store."""
    from anicca.system.locking import require_lock  # noqa: PLC0415
    from anicca.system.plan import plan_system  # noqa: PLC0415

    spec = evaluate(context, host)
    lock = require_lock(spec, host)
    return Planned(spec=spec, lock=lock, plan=plan_system(spec, lock))


def realise_system(context: Context, store: LocalStore, planned: Planned, *, keep_failed: bool = False) -> StorePath:
    """Build what is missing of a host's system, which it gives."""
    from anicca.system.build import realise  # noqa: PLC0415

    plan = planned.plan
    realise(store, [plan.system], plan.environment, planned.fetcher, keep_failed=keep_failed, report=context.report)
    return plan.system.out


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A host whose system is in the store."""

    spec: Spec
    lock: Lock
    plan: SystemPlan
    store: LocalStore
    fetcher: Fetcher


@contextmanager
def built(context: Context, host: Path) -> Iterator[Built]:
    """Evaluate, check the lock, and build what is missing; the store stays open."""
    from anicca.system.build import realise  # noqa: PLC0415

    planned = plan_host(context, host)
    plan, fetcher = planned.plan, planned.fetcher
    with context.open_store() as store:
        # The toolchain too: it may be gone from a store that still has the system, and disk tools come from it.
        goals = [plan.system, plan.toolchain]
        # No collector takes what is used here, built just now or long ago.
        store.protect(path for goal in goals for path in goal.outputs.values())
        realise(store, goals, plan.environment, fetcher, report=context.report)
        yield Built(spec=planned.spec, lock=planned.lock, plan=plan, store=store, fetcher=fetcher)


def pin(context: Context, spec: Spec, host: Path, update: Collection[str] | None) -> Locked:
    """Write the lock beside `host`; `update` as in `make_lock`."""
    from anicca.debian.archive import find_mirrors  # noqa: PLC0415
    from anicca.debian.lock import lock_path, read_lock  # noqa: PLC0415
    from anicca.system.locking import make_lock  # noqa: PLC0415

    with context.open_store() as store:
        return make_lock(
            spec,
            host,
            store=store,
            fetcher=make_fetcher(spec, read_lock(lock_path(host))),
            apt_directory=apt_directory(spec),
            mirrors=find_mirrors(snapshot=spec.snapshot),
            update=update,
            report=context.report,
        )
