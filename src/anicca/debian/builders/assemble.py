"""Assemble a Debian tree with mmdebstrap from exactly the pinned packages, then split it.

Environment: `out` and `delta` (the outputs), `packagesPath` (a JSON list of {name, deb, contents}), `release`,
`architecture`, `SOURCE_DATE_EPOCH` (seconds), `NIX_BUILD_TOP`, `debconf` (selections, may be empty).

`delta` holds each regular file that is not, byte for byte, a file of its package: what maintainer scripts made.
`out` holds manifest.jsonl (every path with its true metadata, owners by name) and facts.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import manifest
from manifest import Entry

DPKG = "usr/lib/sysimage/dpkg"
"""Where dpkg's database lives: below /usr, because /var is laid out afresh at every boot."""

SCRUBBED = (
    # identity and keys: made on the host, never in the store
    "etc/ssh/ssh_host_*",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    # what names the machine that built
    "etc/hostname",
    "etc/resolv.conf",
    # backups and locks
    "etc/*-",
    "etc/.pwd.lock",
    "etc/apt/sources.list",
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

PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")

MMDEBSTRAP_SKIPS = "check/empty,check/qemu,cleanup/reproducible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A pinned package: its name, the .deb, and the store object of its contents."""

    name: str
    deb: Path
    contents: Path


def main() -> None:
    """Build both outputs."""
    out, delta, top = Path(os.environ["out"]), Path(os.environ["delta"]), Path(os.environ["NIX_BUILD_TOP"])  # noqa: SIM112
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    records: list[dict[str, Any]] = json.loads(Path(os.environ["packagesPath"]).read_bytes())
    packages = [
        Package(name=record["name"], deb=Path(record["deb"]), contents=Path(record["contents"])) for record in records
    ]
    repository, root = top / "repository", top / "root"
    make_repository(repository, packages)
    bootstrap(repository, root, packages, top)
    move_dpkg(root)
    scrub(root)
    out.mkdir()
    delta.mkdir()
    names = Names.read(root)
    entries = split(root, delta, packages, names, epoch)
    manifest.write(out / "manifest.jsonl", entries)
    (out / "facts.json").write_text(json.dumps(facts(root, names), indent=1, sort_keys=True) + "\n")


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
    control = subprocess.run(["dpkg-deb", "-f", package.deb], check=True, stdout=subprocess.PIPE, text=True).stdout
    with package.deb.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = package.deb.stat().st_size
    return f"{control.rstrip()}\nFilename: ./{name}\nSize: {size}\nSHA256: {digest}\n"


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
        'mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"',
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
    """Names of the tree's own users and groups."""

    users: dict[int, str]
    groups: dict[int, str]

    @classmethod
    def read(cls, root: Path) -> Names:
        """Read the tree's passwd and group."""
        tables: list[dict[int, str]] = []
        for table in ("passwd", "group"):
            lines = (root / "etc" / table).read_text().splitlines()
            fields = (line.split(":") for line in lines)
            tables.append({int(field[2]): field[0] for field in fields})
        return cls(users=tables[0], groups=tables[1])


def split(root: Path, delta: Path, packages: list[Package], names: Names, epoch: int) -> list[Entry]:
    """Tell every path; copy to `delta` the files that no package holds with the same content."""
    owners = package_files(root, packages)
    entries: list[Entry] = []
    links: dict[int, tuple[int, str | None]] = {}
    faults: list[str] = []
    for path in walk(root):
        name = "/" + os.fsdecode(os.path.relpath(path, os.fsencode(root))) if path != os.fsencode(root) else "/"
        status = os.lstat(path)
        try:
            kind = manifest.kind_of(status.st_mode)
            user, group = names.users[status.st_uid], names.groups[status.st_gid]
        except ValueError as error:
            faults.append(f"{name}: {error}")
            continue
        except KeyError as error:
            faults.append(f"{name}: owner id {error} has no name")
            continue
        size, target, source, link = 0, "", None, None
        if kind == "symlink":
            target = os.fsdecode(os.readlink(path))
        elif kind == "file":
            size = status.st_size
            if status.st_nlink > 1:
                link = status.st_ino
            if link in links:
                link, source = links[link]
            else:
                source = find_source(path, name, size, owners, delta, faults)
                if link is not None:
                    links[link] = (len(links), source)
                    link = links[link][0]
        entries.append(
            Entry(
                path=name,
                kind=kind,
                mode=status.st_mode & 0o7777,
                user=user,
                group=group,
                mtime=min(int(status.st_mtime), epoch),
                size=size,
                target=target,
                source=source,
                link=link,
                xattrs=tuple(
                    (xattr, os.getxattr(path, xattr, follow_symlinks=False))
                    for xattr in sorted(os.listxattr(path, follow_symlinks=False))
                ),
            )
        )
    if faults:
        sys.exit("the tree cannot be kept:\n  " + "\n  ".join(faults[:50]))
    return entries


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


def find_source(
    path: bytes, name: str, size: int, owners: dict[str, Path], delta: Path, faults: list[str]
) -> str | None:
    """The store file with this content: the package's where it is equal, else a copy in `delta`."""
    if size == 0:
        return None
    with open(path, "rb") as file:  # noqa: PTH123
        content = file.read()
    package = owners.get(name)
    if package is not None and package.stat().st_size == size and package.read_bytes() == content:
        return str(package)
    if PRIVATE_KEY.search(content):
        faults.append(f"{name}: looks like a private key, which must never be in the store")
    copy = delta / name.lstrip("/")
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(content)
    return str(copy)


def facts(root: Path, names: Names) -> dict[str, Any]:
    """What later steps need to know without reading the whole manifest."""
    kernels = sorted(path.name for path in (root / "usr/lib/modules").glob("*") if path.is_dir())
    return {
        "kernels": kernels,
        "users": {name: uid for uid, name in names.users.items()},
        "groups": {name: gid for gid, name in names.groups.items()},
    }


if __name__ == "__main__":
    main()
