"""The files in which dpkg, update-alternatives, ucf and deb-systemd-helper write down what they did. Parsers, pure.

Formats: deb822(5), dpkg(1) FILES, dpkg-divert(1), dpkg-statoverride(1), update-alternatives(1), ucf(1).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Package(NamedTuple):
    """A paragraph of dpkg's status: `state` is the last word of Status, `conffiles` are (path, md5)."""

    name: str
    architecture: str
    version: str
    state: str
    conffiles: tuple[tuple[bytes, str], ...]


class Diversion(NamedTuple):
    """Who else brings `path` finds its file at `to`. `by` is the package whose own file stays ("": the admin's)."""

    path: bytes
    to: bytes
    by: str


class Override(NamedTuple):
    """An owner, group and mode that dpkg was told to give a path. Names, or `#` and a number."""

    user: str
    group: str
    mode: int
    path: bytes


class Alternative(NamedTuple):
    """A generic name: `slots` are (name, link) with the master first; each choice has a path for each slot."""

    automatic: bool
    slots: tuple[tuple[bytes, bytes], ...]
    choices: tuple[tuple[int, tuple[bytes, ...]], ...]

    def allowed(self, index: int) -> tuple[bytes, ...]:
        """The targets that are right for one slot: the best choice's where it is automatic, else any choice's."""
        choices = self.choices
        if self.automatic and choices:
            best = max(priority for priority, _ in choices)
            choices = tuple(choice for choice in choices if choice[0] == best)
        return tuple(dict.fromkeys(paths[index] for _, paths in choices if paths[index]))


def parse_status(text: bytes) -> list[Package]:
    """The packages of `status`."""
    found = []
    for paragraph in re.split(rb"\n\n+", text):
        fields: dict[str, bytes] = {}
        name = ""
        for line in paragraph.split(b"\n"):
            if line[:1] in (b" ", b"\t"):
                if name == "conffiles":
                    fields[name] += b"\n" + line[1:]
            elif b":" in line:
                key, _, value = line.partition(b":")
                name = key.decode("ascii", "replace").lower()
                fields[name] = value.strip()
        if "package" in fields:
            status = fields.get("status", b"").decode("ascii", "replace").split()
            found.append(
                Package(
                    name=fields["package"].decode(),
                    architecture=fields.get("architecture", b"").decode(),
                    version=fields.get("version", b"").decode(),
                    state=status[-1] if status else "",
                    conffiles=_conffiles(fields.get("conffiles", b"")),
                )
            )
    return found


def _conffiles(text: bytes) -> tuple[tuple[bytes, str], ...]:
    found = []
    for line in text.split(b"\n"):
        words = line.rsplit(b" ")
        flags = []
        while words and words[-1] in (b"obsolete", b"remove-on-upgrade"):
            flags.append(words.pop())
        # One that the next upgrade takes away may be gone.
        if len(words) >= 2 and not flags:  # noqa: PLR2004 (a path and its sum)
            found.append((b" ".join(words[:-1]), words[-1].decode("ascii", "replace")))
    return tuple(found)


def parse_list(text: bytes) -> list[bytes]:
    """The paths of a package's `list`."""
    return [b"/" if line == b"/." else line for line in text.split(b"\n") if line.startswith(b"/")]


def parse_md5sums(text: bytes) -> dict[bytes, str]:
    """Paths and sums of a package's `md5sums`."""
    found = {}
    for line in text.split(b"\n"):
        escaped = line.startswith(b"\\")
        digest, _, name = line[1:].partition(b"  ") if escaped else line.partition(b"  ")
        if not name:
            continue
        if escaped:
            name = name.replace(b"\\n", b"\n").replace(b"\\\\", b"\\")
        found[b"/" + name.removeprefix(b"./").lstrip(b"/")] = digest.decode("ascii", "replace")
    return found


