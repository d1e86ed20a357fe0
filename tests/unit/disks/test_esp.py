from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anicca.disks.esp import BootEntry, BootFile, entry_text, esp_files

KERNEL = BootFile(source=Path("/store/k/kernel"), sha256="a" * 31 + "b" + "c" * 32)
INITRD = BootFile(source=Path("/store/i/initrd"), sha256="d" * 64)
MANAGER = Path("/store/sd/systemd-bootx64.efi")


def entry(generation: int = 3) -> BootEntry:
    return BootEntry(
        host="sundryvm",
        generation=generation,
        description="Debian 13 (trixie)",
        kernel=KERNEL,
        initrd=INITRD,
        options="rw anicca.system=/nix/store/x\n",
    )


def test_entry_text() -> None:
    assert entry_text(entry()) == (
        "title     sundryvm: Debian 13 (trixie), generation 3\n"
        "sort-key  anicca\n"
        "version   3\n"
        f"linux     /EFI/anicca/{'a' * 31}b-linux.efi\n"
        f"initrd    /EFI/anicca/{'d' * 32}-initrd\n"
        "options   rw anicca.system=/nix/store/x\n"
    )


@pytest.mark.parametrize("text", ["rw\nlinux /evil", "rw\rx"])
def test_a_value_cannot_start_another_line(text: str) -> None:
    with pytest.raises(ValueError, match="options has a line break"):
        entry_text(replace(entry(), options=text))


def test_generations_share_equal_files() -> None:
    other = replace(entry(4), initrd=BootFile(source=Path("/store/j/initrd"), sha256="e" * 64))
    files = esp_files([entry(), other], boot_manager=MANAGER)
    assert set(files) == {
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/systemd/systemd-bootx64.efi",
        "loader/loader.conf",
        "loader/entries.srel",
        "loader/entries/anicca-3.conf",
        "loader/entries/anicca-4.conf",
        f"EFI/anicca/{'a' * 31}b-linux.efi",
        f"EFI/anicca/{'d' * 32}-initrd",
        f"EFI/anicca/{'e' * 32}-initrd",
    }
    assert files["EFI/BOOT/BOOTX64.EFI"] == MANAGER
    assert files[f"EFI/anicca/{'e' * 32}-initrd"] == Path("/store/j/initrd")
