"""The initrd's shell, function by function, in the shell that runs it there."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from anicca import process
from anicca.disks.image import NEW_VOLUME
from anicca.roots.guard.files import MODULE_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

SCRIPTS = sorted(MODULE_DIRECTORY.glob("*.sh"))
ODD = (
    "",
    'say "no"',
    "back\\slash \\n",
    "two\nlines\tand a tab",
    "\x01\x1b[31mred",
    "na\u00efve \U0001f600",
    "$HOME `id` %s %d",
    "x" * 1000,
    "*",
    "'",
)


def shell(code: str, *arguments: str, common: dict[str, str] | None = None) -> str:
    """What a piece of shell prints after common.sh was sourced."""
    return process.run(
        ["busybox", "sh", "-c", f". {MODULE_DIRECTORY}/common.sh\n{code}", "sh", *arguments],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ANICCA_KMSG": "/dev/null", **(common or {})},
        timeout_seconds=60,
    ).text


def function(script: str, name: str) -> str:
    """The text of one function of a script that does its work when it is sourced."""
    found = re.search(rf"^{name}\(\) \{{\n.*?^\}}$", (MODULE_DIRECTORY / script).read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    process.run(["shellcheck", "--external-sources", f"--source-path={MODULE_DIRECTORY}", script])


def test_every_program_that_a_script_starts_is_in_the_initrd() -> None:
    setup = (MODULE_DIRECTORY / "module-setup.sh").read_text()
    installed = set(re.findall(r"[\w.]+", setup[setup.index("install() {") :]))
    builtin = {
        *("break", "case", "clear", "continue", "do", "done", "echo", "elif", "else", "esac", "exec", "exit", "export"),
        *(
            "fi",
            "for",
            "if",
            "in",
            "kill",
            "local",
            "printf",
            "read",
            "return",
            "set",
            "shift",
            "then",
            "trap",
            "true",
            "umask",
        ),
        *("until", "wait", "while"),
        "systemctl",  # dracut's own module brings it
    }
    busybox = {"cmp", "date", "getfattr", "hexdump", "ls", "mkfifo"}
    scripts = [path for path in SCRIPTS if path.name != "module-setup.sh"]
    functions = {name for path in scripts for name in re.findall(r"^(\w+)\(\) \{", path.read_text(), re.MULTILINE)}
    missing = set()
    for path in scripts:
        code = re.sub(r"^\s*#.*$|\s# .*$", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
        code = re.sub(r"^\s*[^()\n]+\)(?=\s)", "", code, flags=re.MULTILINE)  # patterns of `case`
        starts = r"(?:^\s*|\$\(|&& |\|\| |\| |! |if |then |while |do |; |\{ )"
        for word in re.findall(rf"{starts}([a-z][a-z0-9_.]*)(?=[ \n)])", code, re.MULTILINE):
            inside = path.name == "guard.sh" or path.name.startswith("backend_")
            if word not in builtin | functions | installed | (busybox if inside else set()):
                missing.add((path.name, word))
    assert missing == set()


def test_the_last_word_on_the_command_line_wins(tmp_path: Path) -> None:
    line = tmp_path / "cmdline"
    line.write_text("quiet anicca.root=PARTUUID=1 * anicca.rootopts=a=b,c ro anicca.root=PARTUUID=2 anicca.digest\n")
    code = 'for name in "$@"; do parameter $name && echo "$name [$value]" || echo "$name none"; done'
    told = shell(
        code,
        *("anicca.root", "anicca.rootopts", "anicca.digest", "anicca", "ro", "anicca.mkfs"),
        common={"ANICCA_CMDLINE": str(line)},
    )
    assert told.splitlines() == [
        "anicca.root [PARTUUID=2]",
        "anicca.rootopts [a=b,c]",
        "anicca.digest []",
        "anicca none",
        "ro []",
        "anicca.mkfs none",
    ]


def test_whatever_a_program_says_becomes_json() -> None:
    told = shell('for text in "$@"; do one_line "$text"; quoted "$value"; printf "%s\\n" "$value"; done', *ODD)
    values = [json.loads(line) for line in told.splitlines()]
    assert len(values) == len(ODD)
    assert values[1:3] == ['say "no"', "back\\slash \\n"]
    assert values[3] == "two lines and a tab"
    assert values[6] == "$HOME `id` %s %d"
    assert values[7] == "x" * 300
    assert all(value.isprintable() and value.isascii() for value in values)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("PARTUUID=0ABC-12", "/dev/disk/by-partuuid/0abc-12"),
        ("PARTUUID=0abc-12", "/dev/disk/by-partuuid/0abc-12"),
        ("UUID=ABCD-12", "/dev/disk/by-uuid/ABCD-12"),
        ("/dev/vg/root", "/dev/vg/root"),
        ("LABEL=x", "1"),
        ("PARTUUID=", "1"),
        ("", "1"),
    ],
)
def test_devices_by_name(spec: str, path: str) -> None:
    assert shell('device_of "$1" && echo "$value" || echo 1', spec).strip() == path


@pytest.mark.parametrize(("seconds", "status"), [("sleep 2.5", 124), ("true", 0), ("return 3", 3), ("exit 4", 4)])
def test_a_wait_is_bounded(seconds: str, status: int, tmp_path: Path) -> None:
    code = f"""mkfifo {tmp_path}/answers
