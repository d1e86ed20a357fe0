"""Build ZFS for one kernel, from the source of zfs-dkms, and gather the programs that go with it.

Environment: `out`, `kernel` (its version), `NIX_BUILD_TOP`, `NIX_BUILD_CORES`. `out` is laid over a tree: the modules,
signed by nobody, below /usr/lib/modules, and the programs with all libraries that they need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

MODULES = ("spl", "zfs")
PROGRAMS = ("/usr/sbin/mount.zfs", "/usr/sbin/zfs", "/usr/sbin/zpool")
MERGED = ("/bin/", "/lib/", "/lib64/", "/sbin/")
MAKE_VARIABLES = "CONFIG_DEBUG_INFO= CONFIG_DEBUG_INFO_BTF= CONFIG_DEBUG_INFO_BTF_MODULES="
"""For every make, those of configure too, which ignores MAKEFLAGS: what debuggers want would take most of the time."""


def main() -> None:
    """Configure, compile, copy."""
    out, top, kernel = Path(os.environ["out"]), Path(os.environ["NIX_BUILD_TOP"]), os.environ["kernel"]
    cores = os.environ["NIX_BUILD_CORES"]
    sources = sorted(Path("/usr/src").glob("zfs-*"))
    if len(sources) != 1:
        sys.exit(f"one source of ZFS is needed, and there are {len(sources)}")
    source = top / "zfs"
    # With the times of the store, all of which are equal: nothing generated looks out of date.
    subprocess.run(["cp", "-R", "--preserve=mode,timestamps", sources[0], source], check=True)
    subprocess.run(["chmod", "-R", "u+w", source], check=True)
    built = Path("/usr/lib/modules", kernel)
    environment = {**os.environ, "GNUMAKEFLAGS": MAKE_VARIABLES, "TEST_JOBS": cores}
    # As the package's dkms.conf has it.
    configure = [
        *("sh", "./configure", "--disable-dependency-tracking", "--prefix=/usr", "--with-config=kernel"),
        *(f"--with-linux={(built / 'source').resolve()}", f"--with-linux-obj={(built / 'build').resolve()}"),
    ]
    for command in (configure, ["make", f"-j{cores}"]):
        subprocess.run(command, cwd=source, env=environment, check=True)
    target = out / "usr/lib/modules" / kernel / "updates"
    target.mkdir(parents=True)
    for name in MODULES:
        shutil.copyfile(source / "module" / f"{name}.ko", target / f"{name}.ko")
    for path in (*PROGRAMS, *libraries(PROGRAMS)):
        place = out / path.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def libraries(programs: tuple[str, ...]) -> list[str]:
    """The paths of all libraries that these programs are loaded with, below /usr."""
    said = subprocess.run(["ldd", *programs], check=True, stdout=subprocess.PIPE, text=True).stdout
    found = {word for line in said.splitlines() for word in line.split() if word.startswith("/") and ".so" in word}
    return sorted("/usr" + path if path.startswith(MERGED) else path for path in found)


if __name__ == "__main__":
    main()
