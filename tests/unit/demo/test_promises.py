from anicca.debian.lock import Lock, Pin
from anicca.declare.root import F2fs
from anicca.declare.spec import DiskSpec, FileSpec, Kernel, LinkSpec, PersistSpec, Spec, UnitSpec, UserSpec
from anicca.demo.promises import answers, declared_page, promises, script

PIN = Pin(
    name="less",
    version="668-1",
    architecture="amd64",
    archive="debian",
    filename="pool/main/l/less/less_668-1_amd64.deb",
    size_bytes=1,
    sha256="0" * 64,
)
LOCK = Lock(
    release="trixie",
    architecture="amd64",
    resolution="",
    epoch=0,
    packages=(PIN,),
    toolchain=(),
    users={"ann": 1000},
    groups={"ann": 1000},
)
SPEC = Spec(
    name="box",
    kernel=Kernel(package="linux-image-amd64"),
    packages=("less",),
    users=(UserSpec(name="ann", home="/home/ann", groups=("sudo",), ssh_keys=("ssh-ed25519 AAAA ann",)),),
    files=(
        FileSpec(path="/etc/motd", content=b"hello I am a file\n"),
        LinkSpec(path="/etc/localtime", target="../usr/share/zoneinfo/UTC"),
        FileSpec(path="/srv/www/default/index.html", content=b"<p>page</p>\n"),
    ),
    units=(UnitSpec(name="ssh.service"), UnitSpec(name="fstrim.timer", state="masked")),
    persist=(PersistSpec(path="/var/lib/notes"),),
    timezone="Etc/UTC",
    locale="C.UTF-8",
    root=F2fs(compress_algorithm="zstd"),
    disk=DiskSpec(esp_bytes=1, nix_bytes=1, root_bytes=1),
)


def test_every_declared_thing_is_asked_for() -> None:
    said = "\n".join(promise.sentence for promise in promises(SPEC, LOCK))
    for word in (
        "no unit has failed",
        "/ is f2fs",
        "compress with zstd",
        "/usr refuses writes",
        "/etc/motd has its content",
        "/etc/localtime points to",
        "ann is a user with the id of the lock",
        "ann is in sudo",
        "ann can log in with the declared key",
        "ssh.service is enabled",
        "ssh.service runs",
        "fstrim.timer is masked",
        "exactly the 1 packages",
        "/var/lib/notes is kept",
        "time zone is Etc/UTC",
        "locale is C.UTF-8",
    ):
        assert word in said


def test_masked_units_are_not_expected_to_run() -> None:
    assert not [p for p in promises(SPEC, LOCK) if p.sentence.startswith("fstrim.timer runs")]


def test_answers_are_matched_to_their_questions() -> None:
    asked = promises(SPEC, LOCK)
    token = "anicca-token"
    output = "".join(f"{token}\n{promise.answer}\n" for promise in asked)
    assert all(seen.holds for seen in answers(asked, output, token))


def test_a_wrong_answer_and_a_missing_one_do_not_hold() -> None:
    asked = promises(SPEC, LOCK)[:3]
    token = "anicca-token"
    seen = answers(asked, f"{token}\n{asked[0].answer}\n{token}\nsomething else\n", token)
    assert [one.holds for one in seen] == [True, False, False]


def test_the_script_asks_in_order_and_gives_each_question_no_input() -> None:
    asked = promises(SPEC, LOCK)[:2]
    text = script(asked, "anicca-token")
    assert text.count("echo anicca-token\n") == 2
    assert text.index(asked[0].question) < text.index(asked[1].question)
    assert text.count("</dev/null") == 2


def test_the_page_of_a_declared_site() -> None:
    assert declared_page(SPEC) == b"<p>page</p>\n"
