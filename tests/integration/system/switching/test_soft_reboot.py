"""What a soft reboot would do, and on what; that it does so is seen in a machine (tests/vm/system)."""

from __future__ import annotations

import pytest
from tests.integration.system.switching.small import SmallHost, SystemText

from anicca.errors import AniccaError, RefusedError
from anicca.system.softreboot import plan_soft_reboot
from anicca.system.switching.softreboot import RootMount, read_root

pytestmark = pytest.mark.integration

PLAIN = "22 1 254:3 / / rw,lazytime - f2fs /dev/vda3 rw,checkpoint=disable\n"
AGAIN = "22 1 254:3 /.anicca-root-1 / rw,lazytime - f2fs /dev/vda3 rw,checkpoint=disable\n"


def test_the_plan_says_what_stays_as_it_was(host: SmallHost) -> None:
    booted = host.places.system(host.workshop.system(SystemText()))
    new = host.places.system(
        host.workshop.system(
            SystemText(persist="d 0755 0 0 /var/lib/notes\n", parameters="rw anicca.nix=PARTUUID=1 quiet")
        )
    )
    assert list(plan_soft_reboot(booted, new).sentences()) == [
        f"lay out {new.path} on a fresh root",
        "persist /var/lib/notes",
        "end all programs and start anew on that root; the kernel stays",
        "remove what was on the old root",
        "waits for a reboot: command line: with quiet",
    ]


@pytest.mark.parametrize("mountinfo", [PLAIN, AGAIN, "1 0 0:2 / / rw - rootfs rootfs rw\n" + PLAIN])
def test_the_filesystem_is_found_whichever_directory_of_it_is_the_root(mountinfo: str) -> None:
    assert read_root(mountinfo, 7) == RootMount(
        kind="f2fs", source="/dev/vda3", options="rw,checkpoint=disable", device=7
    )


def test_other_roots() -> None:
    found = read_root("22 1 0:30 / / rw - tmpfs anicca-root rw,size=1g,mode=755\n", 7)
    assert found.is_memory
    found = read_root("22 1 0:30 /root / rw - btrfs /dev/vda3 rw,subvolid=256,subvol=/root\n", 7)
    assert (found.options, found.is_memory) == ("rw,subvolid=256", False)
    for kind, source in (("zfs", "pool/root"), ("overlay", "anicca-root")):
        with pytest.raises(RefusedError, match=f"no soft reboot with a root on {kind} yet"):
            read_root(f"22 1 0:30 / / rw - {kind} {source} rw\n", 7)
    with pytest.raises(AniccaError, match="nothing is mounted"):
        read_root("22 1 0:30 / /usr rw - tmpfs t rw\n", 7)
