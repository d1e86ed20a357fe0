"""Looking at one tree: anicca beside aide, mtree, debsums, dpkg and find. Wall and CPU seconds, peak memory, ratios.

    python -m bench.drift TREE [--runs 5] [--directory DIR] [--only GROUP…] [--cold] [--million]

TREE is a Debian root, as mmdebstrap makes it, or any other tree, of which dpkg knows nothing. It is only read. All are
whole processes, turn and turn about in the same run, with a warm cache, or with `--cold` an empty one. Peers that are
not installed are left out (Debian: aide mtree-netbsd debsums nix-bin git). Needs root.

`host` and `deep` make an anicca host of the same tree, with a thousand files more than were declared. There `anicca
drift` looks at its root alone, as /usr, /etc and the store cannot be written to; the peers do not know that, and look
at all. `--million` measures the memory that it takes to look at a million files.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from bench.drift_host import DRIFTED, inside, make_host, plant

from anicca import process
from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Callable

ANICCA = [sys.executable, "-m", "anicca"]
FIND = r"%y %m %U %G %s %T@ %C@ %i %n %l\n"
METADATA = """
import os, sys
from anicca.drift.scan import Options, Scan
for entry in Scan(os.fsencode(sys.argv[1]), Options(xattrs=sys.argv[2] == "xattrs")):
    pass
"""
HASH = """
import hashlib, os, sys
new = getattr(hashlib, sys.argv[1])
def work(paths):
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        state = new()
        while chunk := os.read(fd, 1 << 18):
            state.update(chunk)
            if len(chunk) < 1 << 18:
                break
        os.close(fd)
        state.hexdigest()
paths = []
def walk(top):
    with os.scandir(top) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                walk(entry.path)
            elif entry.is_file(follow_symlinks=False):
                paths.append(entry.path)
for top in sys.argv[2:]:
    walk(os.fsencode(top))
cores = os.cpu_count()
pids = []
for core in range(cores):
    pid = os.fork()
    if not pid:
        work(paths[core::cores])
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
"""
"""The machine's own limit: a list of the files, an equal part for each core, opened, read, hashed, closed.

