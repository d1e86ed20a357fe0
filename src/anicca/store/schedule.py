"""Work in the order of needs, several pieces at a time."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from anicca.store.running import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from anicca.store.path import StorePath


def run_in_order(  # noqa: C901 (one loop with all that can happen to a piece of work)
    needs: Mapping[StorePath, Collection[StorePath]],
    work: Callable[[StorePath], None],
    *,
    jobs: int,
    done: Callable[[StorePath, int], None] = lambda _path, _count: None,
    cancel: Callable[[], None] = lambda: None,
    keep_going: bool = False,
) -> None:
    """Call `work` for each key of `needs`, after those keys that it needs, in up to `jobs` threads.

    The first failure, or an interrupt, calls `cancel` (which should end what runs) and is raised when nothing runs
    any more; with `keep_going`, after everything that does not need what failed. `done` hears of each success and
    how many there were, from the calling thread.
    """
    missing = {path: {n for n in of if n in needs and n != path} for path, of in needs.items()}
    needed_by: dict[StorePath, list[StorePath]] = {}
    for path, of in missing.items():
        for other in of:
            needed_by.setdefault(other, []).append(path)
    ready = [path for path, of in missing.items() if not of]
    ready.reverse()
    errors: list[BaseException] = []
    count = 0
    with ThreadPoolExecutor(max(1, jobs), "store") as pool:
        running: dict[Future[None], StorePath] = {}
        try:
            while running or (ready and (not errors or keep_going)):
                while ready and len(running) < max(1, jobs) and (not errors or keep_going):
                    path = ready.pop()
                    running[pool.submit(work, path)] = path
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    path = running.pop(future)
                    error = future.exception()
                    if error is None:
                        count += 1
                        done(path, count)
                        for other in needed_by.get(path, ()):
                            missing[other].discard(path)
                            if not missing[other]:
                                ready.append(other)
                        continue
                    if not isinstance(error, Cancelled):
                        errors.append(error)
                    if not keep_going:
                        cancel()
        except BaseException:
            cancel()
            raise
    if errors:
        raise errors[0]
