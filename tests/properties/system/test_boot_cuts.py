"""A power cut between any two steps leaves an ESP that boots the old generation or the new one, whole."""

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from anicca.disks.esp import BootEntry, BootFile, initrd_path, kernel_path
from anicca.system.boot import EntryName, Esp, Step, Wanted, _named, apply_in_memory, plan_blessing, plan_boot


def wanted(number: int, content: int) -> Wanted:
    def file(kind: str, what: int) -> BootFile:
        return BootFile(source=Path(f"/{kind}{what}"), sha256=f"{kind}{what}".ljust(64, "_"))

    entry = BootEntry(
        host="h",
        generation=number,
        description="d",
        kernel=file("kernel", content // 2),
        initrd=file("initrd", content),
        options=f"anicca.system={number}",
    )
    return Wanted(entry=entry, size_bytes={kernel_path(entry): 1 << 20, initrd_path(entry): 2 << 20})


@dataclass
class Host:
    esp: Esp
    known: dict[int, int]
    """Generation to the content of its kernel and initrd."""
    highest: int = 1
    good: int = 1
    cuts: int = field(default=0)

    def want(self) -> list[Wanted]:
        return [wanted(number, content) for number, content in sorted(self.known.items())]

    def go(self, steps: tuple[Step, ...], allowed: set[int]) -> None:
        """Cut everywhere; whatever is left must boot, and the same plan made anew must end the same way."""
        for count in range(len(steps) + 1):
            cut = apply_in_memory(self.esp, steps[:count])
            for text in cut.entries.values():
                assert all(path in cut.files for path in _named(text)), f"{text} after {count} of {steps}"
            following = cut.next_boot()
            assert following is not None
            assert following.generation in allowed, f"{following} after {count} of {steps}"
            assert cut.free_bytes >= 0
            self.cuts += 1
        self.esp = apply_in_memory(self.esp, steps)


def first() -> Host:
    one = wanted(1, 0)
    empty = Esp(entries={}, files={}, free_bytes=64 << 20)
    return Host(esp=apply_in_memory(empty, plan_boot([one], empty, default=1, good=1)), known={1: 0})


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.integers(0, 7)),
        st.tuples(st.just("return"), st.integers(0, 9)),
        st.tuples(st.just("forget"), st.integers(0, 1023)),
        st.tuples(st.just("boot"), st.integers(1, 4)),
        st.tuples(st.just("bless"), st.just(0)),
    ),
    max_size=12,
)


def following(host: Host) -> int:
    name = host.esp.next_boot()
    assert name is not None
    return name.generation


def act(host: Host, action: str, number: int) -> None:
    now = following(host)
    match action:
        case "new" | "return":
            if action == "new":
                host.highest += 1
                host.known[host.highest] = number
                target = host.highest
            else:
                target = sorted(host.known)[number % len(host.known)]
            steps = plan_boot(host.want(), host.esp, default=target, good=host.good)
            before = host.esp
            host.go(steps, {now, target})
            assert following(host) == target
            assert plan_boot(host.want(), host.esp, default=target, good=host.good) == ()
            for count in range(len(steps)):
                cut = apply_in_memory(before, steps[:count])
                again = apply_in_memory(cut, plan_boot(host.want(), cut, default=target, good=host.good))
                assert set(again.entries) == set(host.esp.entries)
                assert again.files == host.esp.files
        case "forget":
            kept = {n: c for n, c in host.known.items() if n in (now, host.good) or not number >> (n % 10) & 1}
            host.known = kept
            host.go(plan_boot(host.want(), host.esp, default=None, good=host.good), {now})
            assert {name.generation for name in host.esp.entries} == set(kept)
        case "boot":
            for _ in range(number):
                name = host.esp.next_boot()
                assert name is not None
                if name.left:
                    tried = EntryName(
                        generation=name.generation, rank=name.rank, left=name.left - 1, done=name.done + 1
                    )
                    entries = dict(host.esp.entries)
                    entries[tried] = entries.pop(name)
                    host.esp = Esp(entries=entries, files=host.esp.files, free_bytes=host.esp.free_bytes)
        case "bless":
            host.go(plan_blessing(host.esp, now), {now})
            host.good = now


@settings(deadline=None)
@given(ACTIONS)
def test_any_cut_leaves_the_old_or_the_new(actions: list[tuple[str, int]]) -> None:
    host = first()
    for action, number in actions:
        act(host, action, number)
    files = {path for text in host.esp.entries.values() for path in _named(text)}
    assert set(host.esp.files) >= files
