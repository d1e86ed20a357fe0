"""Run on a host: `anicca` with arguments, stopped for good right after a step, so that the power can be cut.

The step is said by its number, or by its name for the first one of that name.

Steps are all that changes something: mounts, paths of the root, what systemd is told, files, links, copies to the ESP.
"""

import atexit
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from anicca import fs
from anicca.cli.app import main
from anicca.system.switching import esp, mounts, paths, systemd

WHERE = (
    (mounts, "replace"),
    (mounts, "mount_image"),
    (paths, "do"),
    (systemd, "act"),
    (systemd, "systemctl"),
    (fs, "write_atomic"),
    (fs, "symlink_atomic"),
    (esp, "_copy"),
)
last = sys.argv.pop(1)
done = 0


def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, after which the program may stop."""

    @wraps(function)
    def step(*arguments: Any, **options: Any) -> Any:
        global done  # noqa: PLW0603 (one count for all)
        result = function(*arguments, **options)
        done += 1
        if last in (str(done), name):
            # Nothing is synced here: what is to survive must have been.
            print("stopped after", name, *map(str, arguments), flush=True)  # noqa: T201
            time.sleep(3600)
        return result

    return step


for module, name in WHERE:
    setattr(module, name, counted(name, getattr(module, name)))
atexit.register(lambda: print("ended after", done, "steps", flush=True))  # noqa: T201
main()
