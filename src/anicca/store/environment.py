"""What a builder finds: its environment and the files that go with it (nix `local-derivation-goal.cc`)."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from anicca.errors import AniccaError
from anicca.store import base32
from anicca.store.derivation import placeholder
from anicca.store.path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anicca.store.derivation import Derivation
    from anicca.store.local import LocalStore

BUILD_DIR = "/build"
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The environment, the arguments, and files to be put into the build directory before the builder starts."""

    env: Mapping[str, str]
    args: tuple[str, ...]
    files: Mapping[str, bytes]


def surroundings(store: LocalStore, drv: Derivation, *, cores: int) -> Surroundings:
    """All that the builder of `drv` is given besides its inputs."""
    rewrites = {placeholder(name): output.path for name, output in drv.outputs.items()}

    def rewrite(text: str) -> str:
        for old, new in rewrites.items():
            text = text.replace(old, new)
        return text

    env = {
        "PATH": "/path-not-set",
        "HOME": "/homeless-shelter",
        "NIX_STORE": "/nix/store",
        "NIX_BUILD_CORES": str(cores),
    }
    files: dict[str, bytes] = {}
    structured = drv.env.get("__json")
    if structured is not None:
        env |= _structured(store, drv, json.loads(structured), rewrite(structured), files)
    else:
        env |= _plain(drv, {key: rewrite(value) for key, value in drv.env.items()}, files)
        files |= _reference_graphs(store, drv)
    env |= dict.fromkeys(("NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"), BUILD_DIR)
    if drv.is_fixed:
        # The output's hash is known, so what leaks in (a proxy) cannot change it.
        env |= {name: os.environ.get(name, "") for name in drv.env.get("impureEnvVars", "").split()}
    env |= {"NIX_LOG_FD": "2", "TERM": "xterm-256color"}
    return Surroundings(env=env, args=tuple(map(rewrite, drv.args)), files=files)


def _plain(drv: Derivation, env: dict[str, str], files: dict[str, bytes]) -> dict[str, str]:
    """The derivation's own variables; those of `passAsFile` as files, named by what they are."""
    passed = set(drv.env.get("passAsFile", "").split())
    found = {}
    for key, value in env.items():
        if key not in passed:
            found[key] = value
            continue
        name = ".attr-" + base32.encode(sha256(key.encode()).digest())
        files[name] = value.encode("utf-8", "surrogateescape")
        found[key + "Path"] = f"{BUILD_DIR}/{name}"
    return found


def _structured(
    store: LocalStore, drv: Derivation, attributes: dict[str, object], text: str, files: dict[str, bytes]
) -> dict[str, str]:
    """`__structuredAttrs`: everything in `.attrs.json` and `.attrs.sh`, almost nothing in the environment."""
    content = json.loads(text)
    content["outputs"] = {name: output.path for name, output in drv.outputs.items()}
    graphs = attributes.get("exportReferencesGraph")
    if isinstance(graphs, dict):
        for key, value in graphs.items():
            paths = [value] if isinstance(value, str) else list(value)
            content[key] = _closure_json(store, paths)
    files[".attrs.json"] = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    files[".attrs.sh"] = _shell(content).encode()
    return {
        "NIX_ATTRS_SH_FILE": f"{BUILD_DIR}/.attrs.sh",
        "NIX_ATTRS_JSON_FILE": f"{BUILD_DIR}/.attrs.json",
    }


def _closure_json(store: LocalStore, paths: Iterable[str]) -> list[dict[str, object]]:
    closure = store.closure(StorePath.parse(p) for p in paths)
    return [
        {
            "path": str(i.path),
            "narHash": str(i.nar_hash),
            "narSize": i.nar_size,
            "references": sorted(map(str, i.references)),
        }
        for _path, i in sorted(store.infos(closure).items())
    ]


def _shell(content: Mapping[str, object]) -> str:
    """`.attrs.sh`: scalars, flat lists and flat mappings as bash variables."""
    lines = []
    for key, value in sorted(content.items()):
        if not _SHELL_NAME.fullmatch(key):
            continue
        simple = _simple(value)
        if simple is not None:
            lines.append(f"declare {key}={simple}")
        elif isinstance(value, list):
            items = [_simple(item) for item in value]
            if None not in items:
                lines.append(f"declare -a {key}=({''.join(f'{item} ' for item in items)})")
        elif isinstance(value, dict):
            pairs = {name: _simple(item) for name, item in sorted(value.items())}
            if None not in pairs.values():
                body = "".join(f"[{_quote(name)}]={item} " for name, item in pairs.items())
                lines.append(f"declare -A {key}=({body})")
    return "".join(line + "\n" for line in lines)


def _simple(value: object) -> str | None:
    """A scalar in shell's spelling; None if it has none."""
    if value is None:
        return "''"
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return _quote(value) if isinstance(value, str) else None


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _reference_graphs(store: LocalStore, drv: Derivation) -> dict[str, bytes]:
    """`exportReferencesGraph = "name path name path"`: a file per name, with the closure of the path."""
    words = drv.env.get("exportReferencesGraph", "").split()
    if len(words) % 2:
        raise AniccaError(f"{drv.name}: exportReferencesGraph is not a list of names and paths")
    files = {}
    for name, text in zip(words[::2], words[1::2], strict=True):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
            raise AniccaError(f"{drv.name}: {name!r} cannot be a file's name in exportReferencesGraph")
        closure = store.closure((StorePath.within(text),))
        infos = store.infos(closure)
        lines = []
        for path in sorted(closure):
            info = infos[path]
            lines += [str(path), "", str(len(info.references))]
            lines += map(str, sorted(info.references))
        files[name] = "".join(line + "\n" for line in lines).encode()
    return files
