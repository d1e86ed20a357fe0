"""Assemble a Debian tree with mmdebstrap from exactly the pinned packages, then split it.

Environment: `out` and `delta` (the outputs), `packagesPath` (a JSON list of {name, deb, contents, sha256}), `release`,
`architecture`, `SOURCE_DATE_EPOCH` (seconds), `NIX_BUILD_TOP`, `debconf` (selections, may be empty).

`delta` holds each regular file that is not, byte for byte, a file of its package: what maintainer scripts made.
`out` holds manifest.jsonl (every path with its true metadata, owners by name) and facts.json.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keys
import manifest
from manifest import Entry

DPKG = "usr/lib/sysimage/dpkg"
"""Where dpkg's database lives: below /usr, because /var is laid out afresh at every boot."""

SCRUBBED = (
    # identity and keys: made on the host, never in the store
    "etc/ssh/ssh_host_*",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/iscsi/initiatorname.iscsi",
    "etc/machine-id",
    "etc/nvme/hostid",
    "etc/nvme/hostnqn",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    # what names the machine that built
    "etc/hostname",
    "etc/resolv.conf",
    "etc/.resolv.conf.systemd-resolved.bak",
    # backups and locks
    "etc/*-",
    "etc/.pwd.lock",
    # what only the assembly needed
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/sources.list",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    # logs and caches, which name times and temporary paths
    "var/log/alternatives.log",
    "var/log/apt/*",
    "var/log/bootstrap.log",
    "var/log/btmp",
    "var/log/dpkg.log",
    "var/log/faillog",
    "var/log/fontconfig.log",
    "var/log/lastlog",
    "var/log/wtmp",
    "var/log/journal/*",
    "var/cache/apt/*",
    "var/cache/debconf/*",
    "var/cache/fontconfig/*",
    "var/cache/ldconfig/*",
    "var/cache/man/*",
    "var/lib/apt/lists/*",
    "var/lib/apt/extended_states",
    "var/lib/systemd/catalog/database",
    "var/lib/systemd/deb-systemd-*",
    # boot files: the system object holds its own
    "boot/initrd*",
    "initrd.img*",
    "vmlinuz*",
    # filled by the kernel and at run time
    "dev/*",
    "proc/*",
    "run/*",
    "sys/*",
    "tmp/*",
)
"""Shell patterns of paths that differ from build to build or that no store may hold."""

FIRST_DYNAMIC, LAST_DYNAMIC = 100, 59999
"""Ids that another set of packages may number otherwise (Debian policy 9.2.2)."""

AR_HEADER_BYTES = 60
MMDEBSTRAP_SKIPS = "check/empty,check/qemu,cleanup/reproducible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A pinned package: its name, the .deb, and the store object of its contents."""

    name: str
    deb: Path
    contents: Path
    sha256: str


def main() -> None:
    """Build both outputs."""
    os.umask(0o022)
    out, delta, top = Path(os.environ["out"]), Path(os.environ["delta"]), Path(os.environ["NIX_BUILD_TOP"])
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    if time.time() < epoch:
        # Times after the epoch are set back to it; a clock behind it would leave its own in the tree.
        sys.exit(f"this machine's clock ({int(time.time())}) is behind the time of the lock ({epoch})")
    records: list[dict[str, Any]] = json.loads(Path(os.environ["packagesPath"]).read_bytes())
    packages = [
        Package(
            name=record["name"],
            deb=Path(record["deb"]),
            contents=Path(record["contents"]),
            sha256=record["sha256"],
        )
        for record in records
    ]
    repository, root = top / "repository", top / "root"
    make_repository(repository, packages)
    bootstrap(repository, root, packages, top)
    move_dpkg(root)
    scrub(root)
    out.mkdir()
    delta.mkdir()
    names = Names.read(root)
    entries = Splitter(root=root, delta=delta, owners=package_files(root, packages)).split(names, epoch)
    manifest.write(out / "manifest.jsonl", entries)
    (out / "facts.json").write_text(json.dumps(facts(root, names), indent=1, sort_keys=True) + "\n")
    # Before the outputs are synced, which may sync the whole filesystem: nobody needs these on a disk.
    shutil.rmtree(root)
    shutil.rmtree(repository)


