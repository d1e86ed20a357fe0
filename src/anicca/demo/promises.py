"""What a spec promises, as shell questions with the answers that must come back. Pure: nothing is asked here."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from anicca.declare.root import Afresh, Btrfs, F2fs, Nilfs2, Overlay, Tmpfs, Zfs
from anicca.declare.spec import DirectorySpec, FileSpec, LinkSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anicca.debian.lock import Lock
    from anicca.declare.spec import EntrySpec, Spec

READ_ONLY = ("/usr", "/etc", "/nix/store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A sentence, the question that checks it (sh, run as root on the host), and the lines of its right answer."""

    sentence: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A promise and what the machine said."""

    promise: Promise
    said: str

    @property
    def holds(self) -> bool:
        """Whether the machine said what it must."""
        return self.said == self.promise.answer


def promises(spec: Spec, lock: Lock) -> tuple[Promise, ...]:
    """Everything that a host of this spec must be, at any boot."""
    return (
        *_system(spec),
        *_files(spec.files),
        *_people(spec, lock),
        *_units(spec),
        *_packages(spec, lock),
        *_persisted(spec),
    )


def _system(spec: Spec) -> Iterable[Promise]:
    yield Promise(
        sentence="multi-user is reached and no unit has failed",
        question="systemctl is-active multi-user.target; systemctl list-units --state=failed --plain --no-legend",
        answer="active",
    )
    yield Promise(sentence=f"its name is {spec.hostname}", question="hostname", answer=spec.hostname)
    match spec.root:
        case F2fs():
            yield Promise(
                sentence="/ is f2fs and the kernel holds no checkpoint",
                question="findmnt -n -o FSTYPE /; findmnt -n -o OPTIONS / | grep -o checkpoint=disable",
                answer="f2fs\ncheckpoint=disable",
            )
            if spec.root.compress_algorithm is not None:
                yield Promise(
                    sentence=f"/ can compress with {spec.root.compress_algorithm}",
                    question=f"findmnt -n -o OPTIONS / | grep -o compress_algorithm={spec.root.compress_algorithm}",
                    answer=f"compress_algorithm={spec.root.compress_algorithm}",
                )
        case Btrfs():
            yield Promise(sentence="/ is btrfs", question="findmnt -n -o FSTYPE,FSROOT /", answer="btrfs  /root")
        case Afresh():
            yield Promise(
                sentence=f"/ is {spec.root.filesystem}", question="findmnt -n -o FSTYPE /", answer=spec.root.filesystem
            )
        case Overlay() | Nilfs2():
            yield Promise(sentence="/ is an overlay", question="findmnt -n -o FSTYPE /", answer="overlay")
        case Tmpfs():
            yield Promise(sentence="/ is in memory", question="findmnt -n -o FSTYPE /", answer="tmpfs")
        case Zfs():
            yield Promise(sentence="/ is ZFS", question="findmnt -n -o FSTYPE /", answer="zfs")
        case _:
            assert_never(spec.root)
    for path in READ_ONLY:
        yield Promise(
            sentence=f"{path} refuses writes",
            question=f"touch {path}/anicca-demo 2>&1 | grep -o 'Read-only file system'",
            answer="Read-only file system",
        )
    yield Promise(
        sentence=f"the time zone is {spec.timezone}",
        question="timedatectl show -p Timezone --value",
        answer=spec.timezone,
    )
    yield Promise(
        sentence=f"the locale is {spec.locale}",
        question=". /etc/default/locale; echo $LANG",
        answer=spec.locale,
    )


def _files(entries: Sequence[EntrySpec]) -> Iterable[Promise]:
    for entry in entries:
        path = shlex.quote(entry.path)
        match entry:
            case FileSpec():
                digest = hashlib.sha256(entry.content).hexdigest()
                yield Promise(
                    sentence=f"{entry.path} has its content, owner and mode",
                    question=f"stat -c '%F %U:%G %a' {path} | sed 's/regular empty file/regular file/'; "
                    f"sha256sum < {path} | cut -d' ' -f1",
                    answer=f"regular file {entry.owner}:{entry.group} {entry.mode:o}\n{digest}",
                )
            case LinkSpec():
                yield Promise(
                    sentence=f"{entry.path} points to {entry.target}",
                    question=f"readlink {path}",
                    answer=entry.target,
                )
            case DirectorySpec():
                yield Promise(
                    sentence=f"{entry.path} is a directory with its owner and mode",
                    question=f"stat -c '%F %U:%G %a' {path}",
                    answer=f"directory {entry.owner}:{entry.group} {entry.mode:o}",
                )
            case _:
                assert_never(entry)


def _people(spec: Spec, lock: Lock) -> Iterable[Promise]:
    for user in spec.users:
        uid, gid = lock.users[user.name], lock.groups[user.name]
        yield Promise(
            sentence=f"{user.name} is a user with the id of the lock, and no password",
            question=f"getent passwd {user.name}; getent shadow {user.name} | cut -d: -f2",
            answer=f"{user.name}:x:{uid}:{gid}:{user.comment}:{user.home}:{user.shell}\n!",
        )
        if user.groups:
            yield Promise(
                sentence=f"{user.name} is in {', '.join(user.groups)}",
                question=f"id -nG {user.name} | tr ' ' '\\n' | sort",
                answer="\n".join(sorted({user.name, *user.groups})),
            )
        if user.ssh_keys:
            yield Promise(
                sentence=f"{user.name} can log in with the declared key{'s' if len(user.ssh_keys) > 1 else ''}",
                question=f"sshd -T -C user={user.name} | grep -i ^authorizedkeysfile | grep -o '/etc/[^ ]*'; "
                f"grep -v '^#' /etc/ssh/authorized_keys.d/{user.name}",
                answer="\n".join(["/etc/ssh/authorized_keys.d/%u", *user.ssh_keys]),
            )


def _units(spec: Spec) -> Iterable[Promise]:
    for unit in spec.units:
        if unit.state == "static":
            continue
        yield Promise(
            sentence=f"{unit.name} is {unit.state}",
            question=f"systemctl is-enabled {shlex.quote(unit.name)}",
            answer=unit.state,
        )
        if unit.state == "enabled" and unit.name.endswith(".service") and "@" not in unit.name:
            yield Promise(
                sentence=f"{unit.name} runs, or has run",
                question=f"systemctl is-active {shlex.quote(unit.name)}",
                answer="active",
            )


def _packages(spec: Spec, lock: Lock) -> Iterable[Promise]:
    pins = {pin.name: pin.version for pin in lock.packages}
    listed = "\n".join(f"{name} {pins[name]}" for name in sorted(pins))
    digest = hashlib.sha256(f"{listed}\n".encode()).hexdigest()
    yield Promise(
        sentence=f"dpkg knows exactly the {len(pins)} packages of the lock",
        question="dpkg-query -W -f '${Package} ${Version}\\n' | LC_ALL=C sort | sha256sum | cut -d' ' -f1",
        answer=digest,
    )
    named = sorted(set(spec.packages) & pins.keys())
    yield Promise(
        sentence=f"the declared packages are installed: {', '.join(named)}",
        question=f"dpkg-query -W -f '${{Status}}\\n' {' '.join(named)} | sort -u",
        answer="install ok installed",
    )


def _persisted(spec: Spec) -> Iterable[Promise]:
    for kept in spec.persist:
        yield Promise(
            sentence=f"{kept.path} is kept on the nix volume",
            question=f"findmnt -n -o SOURCE {shlex.quote(kept.path)} | grep -o '\\[.*\\]'",
            answer=f"[/persist{kept.path}]",
        )


def script(asked: Sequence[Promise], token: str) -> str:
    """One script that asks all the questions, so that a slow machine is reached once."""
    parts = [f"echo {token}\n({promise.question}\n) </dev/null 2>&1\n" for promise in asked]
    return "".join(parts)


def answers(asked: Sequence[Promise], output: str, token: str) -> tuple[Seen, ...]:
    """What was said to each question of `script`."""
    said = output.split(f"{token}\n")[1:]
    padded = [*said, *[""] * (len(asked) - len(said))]
    return tuple(Seen(promise=promise, said=text.strip("\n")) for promise, text in zip(asked, padded, strict=True))


def declared_page(spec: Spec) -> bytes | None:
    """The page that a declared nginx serves at `/`, if there is one."""
    pages: Mapping[str, bytes] = {
        entry.path: entry.content
        for entry in spec.files
        if isinstance(entry, FileSpec) and entry.path.startswith("/srv/www/") and entry.path.endswith("/index.html")
    }
    return pages.get("/srv/www/default/index.html")
