"""Real Nix beside us: its tools on a store of their own or on ours."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.integration.store.trixie import tools_of_trixie

from anicca import fs, process
from anicca.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CONFIGURATION = """\
build-users-group =
substituters =
experimental-features = nix-command
sandbox = true
sandbox-fallback = false
sandbox-paths = /bin/sh=/usr/bin/busybox
keep-derivations = true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nix:
    """Runs Nix's tools on the store below `root`."""

    root: Path
    env: Mapping[str, str]

    def __call__(self, tool: str, *words: str | Path, stdin: bytes | None = None, check: bool = True) -> str:
        done = process.run(
            [tool, *_placed(tool, words, self.root)], env=self.env, stdin=stdin, check=check, timeout_seconds=120
        )
        return done.text

    def at(self, root: Path, **env: str) -> Nix:
        (root / "nix" / "var" / "nix").mkdir(parents=True, exist_ok=True)
        return Nix(root=root, env={**self.env, **env})

    def raw(self, tool: str, *words: str | Path, stdin: bytes | None = None) -> bytes:
        return process.run(
            [tool, *_placed(tool, words, self.root)], env=self.env, stdin=stdin, timeout_seconds=120
        ).stdout


def _placed(tool: str, words: tuple[str | Path, ...], root: Path) -> list[str | Path]:
    store = ["--store", str(root)]
    return [words[0], *words[1:], *store] if tool == "nix" else [*store, *words]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Where a store may be made; read-only trees are removed afterwards."""
    root = tmp_path / "root"
    (root / "nix" / "var" / "nix").mkdir(parents=True)
    yield root
    fs.remove_tree(tmp_path)


@pytest.fixture
def store(root: Path) -> Iterator[LocalStore]:
    with LocalStore.open(root, durable=False) as opened:
        yield opened


@pytest.fixture(params=["installed"])
def nix(root: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Nix:
    """The machine's own Nix. A module that asks with `BOTH` has Debian 13's as well."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    path = os.environ["PATH"]
    if request.param == "trixie":
        tools = tools_of_trixie()
        if isinstance(tools, str):
            pytest.skip(f"Debian 13's nix-bin cannot be had here: {tools}")
        path = f"{tools}:{path}"
    elif shutil.which("nix-store") is None:
        pytest.skip("nix-store is not installed (nix-bin)")
    directory = tmp_path / "nix-conf"
    directory.mkdir()
    (directory / "nix.conf").write_text(CONFIGURATION)
    return Nix(root=root, env={"PATH": path, "NIX_CONF_DIR": str(directory), "HOME": str(tmp_path)})
