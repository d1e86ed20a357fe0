"""What a Debian root must have, from dpkg's own records of it.

dpkg keeps no modes, owners, link targets or times. Where Debian's policy leaves no choice they are expected all the
same: what packages have in /usr is root's, writable by root alone, and set-id only where Debian's own packages are.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, NamedTuple

from anicca.drift import records
from anicca.drift.entry import join, parent
from anicca.drift.expect import ANY_MODE, Expectation, Expected, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.drift.entry import Xattrs
    from anicca.drift.inside import Root

    _Policy = tuple[int | None, int, int | None, int | None, Xattrs | None, tuple[str, ...]]

DATABASE = b"/var/lib/dpkg"
INFO = DATABASE + b"/info"
MERGED = frozenset((b"/bin", b"/sbin", b"/lib", b"/lib32", b"/lib64", b"/libo32", b"/libx32"))
MOVED = {b"/var/run": b"/run", b"/var/lock": b"/run/lock"}
INSTALLED = frozenset(("installed", "triggers-pending", "triggers-awaited", "unpacked", "half-configured"))
TMPFILES = b"/usr/lib/tmpfiles.d"
VOLATILE = (b"/run/", b"/tmp/", b"/dev/", b"/proc/", b"/sys/")
"""Filled at run time; what packages have there comes and goes."""
POLICY_MASK = 0o7022
SET_ID = {
    b"/usr/bin/" + name: mode
    for mode, names in {
        0o4000: (
            b"su sudo passwd mount umount newgrp newgidmap newuidmap chsh chfn gpasswd pkexec at fusermount "
            b"fusermount3 ntfs-3g procmail kismet_capture cgexec"
        ),
        0o2000: b"chage expiry ssh-agent crontab wall write.ul bsd-write screen dotlockfile mlocate plocate locate at",
    }.items()
    for name in names.split()
} | {
    b"/usr/bin/at": 0o6000,
    b"/usr/bin/procmail": 0o6000,
    b"/usr/sbin/unix_chkpwd": 0o2000,
    b"/usr/sbin/pam_extrausers_chkpwd": 0o2000,
    b"/usr/sbin/postdrop": 0o2000,
    b"/usr/sbin/postqueue": 0o2000,
    b"/usr/sbin/exim4": 0o4000,
    b"/usr/sbin/pppd": 0o4000,
    b"/usr/sbin/mount.cifs": 0o4000,
    b"/usr/sbin/mount.nfs": 0o4000,
    b"/usr/sbin/mount.davfs": 0o4000,
    b"/usr/lib/openssh/ssh-keysign": 0o4000,
    b"/usr/lib/dbus-1.0/dbus-daemon-launch-helper": 0o4000,
    b"/usr/lib/polkit-1/polkit-agent-helper-1": 0o4000,
    b"/usr/lib/xorg/Xorg.wrap": 0o6000,
    b"/usr/lib/x86_64-linux-gnu/utempter/utempter": 0o2000,
    b"/usr/lib/snapd/snap-confine": 0o6000,
    b"/usr/lib/mysql/plugin/auth_pam_tool_dir/auth_pam_tool": 0o4000,
    b"/usr/lib/eject/dmcrypt-get-device": 0o4000,
}
"""Where Debian's packages have set-id bits, beside what statoverrides say."""
OTHERS = frozenset((b"/usr/lib/mysql/plugin/auth_pam_tool_dir", b"/usr/share/polkit-1/rules.d"))
"""What packages have in /usr and give to somebody else than root."""
CAPABLE = frozenset(
    b"/usr/bin/" + name
    for name in (
        b"ping arping clockdiff fping mtr-packet dumpcap newuidmap newgidmap gnome-keyring-daemon kwin_wayland"
    ).split()
) | {b"/usr/lib/x86_64-linux-gnu/gstreamer1.0/gstreamer-1.0/gst-ptp-helper"}
"""Which of Debian's packages give a program capabilities in their maintainer scripts."""
LABELS = ("security.evm", "security.ima", "security.selinux")
SETGID_DIRECTORIES = (b"/usr/local/",)
FILE, DIRECTORY, DIRECTORY_OR_LINK = ("file",), ("directory",), ("directory", "symlink")
NO_POLICY: _Policy = (None, ANY_MODE, None, None, None, ())
NEW_CONFFILE = "newconffile"
"""In place of a sum, while a package is half configured."""


