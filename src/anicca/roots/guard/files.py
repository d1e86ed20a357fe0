"""Where the dracut module is, and the dracut command that makes an initrd of it and of nothing else."""

from __future__ import annotations

from pathlib import Path

MODULE = "anicca"
"""The dracut module's name; what it depends on follows from it."""

MODULE_DIRECTORY = Path(__file__).parent / "90anicca"
"""To be copied, under this name, into a tree's `/usr/lib/dracut/modules.d`. The scripts in it are executable."""

TREE_PACKAGES = (
    "busybox-static",
    "dracut-core",
    "e2fsprogs",
    "f2fs-tools",
    "kmod",
    "systemd",
    "tar",
    "udev",
    "xz-utils",
    "zstd",
)
"""The Debian packages a tree must have for its initrd to be made in it."""

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin",
    "LC_ALL": "C",
    "DRACUT_NO_MKNOD": "1",
}
"""dracut's whole environment, besides SOURCE_DATE_EPOCH. No device nodes: the kernel brings its own."""


def dracut_arguments(kernel_version: str, output: str, *, scratch: str = "/var/tmp") -> tuple[str, ...]:  # noqa: S108
    """The command that writes the initrd for a kernel of the tree it is run in (a chroot).

    `output` and `scratch` (a directory to work in) are paths inside the tree. The result depends on the tree and the
    module alone: nothing of the machine, no configuration of the tree's, one compressing thread.
    """
    return (
        "dracut",
        "--force",
        *("--conf", "/dev/null"),
        *("--confdir", scratch),
        *("--tmpdir", scratch),
        *("--kver", kernel_version),
        "--no-hostonly",
        "--no-hostonly-cmdline",
        "--no-early-microcode",
        "--reproducible",
        "--nostrip",
        "--nofscks",
        *("--modules", MODULE),
        *("--compress", "zstd -15 -q -T1"),
        output,
    )
