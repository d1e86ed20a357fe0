"""What is on the ESP and what shall be there: a plan of single steps, in an order that a power cut cannot harm.

One entry per generation, type 1 of the Boot Loader Specification; kernels and initrds named by content, once each.
Which entry boots is told by order alone: systemd-boot takes the first of its list, which has entries whose tries are
used up last ("Automatic Boot Assessment"), then sort keys upwards, then versions downwards. A `default` in loader.conf
would outrank the tries, and no generation could ever be left for another. docs/internals/switch.md has the whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from anicca.disks.esp import FILES_DIRECTORY, BootEntry, entry_text, initrd_path, kernel_path
from anicca.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ENTRIES = "loader/entries"
TRIES = 3
CLUSTER_BYTES = 4096
"""What a file takes on FAT32 in whole units, and a directory once: an estimate on the safe side for small ESPs."""
_ENTRY = re.compile(r"anicca-([0-9]+)(?:-([12]))?(?:\+([0-9]+)(?:-([0-9]+))?)?\.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryName:
    """An entry's file name taken apart. `left` is None where boots are not counted (any more): it is good."""

    generation: int
    rank: int = 0
    """0: what boots; 1: what boots if that does not; 2: all others."""
    left: int | None = None
    done: int = 0

    def __str__(self) -> str:
        rank = f"-{self.rank}" if self.rank else ""
        tried = f"-{self.done}" if self.done else ""
        return f"anicca-{self.generation}{rank}{'' if self.left is None else f'+{self.left}{tried}'}.conf"

    @property
    def failed(self) -> bool:
        """Whether all its tries are used up."""
        return self.left == 0

    @property
    def order(self) -> tuple[bool, int, int]:
        """systemd-boot's order: the least boots."""
        return (self.failed, self.rank, -self.generation)