exec 9<> {tmp_path}/answers
bounded_number=0
work() {{ {seconds} > /dev/null 2>&1; }}
bounded 1 work
echo $?
sleep 2
bounded 5 true
echo $?
"""
    assert shell(function("guard.sh", "bounded") + "\n" + code).split() == [str(status), "0"]


@pytest.mark.parametrize(
    ("uptime", "now", "text"), [("0.08", 8, "0.08"), ("12.34", 1234, "12.34"), ("100.09", 10009, "100.09")]
)
def test_time_without_octal_surprises(tmp_path: Path, uptime: str, now: int, text: str) -> None:
    (tmp_path / "uptime").write_text(f"{uptime} 3.00\n")
    code = 'clock; echo "$now"; as_seconds "$now"; echo "$value"'
    assert shell(code, common={"ANICCA_UPTIME": str(tmp_path / "uptime")}).split() == [str(now), text]


def test_the_filesystem_mounted_last_counts(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "20 1 0:5 / /sysroot rw,relatime shared:1 master:2 - f2fs /dev/vda2 rw,lazytime,checkpoint=disable:0\n"
        "21 20 0:6 / /sysroot/nix rw - ext4 /dev/vda1 rw\n"
        "22 20 0:7 / /sysroot rw - tmpfs anicca-root rw,size=50%\n"
    )
    code = 'for at in /sysroot /sysroot/nix /other; do mounted $at && echo "$value" || echo none; done'
    assert shell(code, common={"ANICCA_MOUNTINFO": str(table)}).splitlines() == [
        "tmpfs rw,rw,size=50%",
        "ext4 rw,rw",
        "none",
    ]


@pytest.mark.parametrize(
    ("declared", "mounted"),
    [
        ("", "checkpoint=disable"),
        ("checkpoint=disable,compress_algorithm=zstd", "checkpoint=disable,compress_algorithm=zstd"),
        ("lazytime,checkpoint=enable,ro,acl", "checkpoint=disable,lazytime,acl"),
    ],
)
def test_f2fs_is_never_mounted_with_checkpoints(declared: str, mounted: str) -> None:
    code = f'. {MODULE_DIRECTORY}/backend_f2fs.sh\nbackend_options "$1"; echo "$options"'
    assert shell(code, declared).strip() == mounted


@pytest.mark.parametrize(
    ("seen", "kept"),
    [
        ("f2fs rw,relatime,rw,lazytime,checkpoint=disable:0,fsync_mode=posix", True),
        ("f2fs rw,rw,checkpoint=disable", True),
        ("f2fs rw,relatime,rw,lazytime,checkpoint=enable", False),
        ("f2fs rw,relatime,rw,checkpoint_merge", False),
        ("f2fs ro,relatime,ro,checkpoint=disable:0", False),
        ("ext4 rw,rw,checkpoint=disable:0", False),
        ("nothing", False),
    ],
)
def test_the_option_must_be_in_force(seen: str, kept: bool) -> None:
    code = f'. {MODULE_DIRECTORY}/backend_f2fs.sh\nbackend_in_force "$1" && echo yes || echo no'
    assert shell(code, seen).strip() == ("yes" if kept else "no")


@pytest.mark.parametrize(("status", "sound"), [("0", True), ("8101", True), ("4", False), ("810d", False)])
def test_what_the_kernel_has_found_damaged_is_not_used(status: str, sound: bool, tmp_path: Path) -> None:
    (tmp_path / "vda2/stat").mkdir(parents=True)
    (tmp_path / "vda2/stat/sb_status").write_text(f"{status}\n")
    backend = f'because() {{ echo "$1"; }}\n. {MODULE_DIRECTORY}/backend_f2fs.sh\n'
    said = shell(f"{backend}backend_sound /dev/vda2 && echo sound || :", common={"ANICCA_F2FS": str(tmp_path)})
    assert said.strip() == ("sound" if sound else "the kernel has found damage in it")


def test_the_backends_have_the_same_functions_in_the_same_order() -> None:
    orders = {
        path.name: re.findall(r"^(backend_\w+)\(\)", path.read_text(), re.MULTILINE)
        for path in MODULE_DIRECTORY.glob("backend_*.sh")
    }
    assert len({tuple(order) for order in orders.values()}) == 1, orders


def test_a_new_volume_is_known_by_the_line_that_the_image_gives_it() -> None:
    assert f'\nnew="{NEW_VOLUME}"\n' in (MODULE_DIRECTORY / "guard.sh").read_text()


@pytest.mark.parametrize(
    ("path", "word"),
    [("/var/lib/x", "/var/lib/x"), ("/a b\tc\\d", "/a\\040b\\011c\\134d"), ("/\u00e9t\u00e9", "/\u00e9t\u00e9")],
)
def test_paths_in_a_table_of_mounts(path: str, word: str) -> None:
    assert shell(function("layout.sh", "in_table") + '\nin_table "$1"; printf "%s\\n" "$value"', path).strip() == word


def test_a_symbolic_link_on_the_way_is_seen(tmp_path: Path) -> None:
    (tmp_path / "home/anna").mkdir(parents=True)
    (tmp_path / "home/anna/.ssh").symlink_to("/etc")
    code = f'kept={tmp_path}\n{function("layout.sh", "plain")}\nplain "$1" && echo plain || echo link'
    assert [shell(code, path).strip() for path in ("/home/anna", "/home/anna/.ssh", "/home/anna/.ssh/x", "/none")] == [
        *("plain", "link", "link", "plain")
    ]


@pytest.mark.parametrize(
    ("name", "made", "ours"),
    [
        ("anicca-root", None, True),
        ("anicca-root", ["mkfs.ext4", "-q", "-L", "data"], True),
        ("home", None, False),
        ("", None, True),
        ("", ["mkfs.ext4", "-q"], False),
        ("", ["mkfs.ext4", "-q", "-L", "data"], False),
        ("", ["mkfs.ext4", "-q", "-L", "anicca-root"], True),
        ("", ["mkfs.f2fs", "-q"], True),
        ("", ["mkfs.f2fs", "-q", "-l", "other"], False),
    ],
)
def test_only_a_volume_of_ours_may_be_made_afresh(
    name: str, made: list[str] | None, ours: bool, tmp_path: Path
) -> None:
    device = tmp_path / "volume"
    with device.open("wb") as file:
        file.truncate(64 << 20)
    if made is not None:
        process.run([*made, device], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    facts = tmp_path / "sys" / "volume"
    facts.mkdir(parents=True)
    (facts / "uevent").write_text(f"DEVTYPE=partition\nPARTNAME={name}\n" if name else "DEVTYPE=disk\n")
    code = f'kind=f2fs device={device}\nbecause() {{ echo "$1"; }}\n{function("guard.sh", "is_ours")}\n'
    said = shell(code + "if is_ours; then echo OURS; fi", common={"ANICCA_SYSFS": str(tmp_path / "sys")})
    assert said.endswith("OURS\n") is ours
    assert ours or "not touched" in said


def test_the_checkpoint_is_recorded_and_a_change_of_it_is_noticed(tmp_path: Path) -> None:
    """On the bytes alone: packs as two mounts in a row would have written them, then changed here and there."""
    volume = tmp_path / "volume"
    with volume.open("wb") as file:
        file.truncate(64 << 20)
    process.run(["mkfs.f2fs", "-q", "-f", volume], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def read(at: int, size: int) -> bytes:
        with volume.open("rb") as file:
            file.seek(at)
            return file.read(size)

    def write(at: int, content: bytes) -> None:
        with volume.open("r+b") as file:
            file.seek(at)
            file.write(content)

    def look() -> str:
        backend = f'because() {{ echo "$1"; }}\n. {MODULE_DIRECTORY}/backend_f2fs.sh\n'
        code = f"{backend}if backend_after {volume}; then echo same; fi"
        return shell(code, common={"ANICCA_RUN": str(tmp_path)}).strip()

    first = int.from_bytes(read(1100, 4), "little") * 4096
    size = int.from_bytes(read(first + 136, 4), "little") * 4096
    # Two packs that differ are those of a filesystem just made: nothing is recorded yet.
    assert (look(), read(0, 8)) == ("same", bytes(8))
    write(first + (512 << 12), read(first, size))
    assert look() == "same"
    assert read(0, 1024).startswith(b"anicca: checkpoint ")
    assert read(8192, size) == read(first, size)
    for at in (0, 168, 4092):
        for block in (0, size - 4096):
            write(first + block + at, b"\x17")
    assert look() == "same"
    write(first + 200, b"\x17")
    assert look().startswith("checkpoints were made on it since")
    # Said once, then recorded anew when both packs are the same again.
    assert look() == "same"
    write(first + (512 << 12), read(first, size))
    assert look() == "same"
    assert read(8192, size) == read(first, size)
    write(first + size - 4096 - 1, b"\x17")
    assert look().startswith("checkpoints were made on it since")
