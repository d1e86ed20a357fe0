"""Build logs: bzip2 files where Nix keeps them, `log/nix/drvs/<2 characters>/<rest>.drv.bz2`."""

from __future__ import annotations

import bz2
from typing import TYPE_CHECKING

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anicca.store.path import StorePath


def log_file(log_dir: Path, drv: StorePath) -> Path:
    """Where the log of building `drv` is kept."""
    return log_dir / drv.basename[:2] / f"{drv.basename[2:]}.bz2"


def read_log(log_dir: Path, drv: StorePath) -> Iterator[bytes]:
    """The last build's log in chunks. AniccaError if there is none."""
    file = log_file(log_dir, drv)
    plain = file.with_suffix("")
    try:
        with bz2.open(file) if file.exists() else plain.open("rb") as stream:
            while chunk := stream.read(1 << 16):
                yield chunk
    except FileNotFoundError as error:
        raise AniccaError(
            f"{drv}: no log of a build is kept", hint="it was never built here, or made elsewhere"
        ) from error
    except (OSError, EOFError) as error:
        raise AniccaError(f"{file}: the log is damaged: {error}") from error
