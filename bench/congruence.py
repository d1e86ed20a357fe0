"""What convergent tools leave behind: real ansible-core, puppet, salt and pyinfra in Debian 13, measured by baselines.

    python -m bench.congruence [--output docs/congruence.md] [--cache DIR] [--only TOOL…] [--vm]

Each tool gets the same root, two versions of one configuration and the same mishaps, once as it is by default and once
with what it has for purging. All that the page says comes out of this run. Needs root, mmdebstrap, and the archives
that apt and pip are set up for; a tool that cannot be had is said to be skipped. bench/congruence_tools.py has what is
configured, bench/congruence_page.py how it is told.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from bench.congruence_host import run_host
from bench.congruence_page import Result, State, Step, render
from bench.congruence_tools import CONFIGURATION, TOOLS, Tool
from bench.debian_root import inside as run_inside
from bench.debian_root import install_wheel, make_once

from anicca import process
from anicca.drift.baseline import open_baseline
from anicca.drift.examine import compare_baselines, save_baseline
from anicca.errors import AniccaError
from anicca.fs import remove_tree

PACKAGES = (
    *("ansible-core", "python3-apt", "puppet-agent", "python3-venv", "python3-dev", "gcc", "libc6-dev"),
    *("cron", "ca-certificates", "e2fsprogs"),
)
WHEELS = ("salt", "pyinfra")
INSTALLED = ("hello", "sl")
"""What tools and people install; their archives lie ready, so that nothing is fetched while it is measured."""
PLANTED = ("/etc/app/first.conf", "hello", "/etc/cron.d/evil", "sl", "/etc/app/second.conf")
IGNORED = ("log", "cache", "temporary", "lock", "identity")
inside = partial(run_inside, check=False)
"""What a tool's run ends with is for the page to tell."""


def make_base(cache: Path) -> Path:
    """A Debian root with all the tools, made once; without those that cannot be had."""

    def fill(root: Path) -> None:
        inside(root, f"apt-get update && apt-get install -y --download-only {' '.join(INSTALLED)}")
        for wheel in WHEELS:
            done = install_wheel(root, wheel, check=False)
            if done.status != 0:
                print(f"{wheel}: {done.stderr.decode(errors='replace')[-400:]}", file=sys.stderr)
                remove_tree(root / "opt" / wheel)

    identity = hashlib.sha256(repr((PACKAGES, WHEELS, INSTALLED)).encode()).hexdigest()[:16]
    return make_once(cache / f"congruence-{identity}", PACKAGES, fill, variant="important")


def run_tool(tool: Tool, base: Path, work: Path) -> Result:
    """All steps with one tool."""
    version = inside(base, tool.version)
    if version.status != 0:
        return Result(tool=tool, version="", skipped=f"not to be had here ({tool.source})")
    number = re.search(r"[0-9]+(?:\.[0-9]+)+", version.text)
    result = Result(tool=tool, version=number[0] if number else version.text.strip())
    intended = fresh(base, work / "intended")
    step(result, intended, "intended", "v2", work)
    # What a host is that never was anything else.
    keep(intended, work / "0.zst")
    root = fresh(base, work / "root")
    step(result, root, "first", "v1", work)
    step(result, root, "removed", "v2", work)
    keep(root, work / "1.zst")
    mishaps(root)
    keep(root, work / "2.zst")
    step(result, root, "look", "v2", work, dry=True)
    step(result, root, "again", "v2", work)
    keep(root, work / "3.zst")
    before = set(names(root))
    step(result, root, "purge-look", "purge", work, dry=True)
    step(result, root, "purge", "purge", work)
    keep(root, work / "4.zst")
    result.gone = sorted(before - set(names(root)) - {"evil"})
    result.owners = {name: owner(root, f"/etc/cron.d/{name}") for name in result.gone}
    result.default = judge(work, 3)
    result.purged = judge(work, 4)
    if tool.packages:
        text = inside(root, tool.packages).text
        result.packages = text.count(tool.package_mark)
    remove_tree(intended)
    remove_tree(root)
    return result


