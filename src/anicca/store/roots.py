"""Garbage collector roots: links below `gcroots` and `profiles`, direct or through a link anywhere (nix `gc.cc`)."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from anicca.store import base32

if TYPE_CHECKING:
    from pathlib import Path


def indirect_root_name(link: Path) -> str:
    """The name below `gcroots/auto` that stands for `link`."""
    return base32.encode(hashlib.sha1(os.fsencode(link), usedforsecurity=False).digest())
