"""`python -m anicca` and `anicca`: the store's questions and bytes the short way, all else the long one."""

from __future__ import annotations

import os
import sys

from anicca import __version__


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        done = _short_way(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    if not done:
        from anicca.cli.app import main as run  # noqa: PLC0415 (the long way)

        run()
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read our output has seen enough.
        os._exit(1)
    # Taking the interpreter apart would cost as much as some questions, and nothing is left to be done.
    os._exit(0)


def _short_way(words: list[str]) -> bool:
    """Whether `words` were something that needs little of us, and that is done. Nothing is imported for the others."""
    if words == ["--version"]:
        sys.stdout.write(f"anicca {__version__}\n")
        return True
    if words[:1] == ["store"] and words[1:2] and words[1] in ("hash", "dump", "--dump"):
        from anicca.cli.quick_nar import done  # noqa: PLC0415 (where asked for)

        return done(words[1:])
    if "store" in words:
        from anicca.cli.quick import answered  # noqa: PLC0415 (where asked for)

        return answered(words)
    return False


if __name__ == "__main__":
    main()
