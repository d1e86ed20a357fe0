"""Make the program `anicca` as hosts have it: its modules, and each compiled, as Python cannot write to a store.

Environment: `out`, `source` (the package's folder).
"""

from __future__ import annotations

import compileall
import os
import shutil
import sys
from py_compile import PycInvalidationMode


def main() -> None:
    """Copy the modules, then compile them where they will be; as they never change, Python need not look."""
    os.umask(0o022)
    out = os.environ["out"]
    shutil.copytree(os.environ["source"], out)
    if not compileall.compile_dir(out, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH):
        sys.exit("not all modules could be compiled")


if __name__ == "__main__":
    main()
