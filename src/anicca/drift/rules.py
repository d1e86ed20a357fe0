"""Which differences matter most: rules as data, the first that fits counts.

The narrow ones for what Debian's own scripts make come first, then the suspicious, then the broad ones. A rule that is
`expected` explains a path: it is no drift that it is there. Nobody checks the content of such a path, as nobody wrote
down what it should be; a baseline does.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from anicca.drift.compare import ADDED, CONTENT, MODE, OWNER, REMOVED, TYPE, XATTR
from anicca.drift.entry import HIDDEN, join, kind_of, parent

if TYPE_CHECKING:
    from anicca.drift.compare import Drift

SUSPICIOUS, HIDDEN_CLASS = "suspicious", "beneath a mount"
CONFIGURATION, SOFTWARE, USER, CACHE, LOG, LOCK = "configuration", "software", "user data", "cache", "log", "lock"
IDENTITY, STATE, TEMPORARY, OTHER, GENERATED = "identity", "state", "temporary", "other", "generated"
EXPECTED, SECRET = "expected", "secret"
"""What a declaration may say besides: that a path is no drift; that it is never remembered, which is no class."""
CLASSES = (
    *(SUSPICIOUS, HIDDEN_CLASS, SOFTWARE, CONFIGURATION, USER, STATE, OTHER, IDENTITY, LOG, CACHE, TEMPORARY, LOCK),
    *(EXPECTED, GENERATED),
)
"""In the order in which a person should read them."""
_RANKS = {name: number for number, name in enumerate(CLASSES)}

DECLARED, SIBLING, COMPILED = "declared", "sibling", "compiled"
"""What must hold besides: a link to something declared, a link to its neighbour, bytecode of a declared source."""


def rank(name: str) -> int:
    """The place of a class in that order; what is none comes last."""
    return _RANKS.get(name, len(_RANKS))


class Rule(NamedTuple):
    """Paths by shell patterns (`**` is any number of directories), and what they are.

    `kinds` are file types and `drifts` kinds of drift it holds for; empty is all.
    """

    name: str
    why: str
    patterns: tuple[str, ...]
    expected: bool = False
    kinds: tuple[str, ...] = ()
    drifts: tuple[str, ...] = (ADDED,)
    needs: str = ""


class Judgement(NamedTuple):
    """The class of a difference, why, and whether it is explained."""

    name: str
    why: str
    expected: bool = False


DEBIAN = (
    Rule(
        GENERATED,
        "accounts, made by base-passwd and adduser",
        (*(f"/etc/{name}" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")), "/etc/.pwd.lock"),
        expected=True,
        kinds=("file",),
    ),
    Rule(
        GENERATED,
        "a copy of the accounts before their last change",
        tuple(f"/etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")),
        expected=True,
        kinds=("file",),
    ),
    Rule(
        GENERATED,
        "made by a maintainer script",
        (
            *("/etc/ca-certificates.conf", "/etc/default/locale", "/etc/dpkg/origins/default", "/etc/environment"),
            *("/etc/inputrc", "/etc/ld.so.cache", "/etc/modules", "/etc/motd", "/etc/networks", "/etc/nsswitch.conf"),
            *("/etc/locale.conf", "/etc/locale.gen", "/etc/profile", "/etc/security/opasswd", "/etc/shells"),
            *("/etc/vconsole.conf", "/etc/default/keyboard", "/etc/default/console-setup", "/etc/kernel-img.conf"),
            *("/etc/hosts.allow", "/etc/hosts.deny", "/etc/network/interfaces", "/etc/python3/debian_config"),
            *("/etc/apt/listchanges.conf", "/etc/papersize", "/etc/host.conf", "/etc/rmt", "/etc/issue*"),
            *("/etc/pam.d/common-account", "/etc/pam.d/common-auth", "/etc/pam.d/common-password"),
            *("/etc/pam.d/common-session", "/etc/pam.d/common-session-noninteractive", "/etc/resolvconf"),
            *("/etc/nginx/sites-enabled/default", "/etc/nginx/modules-enabled/*.conf", "/etc/ssl/certs/*.crt"),
            *("/root/.bashrc", "/root/.profile", "/usr/share/info/dir", "/usr/lib/udev/hwdb.bin"),
            "/usr/share/info/dir.old",
            *("/etc/udev/hwdb.bin", "/usr/lib/locale/locale-archive", "/usr/share/mime/**", "/usr/lib/**/*.cache"),
            *("/usr/lib/modules/*/modules.*", "/usr/share/**/*.cache", "/usr/share/applications/mimeinfo.cache"),
            *("/var/www/html/index*.html", "/etc/ssl/private/ssl-cert-snakeoil.key"),
            "/etc/ssl/certs/ssl-cert-snakeoil.pem",
            *("/boot/initrd.img-*", "/boot/grub/**", "/initrd.img*", "/vmlinuz*"),
        ),
        expected=True,
        kinds=("file", "symlink"),
    ),
    Rule(
        GENERATED,
        "a certificate that a package brought",
        ("/etc/ssl/certs/*.pem",),
        expected=True,
        kinds=("symlink",),
        needs=DECLARED,
    ),
    Rule(
        GENERATED,
        "a certificate by its hash",
        (f"/etc/ssl/certs/{'[0-9a-f]' * 8}.[0-9]",),
        expected=True,
        kinds=("symlink",),
        needs=SIBLING,
    ),
    Rule(
        GENERATED,
        "a SysV link to a declared script",
        ("/etc/rc[0-6S].d/[SK][0-9][0-9]*",),
        expected=True,
        kinds=("symlink",),
        needs=DECLARED,
    ),
    Rule(
        GENERATED,
        "a unit of systemd enabled by its preset",
        (
            "/etc/systemd/system/*.wants/systemd-*",
            "/etc/systemd/system/getty.target.wants/getty@tty1.service",
            "/etc/systemd/system/multi-user.target.wants/remote-fs.target",
            "/etc/systemd/system/dbus-org.freedesktop.*.service",
        ),
        expected=True,
        kinds=("symlink",),
        needs=DECLARED,
    ),
    Rule(
        GENERATED,
        "a directory for links",
        (
            *("/etc/systemd/system/*.wants", "/etc/systemd/system/*.requires", "/etc/systemd/user/*.wants"),
            *("/etc/rc[0-6S].d", "/etc/alternatives", "/etc/ssl/certs", "/etc/opt", "/etc/python3"),
        ),
        expected=True,
        kinds=("directory",),
    ),
    Rule(
        GENERATED,
        "the place for an admin's own things, empty",
        (
            *("/media", "/mnt", "/opt", "/srv", "/home", "/usr/local", "/var/local", "/var/mail", "/var/opt"),
            *("/usr/local/bin", "/usr/local/etc", "/usr/local/games", "/usr/local/include", "/usr/local/lib"),
            *("/usr/local/lib/python3*", "/usr/local/lib/python3*/dist-packages", "/usr/local/libexec"),
            *("/usr/local/sbin", "/usr/local/share", "/usr/local/share/*", "/usr/local/src", "/usr/local/man"),
            *("/var/spool/mail", "/var/www", "/var/www/html", "/lost+found"),
        ),
        expected=True,
        kinds=("directory", "symlink"),
    ),
    Rule(
        GENERATED,
        "Python's bytecode of a declared source",
        ("/usr/**/__pycache__/*.pyc",),
        expected=True,
        kinds=("file",),
        needs=COMPILED,
    ),
    Rule(GENERATED, "for bytecode", ("/usr/**/__pycache__",), expected=True, kinds=("directory",)),
    Rule(
        GENERATED,
        "the package manager's own state",
        (
            *(
                "/var/lib/dpkg/*",
                "/var/lib/dpkg/[!i]*/**",
                "/var/lib/apt/**",
                "/var/lib/ucf/**",
                "/var/lib/pam/*",
                "/var/cache/apt/**",
            ),
            *("/var/cache/debconf/*", "/var/lib/python", "/var/lib/python/*", "/var/lib/shells.state"),
            *("/var/lib/systemd/deb-systemd-*-enabled/**", "/var/lib/systemd/deb-systemd-*-enabled"),
            *("/var/lib/systemd/deb-systemd-*-masked/**", "/var/lib/systemd/catalog", "/var/lib/xml-core/*"),
            *("/var/lib/systemd/catalog/database", "/var/cache/ldconfig", "/var/cache/ldconfig/aux-cache"),
            *(
                "/var/lib/sgml-base/*",
                "/var/lib/vim/addons",
                "/var/lib/emacsen-common/**",
                "/var/lib/man-db/auto-update",
            ),
            *("/var/cache/man/**", "/var/cache/fontconfig/*", "/var/lib/dbus", "/var/lib/grub", "/var/lib/wtmpdb"),
            *("/var/log/apt", "/var/log/apt/*", "/var/log/dpkg.log*", "/var/log/alternatives.log*"),
            *("/var/log/bootstrap.log", "/var/log/fontconfig.log", "/var/log/faillog", "/var/log/lastlog"),
            *("/var/log/journal", "/var/log/btmp", "/var/log/wtmp", "/var/log/nginx/*.log", "/var/lib/wtmpdb/wtmp.db"),
        ),
        expected=True,
        kinds=("file", "directory", "symlink"),
    ),
    Rule(
        GENERATED,
        "a part of a package, switched on",
        (
            *("/etc/**/*-enabled/*", "/etc/php/*/*/conf.d/*.ini", "/etc/fonts/conf.d/*.conf"),
            "/etc/sgml/catalog",
        ),
        expected=True,
        kinds=("symlink",),
        needs=DECLARED,
    ),
    Rule(
        GENERATED,
        "set up by a service's package",
        (
            *("/etc/aliases", "/etc/apparmor.d/local/*", "/etc/apparmor.d/tunables/home.d/ubuntu", "/etc/xml/*"),
            *("/etc/apparmor.d/tunables/xdg-user-dirs.d/site.local", "/etc/bind/rndc.key", "/etc/default/exim4"),
            *("/etc/exim4/update-exim4.conf.conf", "/etc/mysql/debian.cnf", "/etc/postgresql-common/root.crt"),
            *("/etc/texmf/web2c/texmf.cnf", "/etc/initramfs-tools/modules", "/etc/dovecot/private/dovecot.*"),
            *("/etc/apt/apt.conf.d/02autoremove-postgresql", "/usr/share/dovecot/protocols.d/*.protocol"),
            *("/etc/sgml/catalog", "/var/lib/apache2/*/**", "/var/lib/exim4/*", "/var/lib/php/modules/**"),
            *("/var/lib/texmf/**", "/var/lib/nfs/state", "/var/log/apache2/*.log", "/var/log/postgresql/*.log"),
            *("/var/log/fail2ban.log", "/etc/.java/.systemPrefs/.system*", "/etc/ssl/certs/java/cacerts"),
        ),
        expected=True,
        kinds=("file", "directory", "symlink"),
    ),
    Rule(
        GENERATED,
        "a place for a service's own things, empty",
        (
            *("/usr/local/share/sgml/*", "/usr/local/share/xml/*", "/var/cache/fontconfig", "/var/cache/postgresql"),
            *("/var/cache/postgresql/dicts", "/var/lib/apache2/*", "/var/lib/bind", "/var/lib/mysql"),
            *("/var/lib/redis", "/var/log/exim4", "/var/log/redis", "/var/spool/exim4", "/var/spool/exim4/*"),
            *("/etc/.java", "/etc/.java/.systemPrefs", "/etc/apparmor.d/local", "/usr/share/mime/*"),
            "/usr/local/share/emacs/site-lisp",
        ),
        expected=True,
        kinds=("directory",),
    ),
    Rule(
        GENERATED,
        "made by a service as it starts",
        (
            *("/var/lib/systemd/linger", "/var/lib/systemd/timers", "/var/lib/systemd/timers/stamp-*.timer"),
            *("/var/lib/systemd/timesync", "/var/lib/systemd/timesync/clock", "/var/lib/systemd/backlight/*"),
            *("/var/lib/systemd/rfkill/*", "/var/lib/private/systemd", "/var/lib/private/systemd/**"),
            *("/var/lib/systemd/catalog", "/var/lib/systemd/rfkill", "/var/lib/systemd/backlight"),
            *("/var/lib/nginx/body", "/var/lib/nginx/fastcgi", "/var/lib/nginx/proxy", "/var/lib/nginx/scgi"),
            *("/var/lib/nginx/uwsgi", "/var/lib/logrotate/status", "/var/lib/chrony/chrony.drift"),
            *("/var/tmp/systemd-private-*", "/var/tmp/systemd-private-*/tmp"),  # noqa: S108 (no file is made)
            *("/tmp/systemd-private-*", "/tmp/systemd-private-*/tmp"),  # noqa: S108
            *("/var/lib/sudo/lectured/*", "/var/lib/sudo/ts/*", "/var/lib/dhcpcd/*", "/var/lib/dhcp/*.leases"),
        ),
        expected=True,
        kinds=("file", "directory", "symlink"),
    ),
    Rule(
        LOG,
        "the journal",
        tuple(f"/var/log/journal/{'[0-9a-f]' * 32}{below}" for below in ("", "/*.journal", "/*.journal~")),
        expected=True,
        kinds=("file", "directory"),
    ),
    Rule(
        IDENTITY,
        "what makes this machine itself",
        (
            *("/etc/hostname", "/etc/hosts", "/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/resolv.conf"),
            *("/etc/fstab", "/etc/localtime", "/etc/timezone", "/etc/adjtime", "/etc/mtab", "/etc/mailname"),
            *("/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_*_key.pub", "/etc/apt/sources.list"),
            *("/etc/apt/sources.list.d/debian.sources", "/var/lib/systemd/random-seed", "/etc/ssh/moduli"),
            *("/var/lib/systemd/credential.secret", "/etc/crypttab", "/etc/initramfs-tools/conf.d/resume"),
        ),
        expected=True,
        kinds=("file", "symlink"),
    ),
    Rule(
        GENERATED,
        "a device of every system",
        ("/dev/**",),
        expected=True,
        kinds=("character device", "block device", "symlink", "directory", "fifo", "socket"),
    ),
)
"""What Debian's own scripts make on any host."""

