"""The kernel modules that some others need, in the order to load them, from depmod's files of a kernel tree."""

from __future__ import annotations

import gzip
import lzma
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import zstandard

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


def read_modules(directory: Path, names: Iterable[str]) -> list[tuple[str, bytes]]:
    """Name and content of these modules and all that they need, dependencies first; built-in ones need none.

    `directory` is a kernel's `lib/modules/VERSION`. Raises `AniccaError` where it has no such module.
    """
    try:
        paths = parse_dependencies((directory / "modules.dep").read_text())
    except FileNotFoundError as error:
        raise AniccaError(f"{directory}: holds no kernel modules (no modules.dep)") from error
    soft = parse_soft_dependencies(_read_text(directory / "modules.softdep"))
    aliases = parse_aliases(_read_text(directory / "modules.alias"))
    builtin = {module_name(line) for line in _read_text(directory / "modules.builtin").splitlines()}
    ordered = order_modules(names, paths=paths, soft=soft, aliases=aliases, builtin=builtin)
    return [(name, _read_module(directory / paths[name][0])) for name in ordered]


def order_modules(
    names: Iterable[str],
    *,
    paths: Mapping[str, Sequence[str]],
    soft: Mapping[str, Sequence[str]],
    aliases: Mapping[str, Sequence[str]],
    builtin: set[str],
) -> list[str]:
    """The names of modules to load, dependencies first. Soft ones that are nowhere are left out, as modprobe does."""
    ordered: list[str] = []
    visiting: set[str] = set()

    def visit(name: str) -> None:
        if name in builtin or name in visiting:
            return
        if name not in paths:
            raise AniccaError(f"the kernel has no module {name}")
        visiting.add(name)
        for wanted in soft.get(name, ()):
            for candidate in (wanted, *aliases.get(wanted, ())):
                if candidate in paths:
                    visit(candidate)
        for path in paths[name][1:]:
            visit(module_name(path))
        ordered.append(name)

    for name in names:
        visit(name)
    return ordered


def module_name(path: str) -> str:
    """`kernel/fs/f2fs/f2fs.ko.xz` -> `f2fs`; modules call themselves with underscores."""
    return PurePosixPath(path).name.split(".")[0].replace("-", "_")


def parse_dependencies(text: str) -> dict[str, list[str]]:
    """modules.dep: name -> its path, then the paths of what it needs."""
    found = {}
    for line in text.splitlines():
        path, _, needed = line.partition(":")
        found[module_name(path)] = [path, *needed.split()]
    return found


def parse_soft_dependencies(text: str) -> dict[str, list[str]]:
    """modules.softdep: name -> what should be loaded before it."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        match line.split():
            case ["softdep", name, *words]:
                before = False
                for word in words:
                    if word in {"pre:", "post:"}:
                        before = word == "pre:"
                    elif before:
                        found.setdefault(name.replace("-", "_"), []).append(word.replace("-", "_"))
            case _:
                pass
    return found


def parse_aliases(text: str) -> dict[str, list[str]]:
    """modules.alias: plain aliases (no patterns) -> the modules that go by them."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        match line.split():
            case ["alias", alias, name] if not set("*?[:") & set(alias):
                found.setdefault(alias.replace("-", "_"), []).append(name.replace("-", "_"))
            case _:
                pass
    return found


def _read_text(path: Path) -> str:
    """An index of depmod's; nothing where there is none."""
    return path.read_text() if path.exists() else ""


def _read_module(path: Path) -> bytes:
    """The module itself: busybox's insmod does not unpack, nor does every kernel."""
    content = path.read_bytes()
    match path.suffix:
        case ".xz":
            return lzma.decompress(content)
        case ".gz":
            return gzip.decompress(content)
        case ".zst":
            with zstandard.ZstdDecompressor().stream_reader(content) as reader:
                return reader.read()
        case _:
            return content
