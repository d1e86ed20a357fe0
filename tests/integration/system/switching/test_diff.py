"""Two real systems compared; Debian's order of versions beside dpkg's own."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest
from tests.integration.system.switching.small import SmallHost, SystemText

from anicca import process
from anicca.cli import app
from anicca.errors import AniccaError
from anicca.system.diff import SystemDiff, compare
from anicca.system.erofs import read_image
from anicca.system.treeview import TreeView, belongings, changed_in_etc, changed_in_usr
from anicca.system.unitfiles import read_units
from anicca.system.versions import version_key

pytestmark = pytest.mark.integration

UNIT = "/usr/lib/systemd/system"
OLD = SystemText(
    etc={"/motd": "a\nb\n", "/shadow": "root:x\n", "/gone": "x\n", "/link": "-> /old"},
    packages={
        "stays": ("1", {"/usr/bin/stays": "s", f"{UNIT}/s.service": "[Service]\nExecStart=/usr/bin/stays\n"}),
        "goes": ("1", {"/usr/bin/goes": "g"}),
        "up": ("1.0~rc1-1", {"/usr/bin/up": "1"}),
        "down": ("2:1-1", {"/usr/bin/down": "1"}),
    },
    persist="d 0755 0 0 /var/lib/a\nd 0755 0 0 /var/lib/b\n",
    users=("ann",),
)
NEW = SystemText(
    etc={"/motd": "a\nc\n", "/shadow": "root:y\n", "/link": "-> /new", "/systemd/system/s.service": "-> /dev/null"},
    packages={
        "stays": OLD.packages["stays"],
        "comes": ("1", {"/usr/bin/comes": "c" * 5000}),
        "up": ("1.0-1", {"/usr/bin/up": "2"}),
        "down": ("9-1", {"/usr/bin/down": "1"}),
    },
    persist="d 0700 0 0 /var/lib/a\nd 0755 0 0 /var/lib/c\n",
    users=("bob",),
    parameters="rw anicca.nix=PARTUUID=1 quiet",
    initrd="initrd 2",
)


def difference(host: SmallHost, old: SystemText = OLD, new: SystemText = NEW) -> SystemDiff:
    one, other = (host.places.system(host.workshop.system(text)) for text in (old, new))
    return compare(one, other, size_of=len)


def test_packages(host: SmallHost) -> None:
    assert [(p.name, p.move, p.before, p.after) for p in difference(host).packages] == [
        ("comes", "added", None, "1"),
        ("down", "down", "2:1-1", "9-1"),
        ("goes", "removed", "1", None),
        ("up", "up", "1.0~rc1-1", "1.0-1"),
    ]


def test_etc_is_readable_and_tells_no_secrets(host: SmallHost) -> None:
    etc = {change.path: change for change in difference(host).etc}
    assert etc["/etc/motd"].lines[3:] == (" a", "-b", "+c")
    assert (etc["/etc/shadow"].what, etc["/etc/shadow"].lines) == ("content changed", ())
    assert etc["/etc/gone"].what == "file removed"
    assert etc["/etc/link"].what == "leads to /new, before to /old"


def test_the_rest(host: SmallHost) -> None:
    found = difference(host)
    assert [(c.path, c.what) for c in found.units] == [("s.service", "masked")]
    assert [(c.path, c.what) for c in found.users] == [("ann", "removed"), ("bob", "added")]
    assert [(c.path, c.what) for c in found.persist] == [
        ("/var/lib/a", "d 0755 0:0 became d 0700 0:0"),
        ("/var/lib/b", "removed"),
        ("/var/lib/c", "added"),
    ]
    assert [(c.path, c.what) for c in found.boot] == [("initrd", "content changed"), ("command line", "with quiet")]


def test_equal_systems_do_not_differ(host: SmallHost) -> None:
    assert not difference(host, OLD, OLD)


def test_the_command_line(host: SmallHost, capsys: pytest.CaptureFixture[str]) -> None:
    for text in (OLD, NEW):
        host.add(text)
    host.places.store.close()
    common = ["--store", str(host.places.store.root)]
    places = ["--boot", str(host.places.boot), "--run", str(host.places.run)]
    places += ["--command-line", str(host.places.command_line)]
    app.app.main([*common, "diff", "2", "3", *places], standalone_mode=False)
    out = capsys.readouterr().out
    assert "↑ up 1.0~rc1-1 → 1.0-1" in out
    assert "\n    -b\n    +c\n" in out
    app.app.main([*common, "--json", "diff", "running", "next", *places], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["users"] == [{"lines": [], "path": "bob", "what": "added"}]


def test_what_changed_is_told_by_content(host: SmallHost) -> None:
    rebuilt = SystemText(packages={**OLD.packages, "up": ("2", {"/usr/bin/up": "1", "/usr/share/doc": "new"})})
    one, other = (host.places.system(host.workshop.system(text)) for text in (OLD, rebuilt))
    assert changed_in_usr(one, other) == {"/usr/share/doc"}
    assert changed_in_usr(one, one) == frozenset()
    assert changed_in_etc(one, one) == frozenset()


def test_units_and_links_through_a_real_system(host: SmallHost) -> None:
    text = SystemText(
        etc={"/alternatives/tool": "-> /usr/bin/stays", "/conf/a": "x"},
        packages={
            **OLD.packages,
            "p": ("1", {"/usr/bin/script": "#!/bin/tool\n", "/usr/bin/tool": "-> /etc/alternatives/tool"}),
        },
    )
    view = TreeView(host.places.system(host.workshop.system(text)))
    assert view.loads("/usr/bin/script") == {
        "/usr/bin/script",
        "/usr/bin/tool",
        "/etc/alternatives/tool",
        "/usr/bin/stays",
    }
    assert view.loads("/nonexistent") == {"/nonexistent"}
    units = read_units(view)
    unit = units.get("s.service")
    assert unit is not None
    assert unit.value("ExecStart") == "/usr/bin/stays"
    assert belongings(view, units) == {"s.service": frozenset()}


def test_a_programs_libraries_are_those_that_the_loader_finds() -> None:
    """Beside ldd, on this machine's own programs."""

    class View(TreeView):
        def exists(self, path: str) -> bool:
            return Path(path).exists()

        def link(self, path: str) -> str | None:
            return str(Path(path).readlink()) if Path(path).is_symlink() else None

        def content(self, path: str) -> bytes | None:
            return Path(path).read_bytes() if Path(path).is_file() else None

    view = View(None)  # type: ignore[arg-type]
    for program in ("/usr/bin/bash", "/usr/bin/ssh", "/usr/bin/python3", "/usr/bin/apt-get"):
        if not Path(program).exists():
            continue
        listed = process.run(["ldd", program]).text
        needed = {str(Path(word).resolve()) for word in listed.split() if word.startswith("/")}
        assert needed <= {str(Path(path).resolve()) for path in view.loads(program)}


