"""Compile what the builders of a host's parts import: the toolchain's Python comes without, and would do so each time.

Environment: `out`, `library` (the folder of our modules), `toolchain`. `out` is a cache prefix (PYTHONPYCACHEPREFIX); a
link in it leads to the toolchain, so whoever keeps the one keeps both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Have a Python import all of our modules, and so what they import, and keep what it compiles."""
    os.umask(0o022)
    names = sorted(path.stem for path in Path(os.environ["library"]).glob("*.py"))
    # What is in a frozen set is written in the order of its hashes.
    prefix = {"PYTHONPYCACHEPREFIX": os.environ["out"], "PYTHONHASHSEED": "0"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    argv = [sys.executable, "-c", f"import subprocess, {', '.join(names)}"]
    subprocess.run(argv, env={**environment, **prefix}, check=True)
    Path(os.environ["out"], "toolchain").symlink_to(os.environ["toolchain"])


if __name__ == "__main__":
    main()
