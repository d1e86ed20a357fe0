"""What every host has unless its declaration says otherwise."""

from __future__ import annotations

from anicca.declare.host import Disk, File, Part, Unit
from anicca.declare.network import Dhcp
from anicca.declare.root import F2fs
from anicca.declare.undeclared import Remember

PACKAGES = {
    "busybox-static": "the shell of the guard, and most of what it calls",
    "ca-certificates": "programs that check certificates",
    "dbus": "systemd's tools talk over it",
    "dracut": "makes the initrd",
    "e2fsprogs": "checks and mounts the nix partition",
    "f2fs-tools": "the guard makes the root afresh",
    "iproute2": "to see the network",
    "kmod": "loads the kernel's modules",
    "libpam-systemd": "sessions for those who log in",
    "login": "a console one can log in at",
    "mount": "mount and umount",
    "passwd": "accounts' tools, which other packages call",
    "procps": "to see processes; sysctl",
    "systemd": "the init",
    "systemd-boot-efi": "the boot loader's program, put on the ESP",
    "systemd-sysv": "systemd as /sbin/init",
    "udev": "devices",
    "util-linux": "agetty, lsblk, fsck",
    "zstd": "the initrd's compression",
}
"""Package to the reason why every host needs it."""

MASKED = {
    "apt-daily-upgrade.timer": "packages change by declaration",
    "apt-daily.timer": "as above",
    "dpkg-db-backup.timer": "dpkg's database is read-only and comes from the store",
    "e2scrub_all.timer": "checks snapshots of LVM volumes, which the nix partition is not",
    "e2scrub_reap.service": "as above",
    "fstrim.timer": "the root discards nothing under checkpoint=disable",
    "ldconfig.service": "the tree has its cache of libraries",
    "man-db.timer": "its cache would be lost at the next boot",
    "systemd-firstboot.service": "asks a person what the declaration says",
    "systemd-sysusers.service": "accounts come from the declaration and the lock",
}
"""Unit to the reason why it makes no sense here."""

DPKG_GUARD = """\
# /usr and /etc are read-only and made from the declaration.
pre-invoke=echo 'anicca: packages change by declaration here: add the name to packages in host.py and build' >&2; exit 1
"""


def base() -> Part:
    """The part merged into every host with the least rank."""
    return Part(
        packages=tuple(PACKAGES),
        kernel="linux-image-amd64",
        units=[Unit(name, state="masked") for name in MASKED],
        files={"/etc/dpkg/dpkg.cfg.d/anicca": File(DPKG_GUARD)},
        timezone="Etc/UTC",
        locale="C.UTF-8",
        network=Dhcp(),
        root=F2fs(),
        remember=Remember(),
        disk=Disk(esp="512M", nix="8G", root="5G"),
    )
