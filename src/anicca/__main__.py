"""`python -m anicca`, and the command `anicca`: questions to the store the short way, all else the long one."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from anicca.cli.quick import answered  # noqa: PLC0415 (builders of derivations import this package, not this)

    try:
        done = answered(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    if not done:
        from anicca.cli.app import main as run  # noqa: PLC0415 (the long way)

        run()


if __name__ == "__main__":
    main()
