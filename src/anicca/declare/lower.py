"""What options bring with them, as parts: the files, packages and units of a network, a time zone, a user."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from anicca.declare.host import Directory, Entry, File, Link, Part, Persist, Unit
from anicca.declare.network import Dhcp, Network, Static, Unmanaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anicca.declare.spec import UserSpec
    from anicca.errors import Place

FREE_LOCALES = ("C", "C.UTF-8", "POSIX")
"""Those that need no package."""


def naming(name: str) -> Callable[[Place], Part]:
    """The host's own name, and addresses for it."""
    hosts = (
        f"127.0.0.1 localhost\n127.0.1.1 {name}\n"
        "::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
    )
    return lambda place: Part(
        files={
            "/etc/hostname": File(f"{name}\n", declared_at=place),
            "/etc/hosts": File(hosts, declared_at=place),
        },
        declared_at=place,
    )


def localisation(timezone: str, locale: str) -> Callable[[Place], Part]:
    """Time zone and locale, where Debian's programs and systemd look for them."""
    return lambda place: Part(
        packages=["tzdata"] if locale in FREE_LOCALES else ["locales-all", "tzdata"],
        files={
            "/etc/localtime": Link(f"/usr/share/zoneinfo/{timezone}", declared_at=place),
            "/etc/timezone": File(f"{timezone}\n", declared_at=place),
            "/etc/locale.conf": File(f"LANG={locale}\n", declared_at=place),
            "/etc/default/locale": Link("../locale.conf", declared_at=place),
        },
        declared_at=place,
    )


def networking(network: Network) -> Callable[[Place], Part]:
    """systemd-networkd's and systemd-resolved's part in it."""
    match network:
        case Dhcp(interfaces=interfaces):
            name = "/etc/systemd/network/80-dhcp.network"
            text = f"[Match]\nName={' '.join(interfaces)}\n\n[Network]\nDHCP=yes\n"
        case Static(interfaces=interfaces):
            name = "/etc/systemd/network/80-static.network"
            lines = (
                *(f"Address={address}" for address in network.addresses),
                *(f"Gateway={gateway}" for gateway in network.gateways),
                *(f"DNS={server}" for server in network.dns),
            )
            text = f"[Match]\nName={' '.join(interfaces)}\n\n[Network]\n" + "".join(f"{line}\n" for line in lines)
        case Unmanaged():
            return lambda place: Part(declared_at=place)
        case _:
            assert_never(network)
    return lambda place: Part(
        packages=["systemd-resolved"],
        files={
            name: File(text, declared_at=place),
            "/etc/resolv.conf": Link("../run/systemd/resolve/stub-resolv.conf", declared_at=place),
        },
        units=[Unit(unit, declared_at=place) for unit in ("systemd-networkd.service", "systemd-resolved.service")],
        declared_at=place,
    )


def user_files(user: UserSpec) -> Callable[[Place], Part]:
    """A user's home, and its keys where `ssh` looks for them."""

    def part(place: Place) -> Part:
        files: dict[str, Entry] = {
            user.home: Directory(owner=user.name, group=user.name, mode=0o700, declared_at=place)
        }
        if user.ssh_keys:
            lines = "".join(f"{key}\n" for key in user.ssh_keys)
            files[f"/etc/ssh/authorized_keys.d/{user.name}"] = File(lines, declared_at=place)
        return Part(files=files, declared_at=place)

    return part


def persist_directories(files: Mapping[tuple[str, ...], Entry], persisted: Iterable[str]) -> dict[str, Persist]:
    """Declared directories at or below a persisted path: they persist with it, as their owner and mode say."""
    above = tuple(persisted)
    return {
        path: Persist(path, entry.owner, entry.group, entry.mode, "d", declared_at=entry.declared_at)
        for (path,), entry in files.items()
        if isinstance(entry, Directory) and any(path == kept or path.startswith(f"{kept}/") for kept in above)
    }
