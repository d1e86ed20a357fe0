from pathlib import Path

import pytest

from anicca.disks.esp import BootEntry, BootFile, entry_path, entry_text, initrd_path, kernel_path
from anicca.errors import RefusedError
from anicca.system.boot import (
    Copy,
    Delete,
    EntryName,
    Esp,
    Step,
    Wanted,
    Write,
    apply_in_memory,
    parse_entry_name,
    plan_blessing,
    plan_boot,
)

MIB = 1 << 20


def boot_file(name: str) -> BootFile:
    return BootFile(source=Path("/store", name), sha256=name.encode().hex().ljust(64, "0"))


def wanted(number: int, kernel: str = "k1", initrd: str = "i1") -> Wanted:
    entry = BootEntry(
        host="h",
        generation=number,
        description="Debian",
        kernel=boot_file(kernel),
        initrd=boot_file(initrd),
        options=f"anicca.system=/nix/store/{number}",
    )
    return Wanted(entry=entry, size_bytes={kernel_path(entry): 10 * MIB, initrd_path(entry): 20 * MIB})


def image(number: int = 1) -> Esp:
    """What `anicca image` makes."""
    one = wanted(number)
    name = parse_entry_name(entry_path(one.entry).rsplit("/", 1)[1])
    assert name is not None
    return Esp(entries={name: entry_text(one.entry)}, files=dict(one.size_bytes), free_bytes=100 * MIB)


def words(steps: tuple[Step, ...]) -> list[str]:
    return [f"{type(s).__name__} {(s.path if not isinstance(s, str) else s).rsplit('/', 1)[1]}" for s in steps]


@pytest.mark.parametrize(
    "name",
    ["anicca-1.conf", "anicca-12-1.conf", "anicca-3+3.conf", "anicca-3+2-1.conf", "anicca-3-2+0-3.conf"],
)
def test_names_are_read_as_written(name: str) -> None:
    parsed = parse_entry_name(name)
    assert parsed is not None
    assert str(parsed) == name


@pytest.mark.parametrize("name", ["debian.conf", "anicca-x.conf", "anicca-1.conf.bak", "anicca-1-3.conf", "anicca-1"])
def test_entries_of_others_are_not_ours(name: str) -> None:
    assert parse_entry_name(name) is None


def test_an_image_needs_nothing() -> None:
    assert plan_boot([wanted(1)], image(), default=1, good=1) == ()


def test_a_new_generation_shares_the_kernel_and_boots_when_all_is_there() -> None:
    steps = plan_boot([wanted(1), wanted(2, initrd="i2")], image(), default=2, good=1)
    assert words(steps) == [
        f"Copy {boot_file('i2').sha256[:32]}-initrd",
        "Write anicca-1-1.conf",
        "Write anicca-2+3.conf",
        "Delete anicca-1.conf",
    ]
    after = apply_in_memory(image(), steps)
    assert after.next_boot() == EntryName(generation=2, left=3)
    assert "sort-key  anicca-1\n" in after.entries[EntryName(generation=1, rank=1)]
    assert "sort-key  anicca\n" in after.entries[EntryName(generation=2, left=3)]


def test_nothing_is_counted_where_not_asked() -> None:
    steps = plan_boot([wanted(1), wanted(2)], image(), default=2, good=1, counted=False)
    assert apply_in_memory(image(), steps).next_boot() == EntryName(generation=2)


def two(name: EntryName) -> Esp:
    esp = apply_in_memory(image(), plan_boot([wanted(1), wanted(2)], image(), default=2, good=1))
    entries = {n: t for n, t in esp.entries.items() if n.generation == 1}
    return Esp(entries={**entries, name: esp.entries[EntryName(generation=2, left=3)]}, files=esp.files, free_bytes=MIB)


def test_one_whose_tries_are_used_up_is_left_for_the_good_one() -> None:
    esp = two(EntryName(generation=2, left=0, done=3))
    assert esp.next_boot() == EntryName(generation=1, rank=1)
    # What comes next does not forget it.
    steps = plan_boot([wanted(1), wanted(2), wanted(3)], esp, default=3, good=1)
    after = apply_in_memory(esp, steps)
    assert EntryName(generation=2, rank=2, left=0, done=3) in after.entries
    assert after.next_boot() == EntryName(generation=3, left=3)


def test_chosen_again_it_is_tried_again() -> None:
    esp = two(EntryName(generation=2, left=0, done=3))
    after = apply_in_memory(esp, plan_boot([wanted(1), wanted(2)], esp, default=2, good=1))
    assert after.next_boot() == EntryName(generation=2, left=3)
    assert len(after.entries) == 2


def test_counts_go_on() -> None:
    esp = two(EntryName(generation=2, left=1, done=2))
    assert plan_boot([wanted(1), wanted(2)], esp, default=2, good=1) == ()


def test_a_healthy_boot_ends_the_counting() -> None:
    esp = two(EntryName(generation=2, left=2, done=1))
    after = apply_in_memory(esp, plan_blessing(esp, 2))
    assert after.next_boot() == EntryName(generation=2)
    assert plan_blessing(after, 2) == ()
    # Cut in between it has both names, and going on ends the same.
    cut = apply_in_memory(esp, plan_blessing(esp, 2)[:1])
    assert len(cut.names_of(2)) == 2
    assert apply_in_memory(cut, plan_blessing(cut, 2)).entries == after.entries


def test_boot_files_go_with_their_last_generation() -> None:
    esp = apply_in_memory(
        image(), plan_boot([wanted(1), wanted(2, kernel="k2", initrd="i2")], image(), default=2, good=2)
    )
    steps = plan_boot([wanted(2, kernel="k2", initrd="i2")], esp, default=None, good=None)
    assert words(steps) == [
        "Delete anicca-1-2.conf",
        f"Delete {boot_file('i1').sha256[:32]}-initrd",
        f"Delete {boot_file('k1').sha256[:32]}-linux.efi",
    ]
    assert set(apply_in_memory(esp, steps).files) == set(wanted(2, kernel="k2", initrd="i2").size_bytes)


def test_no_room_is_refused() -> None:
    full = Esp(entries=image().entries, files=image().files, free_bytes=15 * MIB)
    with pytest.raises(RefusedError, match="nothing was changed"):
        plan_boot([wanted(1), wanted(2, initrd="i2")], full, default=2, good=1)


def test_room_is_made_first() -> None:
    esp = Esp(entries=image().entries, files={**image().files, "EFI/anicca/old": 9 * MIB}, free_bytes=15 * MIB)
    steps = plan_boot([wanted(1), wanted(2, initrd="i2")], esp, default=2, good=1)
    assert steps[0] == Delete(path="EFI/anicca/old")
    assert isinstance(steps[1], Copy)


def test_a_file_cut_short_is_copied_again() -> None:
    esp = image()
    path = next(iter(esp.files))
    esp = Esp(entries=esp.entries, files={**esp.files, path: 5}, free_bytes=esp.free_bytes)
    assert [s.path for s in plan_boot([wanted(1)], esp, default=1, good=1) if isinstance(s, Copy)] == [path]


def test_an_entry_that_says_something_else_is_written() -> None:
    name = EntryName(generation=1)
    esp = Esp(entries={name: "title x\n"}, files=image().files, free_bytes=MIB)
    (step,) = plan_boot([wanted(1)], esp, default=1, good=1)
    assert isinstance(step, Write)


def test_a_menu_without_what_shall_boot_is_refused() -> None:
    with pytest.raises(RefusedError, match="no generation 7"):
        plan_boot([wanted(1)], image(), default=7, good=1)
