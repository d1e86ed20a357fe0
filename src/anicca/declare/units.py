"""Units of one's own, from a few words: services, timers, mounts, drop-ins.

Each gives a part. Where these say too little, write the unit: `Unit("x.service", TEXT)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from anicca.declare.host import File, Part, Persist, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NETWORK_FILESYSTEMS = ("9p", "ceph", "cifs", "nfs", "nfs4", "smb3", "sshfs")


def service(
    name: str,
    command: str,
    *,
    description: str | None = None,
    user: str = "root",
    after: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    restart: Literal["no", "on-failure", "always"] = "on-failure",
    state: bool = False,
) -> Part:
    """A program that runs from boot on, started again if it fails.

    `command` is an ExecStart line: an absolute path and arguments, with systemd's own `%` and `$`. With `state`, the
    directory `/var/lib/NAME` is made for its user and persists.
    """
    lines = _service_lines(command, user, environment)
    if state:
        lines.append(f"StateDirectory={name}")
    text = _text(
        ("Unit", [f"Description={description or name}", *(f"After={unit}" for unit in after)]),
        ("Service", [*lines, f"Restart={restart}"]),
        ("Install", ["WantedBy=multi-user.target"]),
    )
    return Part(
        units=[Unit(f"{name}.service", text)],
        persist=[Persist(f"/var/lib/{name}", owner=user, mode=0o755)] if state else [],
    )


def timer(
    name: str,
    command: str,
    *,
    calendar: str,
    description: str | None = None,
    user: str = "root",
    environment: Mapping[str, str] | None = None,
    catch_up: bool = False,
) -> Part:
    """A program that runs at times, such as `calendar="daily"` or `"Mon *-*-* 03:00"` (man systemd.time).

    With `catch_up` it runs soon after a boot if a time was missed; when it last ran persists for that.
    """
    job = _text(
        ("Unit", [f"Description={description or name}"]),
        ("Service", ["Type=oneshot", *_service_lines(command, user, environment)]),
    )
    clock = _text(
        ("Unit", [f"Description={description or name}"]),
        ("Timer", [f"OnCalendar={calendar}", *(["Persistent=yes"] if catch_up else [])]),
        ("Install", ["WantedBy=timers.target"]),
    )
    return Part(
        units=[Unit(f"{name}.service", job, "static"), Unit(f"{name}.timer", clock)],
        persist=["/var/lib/systemd/timers"] if catch_up else [],
    )


def mount(what: str, where: str, *, kind: str, options: Sequence[str] = ()) -> Part:
    """A filesystem of type `kind` on a device or server, mounted at boot; the boot does not wait for a server."""
    remote = kind in NETWORK_FILESYSTEMS
    lines = [f"What={what}", f"Where={where}", f"Type={kind}"]
    if options:
        lines.append(f"Options={','.join(options)}")
    text = _text(
        ("Unit", [f"Description={what} on {where}"]),
        ("Mount", lines),
        ("Install", ["WantedBy=remote-fs.target" if remote else "WantedBy=local-fs.target"]),
    )
    return Part(units=[Unit(f"{escape_path(where)}.mount", text)])


def dropin(unit: str, text: str, *, name: str = "50-declared") -> Part:
    """Lines that change a unit which a package brings, under their headings (`[Service]` and so on)."""
    return Part(files={f"/etc/systemd/system/{unit}.d/{name}.conf": File(text)})


def tmpfiles(name: str, *lines: str) -> Part:
    """Lines of tmpfiles.d (man tmpfiles.d): for /run and /tmp, and for what is made anew while the host runs."""
    return Part(files={f"/etc/tmpfiles.d/{name}.conf": File("".join(f"{line}\n" for line in lines))})


def escape_path(path: str) -> str:
    """A path as it stands in a unit's name: what `systemd-escape --path` gives."""
    words = [word for word in path.split("/") if word]
    if not words:
        return "-"
    text = "/".join(words)
    return "".join(
        "-" if byte == ord("/") else chr(byte) if _plain(byte, first=at == 0) else f"\\x{byte:02x}"
        for at, byte in enumerate(text.encode())
    )


def _plain(byte: int, *, first: bool) -> bool:
    character = chr(byte)
    if character == "." and first:
        return False
    return character.isascii() and (character.isalnum() or character in ":_.")


def _service_lines(command: str, user: str, environment: Mapping[str, str] | None) -> list[str]:
    """The lines that services of both kinds share."""
    lines = [f"ExecStart={command}"]
    if user != "root":
        lines.append(f"User={user}")
    for name, value in sorted((environment or {}).items()):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
        lines.append(f'Environment="{name}={quoted}"')
    return lines


def _text(*sections: tuple[str, list[str]]) -> str:
    """A unit's text."""
    return "\n".join("\n".join([f"[{heading}]", *lines, ""]) for heading, lines in sections)