def fresh(base: Path, root: Path) -> Path:
    """A copy of the base, with all configurations in it: they are the same at every time."""
    remove_tree(root)
    process.run(["cp", "-a", "--reflink=auto", base, root], timeout_seconds=600)
    for name, text in CONFIGURATION.items():
        file = root / f"srv/congruence/{name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def step(result: Result, root: Path, name: str, version: str, work: Path, *, dry: bool = False) -> None:
    """Apply a version of the configuration, or look what would be done, and note what there is afterwards."""
    tool = result.tool
    command = (tool.dry if dry else tool.apply).format(version=version)
    done = inside(root, command)
    said = done.text + done.stderr.decode(errors="replace")
    (work / f"{tool.name}-{name}.log").write_text(said)
    result.steps[name] = Step(
        status=done.status,
        there={what: is_there(root, what) for what in PLANTED},
        reported={what: speaks_of(said, what.rpartition("/")[2]) for what in PLANTED},
    )
    if name in ("intended", "first") and not result.steps[name].there["/etc/app/second.conf"]:
        raise AniccaError(f"{tool.name}: {name}: applied nothing", detail=said[-2000:])


def speaks_of(said: str, name: str) -> bool:
    """Whether a text has a name as a word of its own: `sl` is in much else."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", said) is not None


def mishaps(root: Path) -> None:
    """What a person does at night."""
    (root / "etc/cron.d/evil").write_text("* * * * * root /bin/true\n")
    (root / "etc/app/second.conf").write_text("edited by hand\n")
    (root / "etc/app/second.conf").chmod(0o666)
    inside(root, "apt-get install -y sl")


def is_there(root: Path, what: str) -> str:
    """`there`, `gone`, or `edited` for the file that a person edits."""
    if not what.startswith("/"):
        found = inside(root, f"dpkg-query -W -f '${{db:Status-Status}}' {what}").text
        return "there" if found == "installed" else "gone"
    file = Path(f"{root}{what}")
    if not file.exists():
        return "gone"
    return "edited" if file.read_text() == "edited by hand\n" or file.stat().st_mode & 0o777 == 0o666 else "there"


def names(root: Path) -> list[str]:
    return [one.name for one in (root / "etc/cron.d").iterdir()]


def owner(root: Path, path: str) -> str:
    """The package that has a path, by its own records."""
    return inside(root, f"dpkg -S {path} 2> /dev/null").text.partition(":")[0]


def keep(root: Path, file: Path) -> None:
    save_baseline(root, file, cross_mounts=False)


def judge(work: Path, last: int) -> tuple[dict[str, Any], list[str]]:
    """What `anicca classify` says of the observations up to the last, and the paths that differ then."""
    files = [work / f"{number}.zst" for number in range(last + 1)]
    ignored = [word for name in IGNORED for word in ("--ignore", name)]
    classify = [sys.executable, "-m", "anicca", "--json", "classify", "--disturbed"]
    argv: list[str | Path] = [*classify, *ignored, *files]
    verdict = json.loads(process.run(argv).stdout)
    findings = compare_baselines(open_baseline(files[0]), open_baseline(files[-1]))
    paths = {os.fsdecode(one.drift.path) for one in findings.drift if one.judgement.name not in IGNORED}
    return verdict, sorted(paths)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path)
    options.add_argument("--cache", type=Path, default=Path.home() / ".cache/anicca-tests")
    options.add_argument("--only", nargs="+", choices=[tool.name for tool in TOOLS])
    options.add_argument("--vm", action="store_true", help="also an anicca host, in a virtual machine")
    options.add_argument("--no-tools", action="store_true", help="with --state: the others were measured before")
    options.add_argument("--state", type=Path, help="keep what was measured there; what it has already is told too")
    options.add_argument("--logs", type=Path, help="keep what the tools said there")
    chosen = options.parse_args()
    state = State.read(chosen.state)
    if not chosen.no_tools:
        base = make_base(chosen.cache)
        for tool in TOOLS:
            if chosen.only and tool.name not in chosen.only:
                continue
            print(f"{tool.name} …", file=sys.stderr)
            state.results[tool.name] = measured(tool, base, chosen.cache, chosen.logs)
            state.write(chosen.state)
    if chosen.vm:
        print("anicca …", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=chosen.cache) as directory:
            state.ours = run_host(chosen.cache, Path(directory))
        state.write(chosen.state)
    text = render([state.results[tool.name] for tool in TOOLS if tool.name in state.results], state.ours)
    if chosen.output is None:
        print(text)
    else:
        chosen.output.write_text(text)


def measured(tool: Tool, base: Path, cache: Path, logs: Path | None) -> Result:
    """What was found with a tool; what it said is kept where that is asked for."""
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        work = Path(directory)
        try:
            return run_tool(tool, base, work)
        finally:
            if logs is not None:
                logs.mkdir(parents=True, exist_ok=True)
                for log in work.glob("*.log"):
                    shutil.copy(log, logs)


if __name__ == "__main__":
    try:
        main()
    except AniccaError as error:
        sys.exit(f"{error}\n{error.detail or ''}")
