"""The files of an EFI system partition with systemd-boot: one entry per generation. Touches nothing.

Formats: the Boot Loader Specification's type 1 entries, and loader.conf(5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BOOT_MANAGER_PATHS = ("EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi")
"""Where firmware looks without being told, and where bootctl looks for what it may update."""
BOOT_MANAGER_IN_TREE = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
"""Where Debian's package systemd-boot-efi has it."""
FILES_DIRECTORY = "EFI/anicca"

LOADER_CONF = """\
timeout 0
editor no
"""
"""No `default`: among entries of one sort-key the highest version comes first, which is the newest generation.
No editor: a command line typed at the console would be a state that nobody declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFile:
    """A kernel or initrd: where it is now, and its SHA-256 (hexadecimal), which names it on the ESP."""

    source: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BootEntry:
    """One generation in the boot menu."""

    host: str
    generation: int
    description: str
    kernel: BootFile
    initrd: BootFile
    options: str


def esp_files(entries: Sequence[BootEntry], *, boot_manager: Path) -> Mapping[str, Path | bytes]:
    """Everything on the ESP: path there -> content, or the file to copy. Equal kernels are one file."""
    files: dict[str, Path | bytes] = dict.fromkeys(BOOT_MANAGER_PATHS, boot_manager)
    files["loader/loader.conf"] = LOADER_CONF.encode()
    files["loader/entries.srel"] = b"type1\n"
    for entry in entries:
        files[kernel_path(entry)] = entry.kernel.source
        files[initrd_path(entry)] = entry.initrd.source
        files[entry_path(entry)] = entry_text(entry).encode()
    return files


def kernel_path(entry: BootEntry) -> str:
    """Where the entry's kernel is on the ESP: named by content, so a path never changes its meaning."""
    return f"{FILES_DIRECTORY}/{entry.kernel.sha256[:32]}-linux.efi"


def initrd_path(entry: BootEntry) -> str:
    """Where the entry's initrd is on the ESP."""
    return f"{FILES_DIRECTORY}/{entry.initrd.sha256[:32]}-initrd"


def entry_path(entry: BootEntry) -> str:
    """Where the entry itself is on the ESP."""
    return f"loader/entries/anicca-{entry.generation}.conf"


def entry_text(entry: BootEntry) -> str:
    """The entry's text. Raises `ValueError` where a value would break its line."""
    fields = {
        "title": f"{entry.host}: {entry.description}, generation {entry.generation}",
        "sort-key": "anicca",
        "version": str(entry.generation),
        "linux": "/" + kernel_path(entry),
        "initrd": "/" + initrd_path(entry),
        "options": entry.options.strip(),
    }
    for key, value in fields.items():
        if "\n" in value or "\r" in value:
            raise ValueError(f"boot entry {entry.generation}: {key} has a line break")
    return "".join(f"{key:<9} {value}\n" for key, value in fields.items())