WATCHED = (
    ADDED,
    CONTENT,
    REMOVED,
    TYPE,
    MODE,
    OWNER,
    XATTR,
    "group",
    "target",
    "hard link",
    "mount",
    "device",
    "unreadable",
)
DANGEROUS = (
    Rule(
        SUSPICIOUS,
        "loaded into every program",
        ("/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d/**", "/etc/ld.so.cache"),
        drifts=WATCHED,
    ),
    Rule(
        SUSPICIOUS,
        "a unit: runs by itself",
        (
            *(
                "/etc/systemd/system/**",
                "/etc/systemd/user/**",
                "/usr/lib/systemd/system/**",
                "/usr/lib/systemd/user/**",
            ),
            *("/usr/local/lib/systemd/**", "/etc/systemd/*-generators/**", "/usr/lib/systemd/*-generators/**"),
            *(
                "/usr/local/lib/systemd/**",
                "/**/.config/systemd/user/**",
                "/etc/init.d/*",
                "/etc/rc*.d/*",
                "/etc/rc.local",
            ),
            *("/etc/systemd/system.conf*", "/etc/xdg/autostart/*", "/etc/inittab", "/run/systemd/system/**"),
            *("/usr/share/dbus-1/system-services/*", "/etc/dbus-1/system.d/*", "/var/lib/systemd/linger/*"),
        ),
        drifts=WATCHED,
    ),
    Rule(
        SUSPICIOUS,
        "runs at set times",
        (
            *("/etc/cron*", "/etc/cron*/**", "/etc/anacrontab", "/var/spool/cron/**", "/var/spool/at/**"),
            "/var/spool/cron/crontabs/**",
        ),
        drifts=WATCHED,
    ),
    Rule(
        SUSPICIOUS,
        "says who may log in",
        (
            *(
                "/**/authorized_keys",
                "/**/authorized_keys2",
                "/root/.ssh/**",
                "/etc/ssh/**",
                "/**/.ssh/rc",
                "/**/.rhosts",
            ),
            *("/etc/hosts.equiv", "/etc/pam.d/**", "/etc/security/**", "/usr/lib/**/security/pam_*.so"),
            *("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/shells", "/etc/nsswitch.conf"),
        ),
        drifts=WATCHED,
    ),
    Rule(
        SUSPICIOUS,
        "says who may become root",
        ("/etc/sudoers", "/etc/sudoers.d/**", "/etc/doas.conf", "/etc/polkit-1/**", "/usr/share/polkit-1/rules.d/**"),
        drifts=WATCHED,
    ),
    Rule(
        SUSPICIOUS,
        "code for the kernel",
        (
            *("/usr/lib/modules/**/*.ko*", "/etc/modules", "/etc/modules-load.d/**", "/etc/modprobe.d/**"),
            *("/usr/lib/modprobe.d/**", "/etc/initramfs-tools/**", "/etc/dracut.conf.d/**", "/etc/binfmt.d/**"),
            *("/etc/kernel/**", "/boot/**", "/etc/default/grub*", "/etc/sysctl.conf", "/etc/sysctl.d/**"),
        ),
        drifts=WATCHED,
    ),
    Rule(
        SUSPICIOUS,
        "runs when someone logs in, a device comes or a package is installed",
        (
            *("/etc/profile", "/etc/profile.d/**", "/etc/bash.bashrc", "/etc/environment", "/etc/environment.d/**"),
            *("/root/.bashrc", "/root/.profile", "/root/.bash_*", "/etc/update-motd.d/**", "/etc/udev/rules.d/**"),
            *("/usr/lib/udev/rules.d/**", "/etc/apt/apt.conf*/**", "/etc/apt/apt.conf", "/etc/dpkg/dpkg.cfg*/**"),
            *("/etc/NetworkManager/dispatcher.d/**", "/etc/network/if-*/**", "/usr/lib/python3*/**/*.pth"),
            *("/usr/local/lib/python3*/**/*.pth", "/usr/**/sitecustomize.py", "/etc/python3*/sitecustomize.py"),
            *(
                "/var/lib/dpkg/info/*",
                "/etc/skel/**",
                "/usr/lib/networkd-dispatcher/**",
                "/usr/lib/tmpfiles.d/**",
                "/etc/tmpfiles.d/**",
            ),
        ),
        drifts=WATCHED,
    ),
    Rule(
        SUSPICIOUS,
        "says which packages are trusted",
        ("/etc/apt/trusted.gpg*", "/etc/apt/trusted.gpg.d/**", "/etc/apt/sources.list*", "/etc/apt/sources.list.d/**"),
        drifts=WATCHED,
    ),
)
"""Where someone who wants to stay would write."""