def make_repository(repository: Path, packages: list[Package]) -> None:
    """Make a flat repository of exactly these packages, as apt reads one."""
    repository.mkdir()
    with ThreadPoolExecutor() as pool:
        stanzas = list(pool.map(lambda package: stanza(package, repository), packages))
    index = "\n".join(stanzas).encode()
    (repository / "Packages").write_bytes(index)
    release, architecture = os.environ["release"], os.environ["architecture"]
    (repository / "Release").write_text(
        f"Suite: {release}\nCodename: {release}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
        f"Architectures: {architecture} all\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )


def stanza(package: Package, repository: Path) -> str:
    """A package's paragraph in the index."""
    name = f"{package.name}.deb"
    (repository / name).symlink_to(package.deb)
    size = package.deb.stat().st_size
    return f"{control(package.deb).rstrip()}\nFilename: ./{name}\nSize: {size}\nSHA256: {package.sha256}\n"


def control(deb: Path) -> str:
    """A package's control paragraph: deb(5), an ar(5) archive whose second member is a tar archive with it.

    Read here, because starting dpkg-deb for each of hundreds of packages takes seconds.
    """
    with deb.open("rb") as file:
        file.seek(len(b"!<arch>\n"))
        while header := file.read(AR_HEADER_BYTES):
            name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            if not name.startswith("control.tar"):
                file.seek(size + size % 2, os.SEEK_CUR)
                continue
            if name.endswith(".zst"):
                break
            with tarfile.open(fileobj=io.BytesIO(file.read(size))) as members:
                member = next(member for member in members if member.name.removeprefix("./") == "control")
                content = members.extractfile(member)
                assert content is not None
                return content.read().decode()
    # Python 3.13 reads no zstd.
    return subprocess.run(["dpkg-deb", "-f", deb], check=True, stdout=subprocess.PIPE, text=True).stdout


def bootstrap(repository: Path, root: Path, packages: list[Package], top: Path) -> None:
    """Run mmdebstrap; maintainer scripts run in the chroot as their authors meant, without a network."""
    selections = top / "debconf"
    selections.write_text(os.environ.get("debconf", ""))
    # Names only: every version there is, is the pinned one.
    include = ",".join(package.name for package in packages)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(top),
        "TMPDIR": str(top),
        "DEBIAN_FRONTEND": "noninteractive",
        "SOURCE_DATE_EPOCH": os.environ["SOURCE_DATE_EPOCH"],
        # Kernel packages: our own initrd is a build step of its own.
        "INITRD": "No",
    }
    hooks = [
        'mkdir -p "$1/etc/postgresql-common"',
        'echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"',
        'printf "do_symlinks = no\\ndo_initrd = no\\n" >"$1/etc/kernel-img.conf"',
        f'[ ! -s "{selections}" ] || chroot "$1" debconf-set-selections <"{selections}"',
    ]
    status = subprocess.run(
        [
            "mmdebstrap",
            "--mode=root",
            "--variant=essential",
            "--format=directory",
            f"--architectures={os.environ['architecture']}",
            f"--include={include}",
            f"--skip={MMDEBSTRAP_SKIPS}",
            "--aptopt=APT::Install-Recommends false",
            "--dpkgopt=force-unsafe-io",
            *(f"--essential-hook={hook}" for hook in hooks),
            os.environ["release"],
            str(root),
            f"deb [trusted=yes] copy://{repository} ./",
        ],
        check=False,
        env=environment,
    ).returncode
    if status != 0:
        sys.exit(f"mmdebstrap failed with status {status}")
    remove(root / "etc/kernel-img.conf")
    marker = root / "etc/postgresql-common/createcluster.conf"
    if not (root / "usr/bin/pg_createcluster").exists():
        remove(marker)
        marker.parent.rmdir()
    installed = set(
        subprocess.run(
            ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-f", "${Package} ${Status}\n", "-W"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.splitlines()
    )
    wanted = {f"{package.name} install ok installed" for package in packages}
    if installed != wanted:
        sys.exit(f"not as pinned: {sorted(installed ^ wanted)}")


def move_dpkg(root: Path) -> None:
    """Move dpkg's database below /usr and leave a symlink."""
    (root / DPKG).parent.mkdir(parents=True, exist_ok=True)
    scrub(root, tuple(pattern for pattern in SCRUBBED if pattern.startswith("var/lib/dpkg/")))
    (root / "var/lib/dpkg").rename(root / DPKG)
    (root / "var/lib/dpkg").symlink_to("../../" + DPKG)


def scrub(root: Path, patterns: tuple[str, ...] = SCRUBBED) -> None:
    """Remove what `patterns` name, and links that then point nowhere into what was removed."""
    for pattern in patterns:
        for path in root.glob(pattern):
            remove(path)
    certificates = root / "etc/ssl/certs"
    if certificates.is_dir():
        for link in certificates.iterdir():
            if link.is_symlink() and link.readlink() == Path("ssl-cert-snakeoil.pem"):
                link.unlink()


def remove(path: Path) -> None:
    """Remove a file or a whole directory."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The tree's own users and groups, with the numbers that this assembly gave them."""

    users: dict[str, int]
    groups: dict[str, int]

    @classmethod
    def read(cls, root: Path) -> Names:
        """Read the tree's passwd and group."""
        tables: list[dict[str, int]] = []
        for table in ("passwd", "group"):
            lines = (root / "etc" / table).read_text().splitlines()
            fields = (line.split(":") for line in lines)
            tables.append({field[0]: int(field[2]) for field in fields})
        return cls(users=tables[0], groups=tables[1])


def by_number(names: dict[str, int]) -> dict[int, str]:
    """The name of each number; the first, where several have it, as the C library answers."""
    found: dict[int, str] = {}
    for name, number in names.items():
        found.setdefault(number, name)
    return found


@dataclass(slots=True, kw_only=True)
class Splitter:
    """Tells every path of `root`; copies to `delta` the files that no package holds with the same content.

    `owners` has, by path, the store file of the package that put it there.
    """

    root: Path
    delta: Path
    owners: dict[str, Path]
    faults: list[str] = field(default_factory=list)
    _links: dict[int, tuple[int, str | None]] = field(default_factory=dict)

    def split(self, names: Names, epoch: int) -> list[Entry]:
        """The tree's entries. Exits with everything that cannot be kept."""
        users, groups = by_number(names.users), by_number(names.groups)
        entries: list[Entry] = []
        for path in walk(self.root):
            name = os.fsdecode(path.removeprefix(os.fsencode(self.root))) or "/"
            status = os.lstat(path)
            try:
                kind = manifest.kind_of(status.st_mode)
                user, group = users[status.st_uid], groups[status.st_gid]
                xattrs = read_xattrs(path)
            except ValueError as error:
                self.faults.append(f"{name}: {error}")
                continue
            except KeyError as error:
                self.faults.append(f"{name}: owner id {error} has no name")
                continue
            target, source, link = "", None, None
            if kind == "symlink":
                target = os.fsdecode(os.readlink(path))  # noqa: PTH115 (bytes)
            elif kind == "file":
                source, link = self._place(path, name, status)
            entries.append(
                Entry(
                    path=name,
                    kind=kind,
                    mode=status.st_mode & 0o7777,
                    user=user,
                    group=group,
                    mtime=min(int(status.st_mtime), epoch),
                    size=status.st_size if kind == "file" else 0,
                    target=target,
                    source=source,
                    link=link,
                    xattrs=xattrs,
                )
            )
        if self.faults:
            sys.exit("the tree cannot be kept:\n  " + "\n  ".join(self.faults[:50]))
        return entries

    def _place(self, path: bytes, name: str, status: os.stat_result) -> tuple[str | None, int | None]:
        """Where a file's content is in the store, and the number of its group of hard links."""
        if status.st_nlink == 1:
            return self._source(path, name, status.st_size), None
        known = self._links.get(status.st_ino)
        if known is None:
            known = self._links[status.st_ino] = (len(self._links), self._source(path, name, status.st_size))
        return known[1], known[0]

    def _source(self, path: bytes, name: str, size: int) -> str | None:
        """The store file with this content: the package's where it is equal, else a copy in `delta`."""
        if size == 0:
            return None
        with open(path, "rb") as file:  # noqa: PTH123 (bytes)
            content = file.read()
        package = self.owners.get(name)
        if package is not None and package.stat().st_size == size and package.read_bytes() == content:
            return str(package)
        if keys.looks_private(content):
            self.faults.append(f"{name}: {keys.REFUSAL}")
        copy = self.delta / name.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        return str(copy)


def read_xattrs(path: bytes) -> tuple[tuple[str, bytes], ...]:
    """The extended attributes that belong to the tree. Raises `ValueError` for access lists with ids that may move."""
    found = []
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if name not in manifest.XATTRS and not name.startswith("user."):
            continue  # labels of this machine's security modules
        value = os.getxattr(path, name, follow_symlinks=False)
        if name.startswith("system.posix_acl_"):
            for number in manifest.acl_ids(value):
                if FIRST_DYNAMIC <= number <= LAST_DYNAMIC:
                    raise ValueError(f"its access list names the id {number}, which has another number elsewhere")
        found.append((name, value))
    return tuple(found)


def walk(top: Path) -> list[bytes]:
    """Every path below and including `top`, in an order that depends on names only."""
    found: list[bytes] = []
    for directory, directories, files in os.walk(os.fsencode(top)):
        found.append(directory)
        directories.sort()
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]  # noqa: PTH114, PTH118
        found.extend(os.path.join(directory, name) for name in sorted(files + links))  # noqa: PTH118
    return found


