"""Loading a file, with files on disk; needs no root and no tools."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from anicca.declare.load import MODULE, evaluate
from anicca.errors import DeclarationError, Fault, Place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(directory: Path, name: str, text: str) -> Path:
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def fault(file: Path) -> Fault:
    with pytest.raises(DeclarationError) as caught:
        evaluate(file)
    (found,) = caught.value.faults
    return found


HEAD = "from anicca.declare import Host, Part\n"


def test_files_beside_it_are_imported_and_nothing_is_written(here: Path) -> None:
    write(
        here,
        "hosts/host.py",
        HEAD + "import web\nfrom lib.deep import part\nhost = Host(name='h', parts=[web.part, part()])\n",
    )
    write(here, "hosts/web.py", HEAD + "part = Part(\n    packages=[\n        'curl',\n    ],\n)\n")
    write(here, "hosts/lib/__init__.py", "")
    write(here, "hosts/lib/deep.py", HEAD + "from . import names\ndef part():\n    return Part(packages=names.NAMES)\n")
    write(here, "hosts/lib/names.py", "NAMES = ['less']\n")
    before = {*here.rglob("*")}
    modules = {*sys.modules}
    spec = evaluate((here / "hosts/host.py").relative_to(here))
    assert {*here.rglob("*")} == before
    assert not ({*sys.modules} - modules) & {"web", "lib", "lib.deep", "lib.names", MODULE}
    assert spec.origins["packages[curl]"] == (Place("hosts/web.py", 4),)
    assert spec.origins["packages[less]"] == (Place("hosts/lib/deep.py", 4),)
    assert spec.origins["name"] == (Place("hosts/host.py", 4),)


def test_two_hosts_each_have_their_own_neighbours(here: Path) -> None:
    for name in ("a", "b"):
        write(here, f"{name}/host.py", HEAD + "from shared import NAME\nhost = Host(name=NAME)\n")
        write(here, f"{name}/shared.py", f"NAME = {name!r}\n")
    assert [evaluate(here / name / "host.py").name for name in ("a", "b", "a")] == ["a", "b", "a"]


def test_a_changed_file_is_read_anew(here: Path) -> None:
    file = write(here, "host.py", HEAD + "host = Host(name='a')\n")
    assert evaluate(file).name == "a"
    write(here, "host.py", HEAD + "host = Host(name='b')\n")
    assert evaluate(file).name == "b"


def test_the_same_file_gives_the_same_spec(here: Path) -> None:
    file = write(here, "host.py", HEAD + "host = Host(name='a', packages={'b-1', 'a-1', 'c-1'})\n")
    one, other = evaluate(file), evaluate(file)
    assert one == other
    assert one.origins == other.origins


def test_a_missing_file(here: Path) -> None:
    assert fault(here / "host.py") == Fault(message="no such file", places=(Place(str(here / "host.py"), 1),))


def test_a_syntax_error_has_its_line(here: Path) -> None:
    write(here, "host.py", HEAD + "\nhost = Host(name='a'\n")
    found = fault(here / "host.py")
    assert found.message == "syntax error: '(' was never closed"
    assert found.places == (Place(str(here / "host.py"), 3),)


def test_a_syntax_error_in_a_file_beside_it_names_that_one(here: Path) -> None:
    write(here, "host.py", HEAD + "import web\n")
    write(here, "web.py", "x = 1\ny = = 2\n")
    assert fault((here / "host.py").relative_to(here)).places == (Place("web.py", 2),)


def test_an_exception_has_the_innermost_line_of_the_persons_own(here: Path) -> None:
    write(here, "host.py", HEAD + "import web\nweb.part()\n")
    write(here, "web.py", "import json\ndef part():\n    return json.loads('{')\n")
    found = fault((here / "host.py").relative_to(here))
    assert found.places == (Place("web.py", 3),)
    assert found.message.startswith("json.decoder.JSONDecodeError: Expecting property name")


def test_a_wrong_keyword_has_its_line(here: Path) -> None:
    write(here, "host.py", HEAD + "\nhost = Host(name='a', pakages=[])\n")
    found = fault(here / "host.py")
    assert found.places == (Place(str(here / "host.py"), 3),)
    assert found.message.startswith("TypeError: Host.__init__() got an unexpected keyword argument 'pakages'")
    assert "packages" in found.message + (found.hint or "")


def test_a_module_that_is_not_there(here: Path) -> None:
    write(here, "host.py", "import nowhere_to_be_found\n")
    found = fault((here / "host.py").relative_to(here))
    assert found.message == "ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    assert found.places == (Place("host.py", 1),)
    assert found.hint == "modules are looked for in . and where Python finds its own"


def test_what_a_host_prints_is_no_result(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(write(here, "host.py", HEAD + "print('hello')\nhost = Host(name='h')\n"))
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff = 1\n", "syntax error: "),
        (b"x = 1\0\n", "syntax error: "),
        (b"def f():\n    f()\nf()\n", "RecursionError: maximum recursion depth exceeded"),
        (b"raise KeyError('x')\n", "KeyError: 'x'"),
    ],
)
def test_whatever_happens_in_a_file_is_a_fault(here: Path, data: bytes, message: str) -> None:
    (here / "host.py").write_bytes(data)
    found = fault((here / "host.py").relative_to(here))
    assert found.message.startswith(message)
    assert [place.file for place in found.places] == ["host.py"]


def test_a_host_that_exits(here: Path) -> None:
    write(here, "host.py", "import sys\nsys.exit(0)\n")
    found = fault((here / "host.py").relative_to(here))
    assert found == Fault(message="it calls exit: a declaration has no effects", places=(Place("host.py", 2),))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "no host: the file assigns none", 'add host = Host(name="…", …)'),
        ("web = Host(name='a')\n", "no host: the Host here is named web", "name it host"),
        ("host = 'a'\n", "host is a str, not a Host", "say host = Host(…)"),
        ("host = Part()\n", "host is a Part, not a Host", "say host = Host(…)"),
    ],
)
def test_no_host(here: Path, text: str, message: str, hint: str) -> None:
    write(here, "host.py", HEAD + text)
    assert fault((here / "host.py").relative_to(here)) == Fault(
        message=message, places=(Place("host.py", 1),), hint=hint
    )


def test_faults_of_all_files_come_together_with_exact_lines(here: Path) -> None:
    write(
        here,
        "host.py",
        HEAD
        + "from web import web\nhost = Host(\n    name='h',\n    timezone='Asia/Tokyo',\n"
        + "    files={\n        'etc/motd': 'x',\n    },\n    parts=[web()],\n)\n",
    )
    write(
        here,
        "web.py",
        HEAD + "def web():\n    return Part(\n        timezone='Europe/Rome',\n        packages=['Curl'],\n    )\n",
    )
    with pytest.raises(DeclarationError) as caught:
        evaluate((here / "host.py").relative_to(here))
    assert [str(each) for each in caught.value.faults] == [
        "host.py:5, web.py:4: timezone has 2 values: 'Asia/Tokyo' and 'Europe/Rome'",
        "host.py:7: 'etc/motd' is relative",
        "web.py:5: 'Curl' is not a package's name",
    ]


def test_a_module_of_a_name_that_is_loaded_already_is_refused(here: Path) -> None:
    write(here, "host.py", HEAD + "import json\nhost = Host(name='h')\n")
    write(here, "json.py", "")
    found = fault((here / "host.py").relative_to(here))
    assert found.message == "json.py beside it has the name of a module that is loaded already"
    assert found.hint == "give it another name: import would not find it"