BROAD = (
    Rule(LOCK, "a lock or a process number", ("/**/*.lock", "/**/*.pid", "/run/lock/**", "/var/lock/**", "/**/.lock")),
    Rule(LOG, "a log", ("/var/log/**", "/**/*.log"), drifts=()),
    Rule(CACHE, "a cache", ("/var/cache/**", "/**/.cache/**", "/**/__pycache__", "/**/__pycache__/**"), drifts=()),
    Rule(TEMPORARY, "temporary", ("/tmp/**", "/var/tmp/**", "/run/**"), drifts=()),  # noqa: S108 (no file is made)
    Rule(USER, "someone's own files", ("/home/**", "/root/**", "/srv/**", "/var/mail/**", "/media/**"), drifts=()),
    Rule(SOFTWARE, "not from a package", ("/usr/**", "/opt/**", "/bin/**", "/sbin/**", "/lib/**"), drifts=()),
    Rule(CONFIGURATION, "configuration", ("/etc/**",), drifts=()),
    Rule(STATE, "state of a service", ("/var/**",), drifts=()),
)

RULES = (*DEBIAN, *DANGEROUS, *BROAD)


def declared_rules(record: dict[str, Any]) -> tuple[Rule, ...]:
    """The rules of /etc/anicca/rules.json, the suspicious first. Raises `KeyError`."""
    found = [
        Rule(one["kind"], one["why"] or "as declared", (one["path"],), expected=one["kind"] == EXPECTED, drifts=())
        for one in record["rules"]
    ]
    return tuple(sorted(found, key=lambda rule: rule.name != SUSPICIOUS))