def package_files(root: Path, packages: list[Package]) -> dict[str, Path]:
    """Where each path of dpkg's lists has its content in the store, diversions followed."""
    diverted: dict[tuple[str, str], str] = {}
    lines = (root / DPKG / "diversions").read_text().splitlines()
    for original, other, diverter in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        diverted[original, diverter] = other
    diverters = dict(diverted.keys())
    found: dict[str, Path] = {}
    for package in packages:
        for listed in list_file(root, package.name).read_text().splitlines():
            source = package.contents / listed.lstrip("/")
            if source.is_symlink() or not source.is_file():
                continue
            place = listed
            if listed in diverters and diverters[listed] != package.name:
                place = diverted[listed, diverters[listed]]
            found[merged_usr(place)] = source
    return found


def list_file(root: Path, package: str) -> Path:
    """dpkg's list of a package's paths, whose name has an architecture for multi-arch packages."""
    info = root / DPKG / "info"
    plain = info / f"{package}.list"
    return plain if plain.exists() else info / f"{package}:{os.environ['architecture']}.list"


def merged_usr(path: str) -> str:
    """The true place of a path that goes through /bin, /lib, /lib64 or /sbin."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return "/usr" + path if first in {"bin", "lib", "lib64", "sbin"} and path.count("/") > 1 else path


def facts(root: Path, names: Names) -> dict[str, Any]:
    """What later steps need to know without reading the whole manifest."""
    kernels = sorted(path.name for path in (root / "usr/lib/modules").glob("*") if path.is_dir())
    return {
        "kernels": kernels,
        "users": names.users,
        "groups": names.groups,
    }


if __name__ == "__main__":
    main()