def read_expectation(root: Root) -> Expectation:
    """All that dpkg, update-alternatives, ucf and deb-systemd-helper know of. Raises `OSError` or `ValueError`."""
    packages = records.parse_status(root.read(join(DATABASE, b"status")))
    if not packages:
        raise ValueError("dpkg's status has no packages")
    reading = _Reading(root, packages)
    for package in packages:
        reading.add_package(package)
    reading.add_ucf()
    reading.settle()
    reading.add_alternatives()
    reading.add_tmpfiles()
    reading.add_info()
    for who, units in ((b"system", b"deb-systemd-helper-enabled"), (b"user", b"deb-systemd-user-helper-enabled")):
        reading.add_units(who, b"/var/lib/systemd/" + units)
    installed = sum(package.state in INSTALLED for package in packages)
    notes = [f"{len(reading.damaged)} packages without a list: {' '.join(reading.damaged)}"] if reading.damaged else []
    return Expectation(
        name=f"dpkg's records of {installed} packages",
        entries=in_order(reading.found),
        notes=tuple(notes),
    )


class _Brought(NamedTuple):
    """A path of a package: its sum, if it is a file that has one; whether it is none; whether it may be missing."""

    origin: str
    md5: str
    no_file: bool
    optional: bool


class _Reading:
    def __init__(self, root: Root, packages: list[records.Package]) -> None:
        self.root = root
        self.found: dict[bytes, Expected] = {}
        self._brought: dict[bytes, _Brought] = {}
        self.damaged: list[str] = []
        self._names = {}
        present = set(root.names(INFO))
        for package in packages:
            plain = package.name.encode()
            qualified = plain + b":" + package.architecture.encode()
            stem = qualified if qualified + b".list" in present else plain
            self._names[package] = (join(INFO, stem), stem + b".list" in present)
        diversions = records.parse_diversions(root.read_if_there(join(DATABASE, b"diversions")))
        self._diverted = {one.path: one for one in diversions}
        self._overrides = records.parse_overrides(root.read_if_there(join(DATABASE, b"statoverride")))
        self._users = records.parse_names(root.read_if_there(b"/etc/passwd"))
        self._groups = records.parse_names(root.read_if_there(b"/etc/group"))
        self._excludes = list(self._read_excludes())
        self._directories: dict[bytes, bytes] = {b"/": b"/"}
        self._with_children: set[bytes] = set()

    def _read_excludes(self) -> Iterator[tuple[bool, bytes]]:
        for name in self.root.names(b"/etc/dpkg/dpkg.cfg.d"):
            yield from records.parse_excludes(self.root.read_if_there(b"/etc/dpkg/dpkg.cfg.d/" + name))

    def add_package(self, package: records.Package) -> None:
        """What one package brought, or left behind."""
        origin = f"package {package.name}"
        conffiles = dict(package.conffiles)
        if package.state == "config-files":
            for path, digest in conffiles.items():
                self._add(path, package.name, f"conffile of removed {package.name}", md5=digest, optional=True)
            return
        if package.state not in INSTALLED:
            return
        stem, there = self._names[package]
        if not there:
            self.damaged.append(package.name)
            return
        sums = records.parse_md5sums(self.root.read_if_there(stem + b".md5sums"))
        listed = records.parse_list(self.root.read(stem + b".list"))
        for path in listed:
            if path in conffiles:
                self._add(path, package.name, f"conffile of {package.name}", md5=conffiles[path])
            elif path in sums:
                self._add(path, package.name, origin, md5=sums[path])
            else:
                self._add(path, package.name, origin, no_file=bool(sums))

    def _add(
        self, path: bytes, package: str, origin: str, *, md5: str = "", no_file: bool = False, optional: bool = False
    ) -> None:
        diversion = self._diverted.get(path)
        if diversion is not None and diversion.by != package:
            path = diversion.to
        path = self.place(path)
        if path != b"/":
            self._with_children.add(parent(path))
        before = self._brought.get(path)
        if before is not None and not md5:
            self._brought[path] = _Brought("several packages", *before[1:])
        else:
            self._brought[path] = _Brought(origin, md5, no_file, optional)

    def _excluded(self, path: bytes) -> bool:
        excluded = False
        for exclude, pattern in self._excludes:
            if fnmatch.fnmatchcase(path.decode("latin-1"), pattern.decode("latin-1")):
                excluded = exclude
        return excluded

    def place(self, path: bytes) -> bytes:
        """Where a listed path is: the merged directories are links, and /var/run is /run."""
        listed, _, name = path.rpartition(b"/")
        if not name:
            return path
        directory = self._directory(listed or b"/")
        return path if directory == listed else join(directory, name)

    def _directory(self, path: bytes) -> bytes:
        found = self._directories.get(path)
        if found is None:
            found = join(self._directory(parent(path)), path.rsplit(b"/", 1)[1])
            if found in MERGED and self.root.readlink(found) in (b"usr" + found, b"/usr" + found):
                found = b"/usr" + found
            elif found in MOVED and self.root.readlink(found) is not None:
                found = MOVED[found]
            self._directories[path] = found
        return found

    def settle(self) -> None:
        """Directories are known by what is in them; then owners and modes, by policy and by statoverrides."""
        self.found = {path: self._expected(path, brought) for path, brought in self._brought.items()}
        for override in self._overrides:
            path = self.place(override.path)
            if path in self.found:
                self.found[path] = self.found[path]._replace(
                    mode=override.mode,
                    mask=0o7777,
                    uid=self._number(override.user, self._users),
                    gid=self._number(override.group, self._groups),
                )

    def _expected(self, path: bytes, brought: _Brought) -> Expected:
        origin, md5, no_file, optional = brought
        digests = (f"md5:{md5}",) if md5 and md5 != NEW_CONFFILE else ()
        kinds: tuple[str, ...] = ()
        targets: tuple[bytes, ...] = ()
        if md5:
            kinds = FILE
        elif no_file:
            kinds = DIRECTORY_OR_LINK
        if path in self._with_children and not digests:
            kinds = DIRECTORY
        if path in MERGED:
            kinds, targets = DIRECTORY_OR_LINK, (b"usr" + path, b"/usr" + path)
        if path in MOVED:
            kinds, targets = DIRECTORY_OR_LINK, (MOVED[path],)
        optional = optional or path.startswith(VOLATILE) or (bool(self._excludes) and self._excluded(path))
        mode, mask, uid, gid, xattrs, others = _policy(path) if path.startswith(b"/usr/") else NO_POLICY
        # All at once: there is one for each path of all packages.
        return Expected(
            path, origin, kinds, mode, mask, uid, gid, None, None, targets, xattrs, others, digests, optional=optional
        )

    @staticmethod
    def _number(name: str, names: dict[str, int]) -> int | None:
        return int(name[1:]) if name.startswith("#") else names.get(name)

    def add_alternatives(self) -> None:
        """The links of update-alternatives, both steps of each."""
        for name in self.root.names(join(DATABASE, b"alternatives")):
            text = self.root.read_if_there(join(DATABASE, b"alternatives/" + name))
            try:
                alternative = records.parse_alternative(name, text)
            except (IndexError, ValueError):
                self.damaged.append(f"alternative {name.decode('utf-8', 'replace')}")
                continue
            for index, (slot, link) in enumerate(alternative.slots):
                targets = alternative.allowed(index)
                master = index == 0
                if not targets:
                    continue
                origin = f"alternative {name.decode('utf-8', 'replace')}"
                middle = b"/etc/alternatives/" + slot
                # Slaves whose file is missing, as manual pages often are, have no links.
                self._link(middle, targets, origin, optional=not master)
                self._link(self.place(link), (middle,), origin, optional=not master)

    def _link(self, path: bytes, targets: tuple[bytes, ...], origin: str, *, optional: bool) -> None:
        self.found[path] = Expected(path, origin, kinds=("symlink",), targets=targets, optional=optional)

    def add_ucf(self) -> None:
        """Files that ucf manages: as the package last wrote them."""
        for path, digest in records.parse_md5sums(self.root.read_if_there(b"/var/lib/ucf/hashfile")).items():
            if path not in self._brought:
                self._add(path, "", "conffile by ucf", md5=digest)

    def add_tmpfiles(self) -> None:
        """What the packages' tmpfiles.d may make."""
        for name in self.root.names(TMPFILES):
            path = join(TMPFILES, name)
            # A file that no package brought speaks for nobody.
            if path not in self.found:
                continue
            for line in records.parse_tmpfiles(self.root.read_if_there(path)):
                place = self.place(line.path)
                if place in self.found:
                    continue
                self.found[place] = Expected(
                    path=place,
                    origin=f"tmpfiles.d {name.decode('utf-8', 'replace')}",
                    kinds=(line.kind,),
                    mode=line.mode,
                    uid=None if line.user is None else self._number(line.user, self._users),
                    gid=None if line.group is None else self._number(line.group, self._groups),
                    targets=(line.target,) if line.target else (),
                    optional=True,
                )

    def add_info(self) -> None:
        """dpkg's own files about the packages that it knows, scripts among them: one of another name is nobody's."""
        stems = {stem.rpartition(b"/")[2]: package.name for package, (stem, _) in self._names.items()}
        for name in self.root.names(INFO):
            stem = name.rpartition(b".")[0]
            if stem in stems or name == b"format":
                origin = f"dpkg's records of {stems.get(stem, 'itself')}"
                path = join(INFO, name)
                self.found[path] = Expected(path, origin, kinds=("file",), uid=0, gid=0)

    def add_units(self, who: bytes, state: bytes) -> None:
        """Enablement links that maintainer scripts made."""
        suffix = b".dsh-also"
        for name in self.root.names(state):
            if not name.endswith(suffix):
                continue
            unit = name[: -len(suffix)]
            top = b"/etc/systemd/" + who + b"/"
            for line in self.root.read_if_there(join(state, name)).split(b"\n"):
                # It lists what enabling would make; what it made has a file of that name in the state directory.
                # An alias leads to the unit, anything else ("Also=") to the unit of its own name.
                names = dict.fromkeys((unit, line.rpartition(b"/")[2]))
                targets = tuple(
                    above + b"/systemd/" + who + b"/" + one for one in names for above in (b"/lib", b"/usr/lib")
                )
                if line.startswith(top) and line not in self.found and self.root.exists(join(state, line[len(top) :])):
                    self._link(line, targets, f"enablement of {unit.decode('utf-8', 'replace')}", optional=False)


def _policy(path: bytes) -> _Policy:
    """What Debian's policy says of packages' files in /usr: mode and mask, owner, group, attributes and others."""
    if path.startswith(SETGID_DIRECTORIES) or path in OTHERS:
        return NO_POLICY
    bits = SET_ID.get(path, 0)
    gid = None if bits & 0o2000 else 0
    if path in CAPABLE:
        return 0, POLICY_MASK & ~bits, 0, gid, None, ()
    return 0, POLICY_MASK & ~bits, 0, gid, (), LABELS