def matches(patterns: tuple[str, ...], path: bytes) -> bool:
    """Whether a path is one of those that shell patterns mean."""
    return _pattern(patterns).fullmatch(path) is not None


Declares = Callable[[bytes], bool]


def judge(drift: Drift, declares: Declares, *, rules: tuple[Rule, ...] = RULES, explained: bool = True) -> Judgement:
    """The class of a difference. `declares` says whether a path is declared, for links that must lead to one.

    Without `explained`, rules that explain are passed over.
    """
    danger = _danger(drift)
    if danger is not None:
        return danger
    kind = kind_of(drift.mode)
    for rule in rules:
        if rule.name == SECRET or (rule.expected and (drift.hidden or not explained)):
            continue
        if rule.drifts and drift.kind not in rule.drifts:
            continue
        if rule.kinds and drift.mode and kind not in rule.kinds:
            continue
        if _pattern(rule.patterns).fullmatch(drift.path) and _holds(rule.needs, drift, declares):
            if drift.hidden and rule.name != SUSPICIOUS:
                break
            return Judgement(rule.name, rule.why, rule.expected)
    return Judgement(HIDDEN_CLASS, "seen by nobody") if drift.hidden else Judgement(OTHER, "")


SET_ID_DRIFTS = (ADDED, MODE, OWNER, "group", CONTENT, TYPE, "hard link")