VERSIONS = ["1", "1.0-1", "1.0~rc1-1", "1.0+b1", "2:0.1", "1.0a", "1.10", "1.9", "1.0-1+deb13u1", "1~~", "1-0", "0:1"]


def test_the_order_of_versions_is_dpkgs() -> None:
    for one, other in itertools.combinations(VERSIONS, 2):
        less = process.run(["dpkg", "--compare-versions", one, "lt", other], check=False).status == 0
        equal = process.run(["dpkg", "--compare-versions", one, "eq", other], check=False).status == 0
        keys = version_key(one), version_key(other)
        assert (keys[0] < keys[1], keys[0] == keys[1]) == (less, equal), (one, other)


def test_an_image_of_many_and_large_files(host: SmallHost, tmp_path: Path) -> None:
    """Directories of several blocks, files of whole blocks, empty ones, long names."""
    files = {f"/d/{'n' * 100}{number}": str(number) for number in range(300)}
    files |= {"/large": "x" * 10_000, "/block": "y" * 4096, "/empty": "", "/d/e/f": "z"}
    image = tmp_path / "image"
    host.workshop.image(image, files)
    found = {entry.path: entry for entry in read_image(image.read_bytes())}
    assert {path: found[path].content.decode() for path in files} == files
    assert found["/d"].kind == "directory"


def test_a_damaged_image_is_refused_or_read_and_never_a_bug(host: SmallHost, tmp_path: Path) -> None:
    image = tmp_path / "image"
    host.workshop.image(image, {"/a/b/c": "x" * 5000, "/a/d": "y", "/e": "-> a/d", "/f/g": "/"})
    whole = image.read_bytes()
    chance = random.Random(5)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4, 40))):
            damaged[chance.randrange(1024, len(damaged))] = chance.randrange(256)
        if chance.random() < 0.2:
            del damaged[chance.randrange(len(damaged)) :]
        try:
            list(read_image(bytes(damaged)))
        except AniccaError:
            refused += 1
    assert refused > 100