def parse_diversions(text: bytes) -> list[Diversion]:
    """The diversions, three lines each."""
    lines = text.split(b"\n")
    triples = zip(lines[0::3], lines[1::3], lines[2::3])  # noqa: B905 (the shortest counts)
    return [Diversion(path, to, "" if by == b":" else by.decode()) for path, to, by in triples if path]


def parse_overrides(text: bytes) -> list[Override]:
    """The lines of `statoverride`."""
    found = []
    for line in text.split(b"\n"):
        words = line.split(b" ", 3)
        if len(words) == 4:  # noqa: PLR2004 (user, group, mode, path)
            found.append(Override(words[0].decode(), words[1].decode(), int(words[2], 8), words[3]))
    return found


def parse_alternative(name: bytes, text: bytes) -> Alternative:
    """One file of `alternatives`. Raises `ValueError` or `IndexError` if it is not one."""
    lines = text.split(b"\n")
    slots = [(name, lines[1])]
    at = 2
    while lines[at]:
        slots.append((lines[at], lines[at + 1]))
        at += 2
    at += 1
    choices = []
    while at < len(lines) and lines[at]:
        slaves = lines[at + 2 : at + 1 + len(slots)]
        choices.append((int(lines[at + 1]), (lines[at], *slaves)))
        at += 1 + len(slots)
    return Alternative(lines[0] == b"auto", tuple(slots), tuple(choices))


class Temporary(NamedTuple):
    """A line of tmpfiles.d that makes something. None where it says nothing; a mode that is masked says nothing."""

    path: bytes
    kind: str
    mode: int | None
    user: str | None
    group: str | None
    target: bytes = b""


TEMPORARY_KINDS = {"d": "directory", "D": "directory", "v": "directory", "q": "directory", "Q": "directory"} | {
    "f": "file",
    "F": "file",
    "C": "file",
    "L": "symlink",
    "p": "fifo",
}


def parse_tmpfiles(text: bytes) -> list[Temporary]:
    """What a file of tmpfiles.d makes (tmpfiles.d(5)), but for lines with specifiers or patterns."""
    found = []
    for line in text.split(b"\n"):
        words = line.split(None, 6)
        if len(words) < 2 or words[0].startswith(b"#"):  # noqa: PLR2004 (a type and a path)
            continue
        kind = TEMPORARY_KINDS.get(words[0][:1].decode("ascii", "replace"))
        path = words[1].strip(b'"')
        # With a caret the content is a secret of whoever starts the machine: no package's.
        if kind is None or b"^" in words[0] or re.search(rb"[%*?\[]", path) or not path.startswith(b"/"):
            continue
        mode, user, group = (word.decode("ascii", "replace") for word in [*words[2:5], b"-", b"-", b"-"][:3])
        # A colon: only if it is made new.
        octal = re.fullmatch("[0-7]{3,4}", mode)
        found.append(
            Temporary(
                path=path.rstrip(b"/") or b"/",
                kind=kind,
                mode=int(mode, 8) if octal and kind != "symlink" else None,
                user=None if user == "-" or user.startswith(":") else user,
                group=None if group == "-" or group.startswith(":") else group,
                target=words[6].strip() if kind == "symlink" and len(words) > 6 else b"",  # noqa: PLR2004 (argument)
            )
        )
    return found


def parse_names(text: bytes) -> dict[str, int]:
    """Names and numbers of passwd or group."""
    found: dict[str, int] = {}
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 2 and fields[2].isdigit():  # noqa: PLR2004 (name, password, number)
            found.setdefault(fields[0].decode("utf-8", "surrogateescape"), int(fields[2]))
    return found


def parse_excludes(text: bytes) -> list[tuple[bool, bytes]]:
    """The `path-exclude` (True) and `path-include` patterns of dpkg.cfg(5), in order; the last that fits counts."""
    found = []
    for line in text.split(b"\n"):
        matched = re.match(rb"\s*(?:--)?path-(exclude|include)[\s=]+(\S+)", line)
        if matched:
            found.append((matched[1] == b"exclude", matched[2].strip(b"'\"")))
    return found