def _danger(drift: Drift) -> Judgement | None:
    """What is dangerous wherever it is."""
    if stat.S_ISREG(drift.mode):
        if stat.S_IMODE(drift.mode) & 0o6000 and drift.kind in (
            ADDED,
            MODE,
            OWNER,
            "group",
            CONTENT,
            TYPE,
            "hard link",
        ):
            return Judgement(SUSPICIOUS, "runs with its owner's rights (set-id)")
        if "security.capability" in drift.xattrs and drift.kind in (ADDED, XATTR, CONTENT, TYPE):
            return Judgement(SUSPICIOUS, "runs with capabilities of its own")
        if drift.path.startswith(b"/dev/") and not drift.path.startswith((b"/dev/shm/", b"/dev/.")):
            return Judgement(SUSPICIOUS, "a plain file among the devices")
    if (stat.S_ISBLK(drift.mode) or stat.S_ISCHR(drift.mode)) and not drift.path.startswith(b"/dev/"):
        # What an overlay leaves where a name was removed.
        return Judgement(SUSPICIOUS, "a device outside /dev")
    if drift.kind == CONTENT and drift.origin.startswith("package "):
        return Judgement(SUSPICIOUS, "a package's own file, changed")
    if drift.kind == TYPE and drift.path.startswith(b"/usr/"):
        return Judgement(SUSPICIOUS, "something else in a package's place")
    if drift.kind in (MODE, OWNER) and drift.path.startswith(b"/usr/"):
        return Judgement(SUSPICIOUS, "open to others than root")
    if drift.kind == "mount":
        return Judgement(SUSPICIOUS, "covers what is declared")
    return None


