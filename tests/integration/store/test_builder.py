"""What a builder sees, what may become of it, and what is said when it fails."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anicca import events, process
from anicca.errors import AniccaError
from anicca.store import Instantiated, LocalStore, instantiate
from anicca.store.build import build, load
from anicca.store.hashes import hash_bytes
from anicca.store.logs import read_log
from anicca.store.running import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.integration.store.conftest import Nix

    from anicca.store import BuildContext

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap"),
    pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox-static"),
]


def shell(script: str, name: str = "x", env: Mapping[str, str] | None = None, **more: object) -> Instantiated:
    return instantiate(
        name=name,
        system="x86_64-linux",
        builder="/bin/sh",
        args=["-c", script],
        env=env,
        **more,  # type: ignore[arg-type]
    )


def output(store: LocalStore, item: Instantiated) -> str:
    build(store, [item])
    return store.physical(item.out).read_text()


LOOK = """
exec > $out
id -u; id -g; echo $$; pwd; hostname
busybox env | busybox sort
ls /; ls /dev; ls /etc
busybox cat /etc/passwd /etc/group
busybox cut -d: -f1 /proc/net/dev
busybox sed -n 's/^\\(NoNewPrivs\\|Seccomp\\|Umask\\|CapEff\\):/\\1/p' /proc/self/status
busybox cat /proc/self/uid_map
"""


def test_what_we_take_from_modes_is_not_the_builders(root: Path) -> None:
    before = os.umask(0o077)
    try:
        with LocalStore.open(root, durable=False) as store:
            assert output(store, shell("umask > $out")) == "0022\n"
    finally:
        os.umask(before)
    # Nor what others may read of a store.
    for name in ("store", "var/nix/db", "var/nix/db/db.sqlite", "var/nix/profiles", "var/log/nix/drvs"):
        assert (root / "nix" / name).stat().st_mode & 0o044 == 0o044, name


def test_the_sandbox_is_as_real_nix_makes_it(store: LocalStore, nix: Nix, tmp_path: Path) -> None:
    script = LOOK.replace("; ls /;", ";")
    item = shell(script)
    ours = output(store, item)
    expression = tmp_path / "t.nix"
    args = json.dumps(["-c", script]).replace("\\u003e", ">").replace('",', '" ').replace("${", "\\${")
    expression.write_text(f'derivation {{ name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; args = {args}; }}')
    there = nix.at(tmp_path / "there")
    path = there("nix-build", "--no-out-link", expression).strip()
    assert path == str(item.out)
    theirs = (tmp_path / "there" / path.lstrip("/")).read_text()
    # Our bounding set of capabilities is empty, so it is not compared.
    # bubblewrap's /dev lacks kvm and has a link to the kernel's memory, which nobody there may read.
    assert [line for line in ours.splitlines() if line != "core"] == [
        line for line in theirs.splitlines() if line != "kvm"
    ]


def test_inputs_can_be_read_and_nothing_else_of_the_store(store: LocalStore) -> None:
    seen, unseen = store.add_text("seen", "seen"), store.add_text("unseen", "unseen")
    item = shell(f"ls /nix/store > list; cat list {seen} > $out; echo >> {seen} || true", sources=[seen])
    assert output(store, item).splitlines() == [seen.basename, "seen"]
    assert store.is_valid(unseen)
    assert store.verify(check_contents=True) == []


def test_several_outputs_placeholders_and_files(store: LocalStore) -> None:
    item = shell(
        'busybox cat $longPath > $out; echo "$self" > $dev',
        env={
            "passAsFile": "long",
            "long": "x" * 300_000,
            "self": "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9",
        },
        outputs=("out", "dev"),
    )
    build(store, [item])
    assert store.physical(item.out).stat().st_size == 300_000
    assert store.physical(item.outputs["dev"]).read_text() == f"{item.out}\n"
    assert store.info(item.outputs["dev"]).references == {item.out}


def test_structured_attributes_as_real_nix(store: LocalStore, nix: Nix, tmp_path: Path) -> None:
    expression = tmp_path / "t.nix"
    expression.write_text(
        """
    derivation { name = "s"; system = "x86_64-linux"; builder = "/bin/sh"; __structuredAttrs = true;
      args = [ "-c" ''
        out=$(busybox grep -o "/nix/store/[a-z0-9]*-s" .attrs.json | busybox head -n1)
        busybox cat .attrs.json .attrs.sh > $out'' ];
      list = [ "a" "b c" 3 ]; map = { x = "it's"; y = true; n = null; }; nested = { a = [ 1 ]; }; number = 7; }
    """
    )
    there = nix.at(tmp_path / "there")
    drv = there("nix-instantiate", expression).strip()
    with LocalStore.open(tmp_path / "there", durable=False) as theirs:
        item = load(theirs, [next(p for p in theirs.all_valid() if str(p) == drv)])[0]
    theirs_path = there("nix-build", "--no-out-link", expression).strip()
    build(store, [item])
    assert str(item.out) == theirs_path
    ours = store.physical(item.out).read_text()
    assert ours == (tmp_path / "there" / theirs_path.lstrip("/")).read_text()


def test_the_graph_of_references_as_real_nix(store: LocalStore, nix: Nix, tmp_path: Path) -> None:
    expression = tmp_path / "t.nix"
    expression.write_text("""
    let a = derivation { name = "a"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo a > $out" ]; };
        b = derivation { name = "b"; system = "x86_64-linux"; builder = "/bin/sh";
          args = [ "-c" "echo ${a} $out > $out" ]; };
    in derivation { name = "g"; system = "x86_64-linux"; builder = "/bin/sh";
         args = [ "-c" "busybox cat graph > $out" ]; exportReferencesGraph = [ "graph" b ]; }
    """)
    there = nix.at(tmp_path / "there")
    path = there("nix-build", "--no-out-link", expression).strip()
    with LocalStore.open(tmp_path / "there", durable=False) as theirs:
        deriver = theirs.info(next(p for p in theirs.all_valid() if str(p) == path)).deriver
        assert deriver is not None
        item = load(theirs, [deriver])[0]
    build(store, [item])
    assert store.physical(item.out).read_text() == (tmp_path / "there" / path.lstrip("/")).read_text()


def test_a_failure_names_the_derivation_the_last_lines_and_where_the_rest_is(store: LocalStore) -> None:
    item = shell("for n in $(busybox seq 40); do echo line $n; done; exit 3", name="bad")
    with pytest.raises(AniccaError, match="status 3") as caught:
        build(store, [item])
    assert str(item.path) in str(caught.value)
    assert caught.value.detail == "\n".join(f"line {n}" for n in range(16, 41))
    assert f"anicca store log {item.path}" in (caught.value.faults[0].hint or "")
    assert b"".join(read_log(store.log_dir, item.path)).startswith(b"line 1\nline 2\n")
    assert not store.is_valid(item.out)
    assert not store.physical(item.out).exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("true", "did not make the output 'out'"),
        ("busybox mkfifo $out", "a pipe cannot be a store object"),
        ("busybox mkdir $out; busybox mkfifo $out/p", "a pipe cannot be a store object"),
        ("kill -9 $$; busybox sleep 1; exec busybox kill -9 -1", "killed|status|did not make"),
    ],
)
def test_outputs_that_cannot_be(store: LocalStore, script: str, reason: str) -> None:
    item = shell(script)
    with pytest.raises(AniccaError, match=reason):
        build(store, [item])
    assert not store.is_valid(item.out)


def test_modes_times_and_setuid_become_canonical(store: LocalStore) -> None:
    item = shell("busybox mkdir $out; echo > $out/f; busybox chmod 0777 $out $out/f; busybox chmod 4755 $out/f || true")
    build(store, [item])
    top = store.physical(item.out)
    assert [oct(p.stat().st_mode & 0o7777) for p in (top, top / "f")] == ["0o555", "0o555"]
    assert {p.stat().st_mtime for p in (top, top / "f")} == {1.0}
    assert {(p.stat().st_uid, p.stat().st_gid) for p in (top, top / "f")} == {(0, 0)}


def test_what_a_builder_of_our_own_rights_leaves_is_no_danger_either(store: LocalStore) -> None:
    def make(context: BuildContext) -> None:
        out = context.outputs["out"]
        out.mkdir()
        (out / "program").write_text("x")
        out.chmod(0o1777)
        (out / "program").chmod(0o6777)
        os.chown(out / "program", 1, 1)

    def make_device(context: BuildContext) -> None:
        os.mknod(context.outputs["out"], stat.S_IFCHR | 0o666, os.makedev(1, 3))

    item = instantiate(name="wide", system="builtin", builder="builtin:make")
    build(store, [item], builders={"builtin:make": make})
    for path in (store.physical(item.out), store.physical(item.out) / "program"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o555
        assert (path.stat().st_uid, path.stat().st_gid) == (0, 0)
    device = instantiate(name="device", system="builtin", builder="builtin:make")
    with pytest.raises(AniccaError, match="a device node cannot be a store object"):
        build(store, [device], builders={"builtin:make": make_device})
    assert not store.physical(device.out).exists()


def test_a_wrong_fixed_hash_shows_both(store: LocalStore) -> None:
    item = shell("echo hello > $out", fixed=hash_bytes(b"other\n"))
    with pytest.raises(AniccaError, match=r"wanted sha256-.*got sha256-WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM="):
        build(store, [item])


def test_the_network_is_for_fixed_outputs_only(store: LocalStore) -> None:
    inside = "busybox cut -d: -f1 /proc/net/dev | busybox tail -n +3 | busybox tr -d ' ' | busybox sort > $out"
    assert output(store, shell(inside)) == "lo\n"
    known = "".join(sorted(f"{p.name}\n" for p in Path("/sys/class/net").iterdir()))
    assert output(store, shell(inside, fixed=hash_bytes(known.encode()))) == known


@pytest.mark.parametrize(
    ("rule", "words", "fails"),
    [
        ("allowedReferences", "", True),
        ("allowedReferences", "{a}", False),
        ("disallowedReferences", "{a}", True),
        ("disallowedReferences", "out", False),
        ("allowedRequisites", "{a}", False),
        ("allowedRequisites", "", True),
        ("disallowedRequisites", "{a}", True),
    ],
)
def test_references_that_are_not_allowed(store: LocalStore, rule: str, words: str, *, fails: bool) -> None:
    a = store.add_text("a", "a")
    item = shell(f"echo {a} > $out", env={rule: words.format(a=a)}, sources=[a])
    if fails:
        with pytest.raises(AniccaError, match=rule):
            build(store, [item])
    else:
        build(store, [item])
    assert store.is_valid(item.out) is not fails


def test_a_builder_may_not_take_for_ever(store: LocalStore) -> None:
    for limits, why in ((Limits(total_seconds=1), "after 1 seconds"), (Limits(silent_seconds=1), "of silence")):
        started = time.monotonic()
        with pytest.raises(AniccaError, match=why):
            build(store, [shell("echo begun; busybox sleep 60")], limits=limits)
        assert time.monotonic() - started < 20


def test_what_failed_is_kept_if_asked_for(store: LocalStore) -> None:
    item = shell("echo half > half; exit 1", name="half")
    with pytest.raises(AniccaError) as caught:
        build(store, [item], keep_failed=True)
    kept = store.state_dir / "failed" / "half-0"
    assert str(kept) in (caught.value.faults[0].hint or "")
    assert (kept / "build" / "half").read_text() == "half\n"


def test_check_builds_again_and_compares(store: LocalStore) -> None:
    good, bad = (
        shell("echo same > $out", name="good"),
        shell("busybox cat /proc/sys/kernel/random/uuid > $out", name="bad"),
    )
    build(store, [good, bad])
    build(store, [good], check=True)
    before = store.info(bad.out).nar_hash
    with pytest.raises(AniccaError, match="not reproducible"):
        build(store, [bad], check=True)
    assert store.info(bad.out).nar_hash == before
    assert store.verify(check_contents=True) == []


def test_one_failure_ends_the_others_at_once(store: LocalStore) -> None:
    slow, bad = shell("busybox sleep 60", name="slow"), shell("busybox sleep 1; exit 1", name="bad")
    started = time.monotonic()
    with pytest.raises(AniccaError, match="bad"):
        build(store, [slow, bad], jobs=2)
    assert time.monotonic() - started < 20


def test_keep_going_builds_what_can_be(store: LocalStore) -> None:
    bad, good = shell("exit 1", name="bad"), shell("echo > $out", name="good")
    after = shell("echo > $out", name="after", inputs=[bad])
    with pytest.raises(AniccaError, match="bad"):
        build(store, [after, good], jobs=1, keep_going=True)
    assert store.valid([good.out, after.out]) == {good.out}


def test_builtin_builders_run_here_and_several_at_once(store: LocalStore) -> None:
    together = threading.Barrier(2)

    def builtin(context: BuildContext) -> None:
        together.wait(20)
        context.log(f"making {context.env['name']}")
        context.outputs["out"].mkdir()
        (context.outputs["out"] / "f").write_text(context.physical(source).read_text())

    source = store.add_text("source", "from the store")
    items = [
        instantiate(name=name, system="builtin", builder="builtin:two", sources=[source]) for name in ("one", "two")
    ]
    seen: list[events.Event] = []
    build(store, items, builders={"builtin:two": builtin}, jobs=2, report=seen.append)
    assert {store.physical(i.out).joinpath("f").read_text() for i in items} == {"from the store"}
    assert events.LogLine(task="one", text="making one") in seen
    with pytest.raises(AniccaError, match="not known here"):
        build(store, [instantiate(name="x", system="builtin", builder="builtin:none")])


def test_fetchurl(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello\n")
    item = instantiate(
        name="file",
        system="builtin",
        builder="builtin:fetchurl",
        env={"url": f"file://{tmp_path}/file"},
        fixed=hash_bytes(b"hello\n"),
    )
    assert output(store, item) == "hello\n"


def test_a_privileged_builder_is_root_without_network(store: LocalStore) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    item = shell(
        "busybox id -u > $out; echo > f; busybox chown 123:45 f; busybox stat -c %u:%g f >> $out;"
        "busybox mknod null c 1 3; echo gone > null; busybox mkdir m; busybox mount -t tmpfs none m;"
        "busybox mkdir -p root/bin; busybox cp /bin/sh root/bin/sh;"
        "busybox chroot root /bin/sh -c 'echo inside' >> $out;"
        "busybox cut -d: -f1 /proc/net/dev | busybox tail -n +3 | busybox tr -d ' ' >> $out; busybox chown 7:7 $out",
        env={"requiredSystemFeatures": "uid-range"},
    )
    assert output(store, item) == "0\n123:45\ninside\nlo\n"
    assert store.physical(item.out).stat().st_uid == 0


def test_a_root_of_the_derivation_s_own(store: LocalStore, tmp_path: Path) -> None:
    tree = tmp_path / "toolchain"
    (tree / "usr" / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, tree / "usr" / "bin" / "busybox")
    (tree / "usr" / "bin" / "sh").symlink_to("busybox")
    (tree / "bin").symlink_to("usr/bin")
    (tree / "etc").mkdir()
    (tree / "etc" / "own").write_text("own\n")
    toolchain = store.add_path("toolchain", tree)
    item = instantiate(
        name="x",
        system="x86_64-linux",
        builder="/usr/bin/busybox",
        args=["sh", "-c", "ls / > $out; cat /etc/own >> $out; touch /usr/x 2>> $out; touch /tmp/x"],
        env={"__root": str(toolchain), "PATH": "/bin"},
        sources=[toolchain],
    )
    shown = output(store, item)
    assert shown.split("own\n")[0].split() == ["bin", "build", "dev", "etc", "nix", "proc", "tmp", "usr", "var"]
    assert "Read-only file system" in shown


def test_an_interrupt_ends_builders_and_leaves_nothing(tmp_path: Path, root: Path) -> None:
    program = tmp_path / "build.py"
    program.write_text(
        "from pathlib import Path\nfrom anicca.store import LocalStore, instantiate\n"
        "from anicca.store.build import build\n"
        "item = instantiate(\n"
        "    name='slow', system='x86_64-linux', builder='/bin/sh', args=['-c', 'echo > $out; exec sleep 77'])\n"
        f"with LocalStore.open(Path({str(root)!r})) as store:\n    build(store, [item])\n"
    )
    child = process.start([sys.executable, program], output=tmp_path / "log")
    deadline = time.monotonic() + 20
    while not list(root.glob("nix/store/*-anicca-work/*/store/*-slow")) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.end()
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text()
    names = [p.name for p in (root / "nix" / "store").iterdir()]
    assert [n for n in names if "work" in n] == []
    with LocalStore.open(root, durable=False) as store:
        assert store.verify(check_contents=True) == []
        assert [p.name for p in store.all_valid()] == ["slow.drv"]


def test_an_output_without_end_in_depth_is_refused_and_gone(store: LocalStore) -> None:
    item = shell(
        f"d={'d' * 100}; n=0; busybox mkdir $out; cd $out;"
        " while [ $n -lt 100 ]; do busybox mkdir $d; cd $d; n=$((n + 1)); done"
    )
    with pytest.raises(AniccaError, match="too long"):
        build(store, [item])
    store.close()
    assert {p.name for p in store.store_dir.iterdir()} == {".links", item.path.basename}