`find | xargs openssl dgst`, which is C, takes about as long.
"""
AIDE = """\
database_in=file:{top}/aide.db
database_out=file:{top}/aide.new
gzip_dbout=no
report_url=file:{top}/aide.report
Rule = p+i+n+u+g+s+b+m+ftype+l+acl+xattrs+caps+sha256
{tree} Rule
"""
MTREE = "type,mode,uid,gid,size,nlink,link,time,sha256"


@dataclass(frozen=True, slots=True)
class Cost:
    wall: float
    cpu: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Work:
    """One thing done by one program. `group` is what is compared; ours is the first of each group."""

    group: str
    name: str
    argv: list[str]
    prepare: Callable[[], object] | None = None


def timed(argv: list[str], log: Path) -> Cost:
    """Run to the end, whatever the status: many of these say what they found with it."""
    started = time.perf_counter()
    child = process.start(argv, output=log)
    _, _, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


GROUPS = ("metadata", "packages", "save", "check", "host", "deep")


def works(tree: str, top: Path, only: list[str]) -> list[Work]:
    """What is installed, of what can be compared."""
    baseline = f"{top}/baseline.zst"
    (top / "metadata.py").write_text(METADATA)
    (top / "hash.py").write_text(HASH)
    (top / "aide.conf").write_text(AIDE.format(top=top, tree=tree))

    def keep_aide() -> None:
        if (top / "aide.new").exists():
            (top / "aide.new").replace(top / "aide.db")

    found = [
        Work("metadata", "anicca scan", [sys.executable, f"{top}/metadata.py", tree, "plain"]),
        Work("metadata", "anicca scan, xattrs", [sys.executable, f"{top}/metadata.py", tree, "xattrs"]),
        Work("metadata", "find -printf", ["find", tree, "-printf", FIND]),
        Work("packages", "anicca drift", [*ANICCA, "drift", "--root", tree, "--summary"]),
        Work("packages", "read and md5, all cores", [sys.executable, f"{top}/hash.py", "md5", tree]),
        Work("packages", "debsums -as", ["debsums", "-as", f"--root={tree}"]),
        Work("packages", "dpkg --verify", ["dpkg", f"--root={tree}", "--verify"]),
        Work("save", "anicca baseline save", [*ANICCA, "baseline", "save", baseline, "--root", tree]),
        Work("save", "aide --init", ["aide", "--config", f"{top}/aide.conf", "--init"]),
        Work("save", "mtree -c", ["mtree", "-c", "-k", MTREE, "-p", tree]),
        Work("save", "read and sha256, all cores", [sys.executable, f"{top}/hash.py", "sha256", tree]),
        Work("check", "anicca baseline compare", [*ANICCA, "baseline", "compare", baseline, "--root", tree]),
        Work("check", "aide --check", ["aide", "--config", f"{top}/aide.conf", "--check"], prepare=keep_aide),
        Work("check", "mtree", ["mtree", "-f", f"{top}/mtree", "-p", tree]),
    ]
    if {"host", "deep"} & {*only}:
        found += host_works(Path(tree), top)
    has_dpkg = Path(tree, "var/lib/dpkg/status").exists()
    return [
        work for work in found if work.group in only and which(work.argv[0]) and (has_dpkg or work.group != "packages")
    ]


def host_works(tree: Path, top: Path) -> list[Work]:
    """The same tree as an anicca host, and what others would have to look at there."""
    host = top / "host"
    if not host.exists():
        plant(make_host(tree, top))
    print(f"the host has {DRIFTED} drifted files", file=sys.stderr)
    aide = ["aide", "--config", f"{top}/aide.conf"]
    git = ["git", f"--git-dir={top}/git", f"--work-tree={tree}"]

    def prepare_aide() -> None:
        if not (top / "aide.db").exists():
            process.run([*aide, "--init"], check=False)
            (top / "aide.new").replace(top / "aide.db")

    def prepare_git() -> None:
        if not (top / "git").exists():
            process.run(["git", "init", "-q", f"--separate-git-dir={top}/git", top / "empty"])
            process.run([*git, "-c", "core.compression=0", "add", "-A"], check=False)

    nix = ["nix-store", "--store", f"{top}/volume", "--verify", "--check-contents"]
    drift = [*ANICCA, "drift", "--summary", "--root", str(host)]
    return [
        Work("host", "anicca drift", inside(host, drift)),
        Work("host", "aide --check", [*aide, "--check"], prepare=prepare_aide),
        Work("host", "git status", [*git, "status", "--porcelain"], prepare=prepare_git),
        Work("deep", "anicca drift --deep", inside(host, [*drift, "--deep"])),
        Work("deep", "read and sha256, all cores", [sys.executable, f"{top}/hash.py", "sha256", str(tree)]),
        Work(
            "deep", "the same, the store too", [sys.executable, f"{top}/hash.py", "sha256", str(tree), f"{top}/volume"]
        ),
        Work("deep", "nix-store --verify --ch…", nix),
        Work("deep", "debsums -as", ["debsums", "-as", f"--root={tree}"]),
    ]


def million(directory: Path) -> None:
    """What all processes of a scan hold at most, of a million files; pages that they share are counted once (PSS)."""
    tree = directory / "million"
    for number in range(1000):
        (tree / f"{number:03}").mkdir(parents=True, exist_ok=True)
        for other in range(1000):
            os.close(os.open(tree / f"{number:03}/a-file-of-the-million-{other:03}", os.O_CREAT | os.O_WRONLY))
    (directory / "metadata.py").write_text(METADATA)
    baseline, nothing = str(directory / "million.zst"), str(directory / "nothing.zst")
    (directory / "nothing").mkdir(exist_ok=True)
    process.run([*ANICCA, "baseline", "save", nothing, "--root", directory / "nothing"])
    for name, argv in (
        ("scan with xattrs", [sys.executable, str(directory / "metadata.py"), str(tree), "xattrs"]),
        ("anicca baseline save", [*ANICCA, "baseline", "save", baseline, "--root", str(tree)]),
        ("anicca baseline compare", [*ANICCA, "baseline", "compare", baseline, "--root", str(tree)]),
        ("the same, all of it drift", [*ANICCA, "baseline", "compare", nothing, "--root", str(tree)]),
        ("and as JSON", [*ANICCA, "--json", "baseline", "compare", nothing, "--root", str(tree)]),
    ):
        child = process.start(argv, output=directory / "log")
        started, most = time.perf_counter(), 0
        while child.poll() is None:
            most = max(most, sum(map(held, [child.pid, *children(child.pid)])))
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        print(f"a million files, {name}: {most / 1000:.0f} MB at most, {seconds:.1f} s, status {child.poll()}")


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def held(pid: int) -> int:
    """What a process holds, in kB."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(text.partition("\nPss:")[2].split()[0])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tree", type=Path)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--directory", type=Path, default=None)
    options.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    options.add_argument("--reuse", type=Path, help="where an earlier run with --reuse left what takes long to make")
    options.add_argument("--cold", action="store_true", help="with an empty page cache before each")
    options.add_argument("--million", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.directory) as directory:
        top = chosen.reuse or Path(directory)
        top.mkdir(exist_ok=True)
        if chosen.million:
            million(top)
            return
        todo = works(str(chosen.tree.resolve()), top, chosen.only)
        costs: dict[str, list[Cost]] = {work.name: [] for work in todo}
        if which("mtree") and "check" in chosen.only:
            specification = process.run(["mtree", "-c", "-k", MTREE, "-p", chosen.tree]).stdout
            (top / "mtree").write_bytes(specification)
        # The first turn fills the cache.
        for turn in range(1 if chosen.cold else 0, chosen.runs + 1):
            for work in todo:
                if work.prepare is not None:
                    work.prepare()
                if chosen.cold:
                    process.run(["sync"])
                    Path("/proc/sys/vm/drop_caches").write_text("3\n")
                cost = timed(work.argv, top / "log")
                if turn:
                    costs[work.name].append(cost)
            print(f"turn {turn} of {chosen.runs}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    show(todo, costs)


def show(todo: list[Work], costs: dict[str, list[Cost]]) -> None:
    """Medians, and how many times as long as ours each took."""
    ours: dict[str, Cost] = {}
    group = ""
    for work in todo:
        runs = costs[work.name]
        cost = Cost(*(statistics.median(getattr(one, name) for one in runs) for name in ("wall", "cpu", "peak_mb")))
        first = ours.setdefault(work.group, cost)
        if work.group != group:
            group = work.group
            print(f"\n{group:<29} wall s (best to worst)   cpu s  peak MB    our wall x   our cpu x")
        spread = f"({min(one.wall for one in runs):.2f} to {max(one.wall for one in runs):.2f})"
        print(
            f"  {work.name:<27} {cost.wall:6.2f} {spread:<17} {cost.cpu:6.2f} {cost.peak_mb:8.0f}"
            f"  {cost.wall / first.wall:10.2f} {cost.cpu / first.cpu:10.2f}"
        )


if __name__ == "__main__":
    try:
        main()
    except AniccaError as error:
        sys.exit(str(error))
