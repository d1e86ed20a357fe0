"""Make the initrd: the tree's own dracut, in a chroot of the tree, with our module and nothing of this machine.

Environment: `out`, `tree`, `idsPath`, `module` (the folder of our dracut module), `dracutPath`
(JSON: its arguments, its environment), `modules` (kernel modules and programs that the tree has not; may be missing),
`SOURCE_DATE_EPOCH`, `NIX_BUILD_TOP`. `out` gets `initrd` and `version`, the kernel's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import manifest
from manifest import Ids

LEFT_OUT = (
    "/usr/share/doc",
    "/usr/share/man",
    "/usr/share/info",
    "/usr/share/locale",
    "/usr/share/zoneinfo",
    "/usr/include",
)
"""Nothing of these goes into an initrd; copying them would only take time."""
KEPT = ("/usr", "/etc", "/bin", "/lib", "/lib64", "/sbin", "/var", "/tmp")  # noqa: S108
KERNEL_VERSION = "@KERNEL@"
MOUNTS = (("proc", "/proc"), ("dev", "/dev"))


def main() -> None:
    """Lay the tree out, run dracut in it, keep what it made."""
    os.umask(0o022)
    out, top = Path(os.environ["out"]), Path(os.environ["NIX_BUILD_TOP"])
    tree = Path(os.environ["tree"])
    kernels = json.loads((tree / "facts.json").read_bytes())["kernels"]
    if len(kernels) != 1:
        sys.exit(f"the tree has {len(kernels)} kernels ({', '.join(kernels) or 'none'}); an initrd is made for one")
    root = top / "root"
    root.mkdir()
    entries = (
        entry
        for entry in manifest.read(tree / "manifest.jsonl")
        if manifest.is_below(entry.path, *KEPT) and not manifest.is_below(entry.path, *LEFT_OUT)
    )
    manifest.copy_out(entries, str(root), Ids.read(Path(os.environ["idsPath"])))
    shutil.copytree(os.environ["module"], root / "usr/lib/dracut/modules.d/90anicca", copy_function=copy_module_file)
    dracut = json.loads(Path(os.environ["dracutPath"]).read_bytes())
    if "modules" in os.environ:
        lay_over(Path(os.environ["modules"]), root)
        subprocess.run(["chroot", root, "depmod", kernels[0]], check=True, env=dracut["environment"])
    for name, target in MOUNTS:
        (root / name).mkdir(exist_ok=True)
        subprocess.run(["mount", "--rbind", target, root / name], check=True)
    arguments = [kernels[0] if argument == KERNEL_VERSION else argument for argument in dracut["arguments"]]
    subprocess.run(
        ["chroot", root, *arguments],
        check=True,
        env={**dracut["environment"], "SOURCE_DATE_EPOCH": os.environ["SOURCE_DATE_EPOCH"]},
    )
    out.mkdir()
    shutil.copyfile(root / "initrd", out / "initrd")
    (out / "version").write_text(kernels[0] + "\n")


def lay_over(source: Path, root: Path) -> None:
    """Copy what the tree has not: libraries that it has are its own."""
    for path in sorted(source.rglob("*")):
        target = root / path.relative_to(source)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        elif not target.exists():
            shutil.copy(path, target)


def copy_module_file(source: str, target: str) -> None:
    """Copy a file of our module; dracut runs and installs scripts by their executable bit, which the store keeps."""
    shutil.copyfile(source, target)
    shutil.copymode(source, target)
    os.chmod(target, os.stat(target).st_mode | 0o200)  # noqa: PTH101, PTH116


if __name__ == "__main__":
    main()
