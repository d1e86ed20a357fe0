"""Small services of the system itself: sudo, clock, journal, logs, firewall."""

from __future__ import annotations

from anicca.declare.host import File, Part, Persist, Unit
from anicca.declare.rank import default


def sudo() -> Part:
    """Members of the group sudo may do all as root, without a password: accounts here have none."""
    return Part(
        packages=["sudo"],
        files={"/etc/sudoers.d/anicca": default(File("%sudo ALL=(ALL:ALL) NOPASSWD: ALL\n", mode=0o440))},
    )


def timesync() -> Part:
    """The clock set over the network. The time of the last boot persists, so that no boot starts in the past."""
    return Part(
        packages=["systemd-timesyncd"],
        units=[Unit("systemd-timesyncd.service")],
        persist=["/var/lib/systemd/timesync"],
    )


def journal(*, keep: str = "512M") -> Part:
    """The journal of past boots, of which the newest `keep` bytes persist."""
    return Part(
        files={
            "/etc/systemd/journald.conf.d/anicca.conf": default(
                File(f"[Journal]\nStorage=persistent\nSystemMaxUse={keep}\n")
            )
        },
        persist=[Persist("/var/log/journal", "root", "systemd-journal", 0o2755)],
    )


def logrotate() -> Part:
    """Logs that persist are rotated, as their packages say; when it last did so persists."""
    return Part(packages=["logrotate"], units=[Unit("logrotate.timer")], persist=["/var/lib/logrotate"])


def nftables(rules: str) -> Part:
    """A firewall: the whole of `/etc/nftables.conf`, in force before the network is up."""
    return Part(
        packages=["nftables"],
        files={"/etc/nftables.conf": File(rules)},
        units=[Unit("nftables.service")],
    )
