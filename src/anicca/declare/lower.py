"""What options bring with them, as parts: the files, packages and units of a network, a time zone, a user."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from anicca.declare.host import Directory, Entry, File, Link, Part, Persist, Unit
from anicca.declare.network import Dhcp, Network, Static, Unmanaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anicca.declare.spec import UserSpec
    from anicca.errors import Place

FREE_LOCALES = ("C", "C.UTF-8", "POSIX")
"""Those that need no package."""

NETWORK_UNITS = (
    "systemd-networkd.service",
    "systemd-networkd.socket",
    # Wanted by network-online.target alone: costs nothing unless something waits for the network.
    "systemd-networkd-wait-online.service",
    "systemd-resolved.service",
)

MODULES_FILE = "/etc/modules-load.d/anicca.conf"
SYSCTL_FILE = "/etc/sysctl.d/60-anicca.conf"

HOSTS = """\
127.0.0.1 localhost
127.0.1.1 {name}
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""


def name_part(name: str, others: Mapping[str, Sequence[str]], place: Place) -> Part:
    """The host's own name, and the addresses of others."""
    hosts = HOSTS.format(name=name) + "".join(f"{address} {' '.join(names)}\n" for address, names in others.items())
    return Part(
        files={
            "/etc/hostname": File(f"{name}\n", declared_at=place),
            "/etc/hosts": File(hosts, declared_at=place),
        },
        declared_at=place,
    )


def kernel_part(modules: Sequence[str], sysctl: Mapping[str, str], place: Place) -> Part:
    """What systemd-modules-load and systemd-sysctl read at boot."""
    files: dict[str, Entry] = {}
    if modules:
        files[MODULES_FILE] = File("".join(f"{module}\n" for module in modules), declared_at=place)
    if sysctl:
        lines = (f"{setting} = {value}\n" for setting, value in sysctl.items())
        files[SYSCTL_FILE] = File("".join(lines), declared_at=place)
    return Part(files=files, declared_at=place)


def timezone_part(timezone: str, place: Place) -> Part:
    """The time zone, for libc and for the programs that read its name."""
    return Part(
        packages=["tzdata"],
        files={
            "/etc/localtime": Link(f"/usr/share/zoneinfo/{timezone}", declared_at=place),
            "/etc/timezone": File(f"{timezone}\n", declared_at=place),
        },
        declared_at=place,
    )


def locale_part(locale: str, place: Place) -> Part:
    """The locale, where systemd and where Debian's PAM look for it."""
    return Part(
        packages=[] if locale in FREE_LOCALES else ["locales-all"],
        files={
            "/etc/locale.conf": File(f"LANG={locale}\n", declared_at=place),
            "/etc/default/locale": Link("../locale.conf", declared_at=place),
        },
        declared_at=place,
    )


def network_part(network: Network, place: Place) -> Part:
    """What systemd-networkd and systemd-resolved are told."""
    match network:
        case Dhcp():
            name, lines = "/etc/systemd/network/80-dhcp.network", ["DHCP=yes"]
        case Static():
            name = "/etc/systemd/network/80-static.network"
            lines = [
                *(f"Address={address}" for address in network.addresses),
                *(f"Gateway={gateway}" for gateway in network.gateways),
                *(f"DNS={server}" for server in network.dns),
            ]
        case Unmanaged():
            return Part(declared_at=place)
        case _:
            assert_never(network)
    text = "\n".join(["[Match]", f"Name={' '.join(network.interfaces)}", "", "[Network]", *lines, ""])
    return Part(
        packages=["systemd-resolved"],
        files={
            name: File(text, declared_at=place),
            "/etc/resolv.conf": Link("../run/systemd/resolve/stub-resolv.conf", declared_at=place),
        },
        units=[Unit(unit, declared_at=place) for unit in NETWORK_UNITS],
        declared_at=place,
    )


def user_part(user: UserSpec, place: Place) -> Part:
    """A user's home, and its keys where `anicca.declare.services.ssh` has sshd look for them."""
    files: dict[str, Entry] = {user.home: Directory(user.name, user.name, 0o700, declared_at=place)}
    if user.ssh_keys:
        lines = "".join(f"{key}\n" for key in user.ssh_keys)
        files[f"/etc/ssh/authorized_keys.d/{user.name}"] = File(lines, declared_at=place)
    return Part(files=files, declared_at=place)


def persist_directories(files: Mapping[tuple[str, ...], Entry], persisted: Iterable[str]) -> dict[str, Persist]:
    """Declared directories at or below a persisted path: they persist with it, as their owner and mode say."""
    above = tuple(persisted)
    return {
        path: Persist(path, entry.owner, entry.group, entry.mode, "d", declared_at=entry.declared_at)
        for (path,), entry in files.items()
        if isinstance(entry, Directory) and any(path == kept or path.startswith(f"{kept}/") for kept in above)
    }