def _holds(needs: str, drift: Drift, declares: Declares) -> bool:
    if needs == DECLARED:
        return declares(_leads(drift.path, drift.target))
    if needs == SIBLING:
        return b"/" not in drift.target and drift.target not in (b"", b".", b"..")
    if needs == COMPILED:
        directory, name = drift.path.rsplit(b"/", 1)
        return declares(join(parent(directory), name.split(b".cpython-", 1)[0] + b".py"))
    return True


def _leads(path: bytes, target: bytes) -> bytes:
    at = b"/" if target.startswith(b"/") else parent(path)
    for part in target.split(b"/"):
        if part == b"..":
            at = parent(at)
        elif part not in (b"", b"."):
            at = join(at, part)
    return at


@cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[bytes]:
    """One expression for all patterns. `*`, `?` and `[…]` stop at a slash, `**` does not."""
    return re.compile(b"|".join(map(_translated, patterns)), re.DOTALL)


def _translated(pattern: str) -> bytes:
    found = ""
    at = 0
    while at < len(pattern):
        if pattern.startswith("/**/", at):
            found += "/(?:.*/)?"
            at += 4
        elif pattern.startswith("**", at):
            found += ".*"
            at += 2
        elif pattern[at] == "*":
            found += "[^/]*"
            at += 1
        elif pattern[at] == "?":
            found += "[^/]"
            at += 1
        elif pattern[at] == "[":
            end = pattern.index("]", at)
            found += pattern[at : end + 1].replace("[!", "[^/")
            at = end + 1
        else:
            found += re.escape(pattern[at])
            at += 1
    return found.encode()


__all__ = ["CLASSES", "HIDDEN", "RULES", "Judgement", "Rule", "judge", "rank"]