def parse_entry_name(name: str) -> EntryName | None:
    """The parts of an entry of ours; None for those of others, which nobody here touches."""
    match = _ENTRY.fullmatch(name)
    if match is None:
        return None
    number, rank, left, done = match.groups()
    return EntryName(
        generation=int(number), rank=int(rank or 0), left=None if left is None else int(left), done=int(done or 0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Esp:
    """An ESP as it was found: our entries with their text, our kernels and initrds with their sizes, what is free."""

    entries: Mapping[EntryName, str]
    files: Mapping[str, int]
    """Path below the ESP, such as `EFI/anicca/…-linux.efi`, to bytes; leftovers of interrupted writing too."""
    free_bytes: int

    def next_boot(self) -> EntryName | None:
        """What systemd-boot takes next."""
        return min(self.entries, key=_order, default=None)

    def names_of(self, generation: int) -> tuple[EntryName, ...]:
        """The entries of a generation: one, or two after a power cut at the wrong moment."""
        return tuple(sorted((n for n in self.entries if n.generation == generation), key=_order))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A generation that the boot menu shall have."""

    entry: BootEntry
    size_bytes: Mapping[str, int]
    """Of its kernel and initrd, by their paths on the ESP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove a file of ours."""

    path: str

    def __str__(self) -> str:
        return f"boot files: delete {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Copy a kernel or initrd to where its content names it, and sync it."""

    source: Path
    path: str
    size_bytes: int

    def __str__(self) -> str:
        return f"boot files: copy {self.source} to {self.path} ({self.size_bytes} bytes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Write an entry, and sync it."""

    path: str
    content: str

    def __str__(self) -> str:
        return f"boot files: write {self.path}"


Step = Delete | Copy | Write


def plan_boot(
    wanted: Sequence[Wanted], found: Esp, *, default: int | None, good: int | None, counted: bool = True
) -> tuple[Step, ...]:
    """The steps from the ESP found to one that has exactly the wanted generations and boots `default`.

    `good` comes next if `default` fails; None: both as the ESP has them. An entry new as default has three tries,
    unless not `counted` or it is the good one. Raises `RefusedError`, before anything is touched, if there is no room.
    """
    now = found.next_boot()
    default = default if default is not None else now.generation if now else None
    good = (
        good
        if good is not None
        else next((n.generation for n in sorted(found.entries, key=_order) if n.rank == 1), None)
    )
    if wanted and default not in {one.entry.generation for one in wanted}:
        raise RefusedError(f"the boot menu would have no generation {default} to boot")
    names = {
        one.entry.generation: _name(one.entry.generation, found, default=default, good=good, counted=counted)
        for one in wanted
    }
    copies, referenced = _copies(wanted, found)
    texts = {names[one.entry.generation]: ranked_text(one.entry, names[one.entry.generation].rank) for one in wanted}
    writes = [
        Write(path=f"{ENTRIES}/{name}", content=texts[name])
        # What boots comes last: until it is whole, the old one does.
        for name in sorted(texts, key=_order, reverse=True)
        if found.entries.get(name) != texts[name]
    ]
    gone = sorted(set(found.entries) - set(texts), key=_order)
    orphans = [path for path in sorted(found.files) if path not in referenced]
    # Files that no entry names, not even one that is to go, can go before anything is added.
    named_now = {path for text in found.entries.values() for path in _named(text)}
    early = [path for path in orphans if path not in named_now]
    late = [path for path in orphans if path in named_now]
    # An entry that goes is no longer booted from, unless it is the very one that the next boot takes now.
    early_gone = [name for name in gone if name.generation not in names and name != now]
    late_gone = [name for name in gone if name not in early_gone]
    early_entries = [Delete(path=f"{ENTRIES}/{name}") for name in reversed(early_gone)]
    kept_names = {path for name, text in found.entries.items() if name not in early_gone for path in _named(text)}
    freed = [path for path in late if path not in kept_names]
    late = [path for path in late if path in kept_names]
    _check_room(copies, writes, [*early, *freed], found)
    return (
        *(Delete(path=path) for path in early),
        *early_entries,
        *(Delete(path=path) for path in freed),
        *copies,
        *writes,
        *(Delete(path=f"{ENTRIES}/{name}") for name in late_gone),
        *(Delete(path=path) for path in late),
    )


def plan_blessing(found: Esp, generation: int) -> tuple[Step, ...]:
    """The steps that end the counting of a generation's boots: it has proven healthy.

    No renaming: FAT cannot do that in one step, and in between the generation would have no entry.
    """
    counted = [name for name in found.names_of(generation) if name.left is not None]
    if not counted:
        return ()
    name = EntryName(generation=generation, rank=counted[0].rank)
    write = Write(path=f"{ENTRIES}/{name}", content=found.entries[counted[0]])
    return (
        *(() if name in found.entries else (write,)),
        *(Delete(path=f"{ENTRIES}/{each}") for each in counted),
    )


def ranked_text(entry: BootEntry, rank: int) -> str:
    """The entry's text with the sort key of its rank; that of rank 0 is what an image is made with."""
    text = entry_text(entry)
    return text if rank == 0 else re.sub(r"(?m)^sort-key .*$", f"sort-key  anicca-{rank}", text)


def apply_in_memory(found: Esp, steps: Sequence[Step]) -> Esp:
    """The ESP after the steps: what tests cut, and what a plan after a plan starts from."""
    entries, files, free = dict(found.entries), dict(found.files), found.free_bytes
    for step in steps:
        match step:
            case Delete(path=path) if (name := parse_entry_name(path.rsplit("/", 1)[1])) is not None:
                del entries[name]
                free += CLUSTER_BYTES
            case Delete(path=path):
                free += _whole(files.pop(path))
            case Copy(path=path, size_bytes=size_bytes):
                files[path] = size_bytes
                free -= _whole(size_bytes)
            case Write(path=path, content=content):
                name = parse_entry_name(path.rsplit("/", 1)[1])
                assert name is not None
                free -= 0 if name in entries else CLUSTER_BYTES
                entries[name] = content
            case _:
                assert_never(step)
    return Esp(entries=entries, files=files, free_bytes=free)


def _name(generation: int, found: Esp, *, default: int | None, good: int | None, counted: bool) -> EntryName:
    """The entry's name as it shall be; counts go on where the rank stays."""
    rank = 0 if generation == default else 1 if generation == good else 2
    known = found.names_of(generation)
    if known and known[0].rank == rank and not (rank == 0 and known[0].failed):
        return known[0]
    # One that failed keeps that mark in the back rows; chosen again, it is tried again.
    if rank != 0:
        left, done = (known[0].left, known[0].done) if known else (None, 0)
        return EntryName(generation=generation, rank=rank, left=left, done=done)
    return EntryName(generation=generation, left=TRIES if counted and generation != good else None)


def _copies(wanted: Sequence[Wanted], found: Esp) -> tuple[list[Copy], set[str]]:
    """Kernels and initrds that are missing or cut short, and the paths of all that are needed."""
    copies: dict[str, Copy] = {}
    referenced: set[str] = set()
    for one in wanted:
        sources = {kernel_path(one.entry): one.entry.kernel.source, initrd_path(one.entry): one.entry.initrd.source}
        for path, source in sources.items():
            referenced.add(path)
            if found.files.get(path) != one.size_bytes[path]:
                copies[path] = Copy(source=source, path=path, size_bytes=one.size_bytes[path])
    return list(copies.values()), referenced


def _order(name: EntryName) -> tuple[bool, int, int]:
    return name.order


def _named(text: str) -> list[str]:
    """The files that an entry's text needs."""
    found = re.findall(r"(?m)^(?:linux|initrd)\s+/(\S+)$", text)
    return [path for path in found if path.startswith(FILES_DIRECTORY)]


def _check_room(copies: Sequence[Copy], writes: Sequence[Write], freed: Sequence[str], found: Esp) -> None:
    # A file that lies there cut short is written anew beside it.
    need = sum(_whole(copy.size_bytes) for copy in copies) + CLUSTER_BYTES * (len(writes) + 1 if writes else 0)
    have = found.free_bytes + sum(_whole(found.files[path]) for path in freed)
    if need > have:
        raise RefusedError(
            f"/boot has room for {have // 1024} KiB, the new boot files take {need // 1024} KiB; nothing was changed",
            hint="anicca gc --keep N drops old generations with their boot files",
        )


def _whole(size_bytes: int) -> int:
    return -(-size_bytes // CLUSTER_BYTES) * CLUSTER_BYTES
