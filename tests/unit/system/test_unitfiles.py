from collections.abc import Iterable

import pytest

from anicca.system.unitfiles import Setting, UnitSet, parse_unit, read_units, template_of


class Files:
    """Paths to contents; a text that starts with "-> " is a link."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files

    def children(self, directory: str) -> Iterable[str]:
        below = (path.removeprefix(f"{directory}/") for path in self._files if path.startswith(f"{directory}/"))
        return sorted({name.split("/")[0] for name in below})

    def link(self, path: str) -> str | None:
        text = self._files.get(path, "")
        return text.removeprefix("-> ") if text.startswith("-> ") else None

    def content(self, path: str) -> bytes | None:
        text = self._files.get(path)
        return None if text is None else text.encode()


LIB, ETC = "/usr/lib/systemd/system", "/etc/systemd/system"


def units(files: dict[str, str]) -> UnitSet:
    return read_units(Files(files))


def test_a_text_is_read_as_systemd_does() -> None:
    text = "# c\n[Unit]\nDescription=a \\\n; inside\n  b\n[Service]\nExecStart=/x\n\n[Install]\nWantedBy=y\n"
    assert parse_unit(text.encode()) == (
        Setting(section="Unit", key="Description", value="a b"),
        Setting(section="Service", key="ExecStart", value="/x"),
    )


def test_etc_wins_and_dropins_add_in_order_of_their_names() -> None:
    found = units(
        {
            f"{LIB}/a.service": "[Service]\nExecStart=/old\n",
            f"{ETC}/a.service": "[Service]\nExecStart=/new\n",
            f"{LIB}/a.service.d/20-b.conf": "[Service]\nNice=2\n",
            f"{ETC}/a.service.d/10-a.conf": "[Service]\nNice=1\n",
            f"{LIB}/service.d/15-all.conf": "[Service]\nOOMScoreAdjust=5\n",
        }
    )
    unit = found.get("a.service")
    assert unit is not None
    assert [s.value for s in unit.settings] == ["/new", "1", "5", "2"]


def test_an_empty_value_forgets_those_before() -> None:
    text = "[Service]\nExecStart=/a\n"
    unit = units({f"{LIB}/a.service": text, f"{ETC}/a.service.d/x.conf": "[Service]\nExecStart=\nExecStart=/b\n"}).get(
        "a.service"
    )
    assert unit is not None
    assert unit.values("ExecStart") == ["/b"]


@pytest.mark.parametrize("mask", ["-> /dev/null", ""])
def test_masked(mask: str) -> None:
    unit = units({f"{LIB}/a.service": "[Service]\n", f"{ETC}/a.service": mask}).get("a.service")
    assert unit is not None
    assert unit.masked


def test_aliases_lead_to_the_unit() -> None:
    found = units({f"{LIB}/ssh.service": "[Service]\nNice=1\n", f"{ETC}/sshd.service": f"-> {LIB}/ssh.service"})
    unit = found.get("sshd.service")
    assert unit is not None
    assert unit.name == "ssh.service"


def test_an_instance_is_its_template() -> None:
    found = units(
        {f"{LIB}/getty@.service": "[Service]\nNice=1\n", f"{ETC}/getty@tty1.service.d/a.conf": "[Service]\nNice=2\n"}
    )
    first, other = found.get("getty@tty1.service"), found.get("getty@tty2.service")
    assert first is not None
    assert other is not None
    assert (first.value("Nice"), other.value("Nice")) == ("2", "1")
    assert template_of("getty@.service") is None
    assert found.get("nothing@x.service") is None


def test_what_starting_a_target_starts() -> None:
    found = units(
        {
            f"{LIB}/default.target": "-> multi-user.target",
            f"{LIB}/multi-user.target": "[Unit]\nRequires=basic.target\n",
            f"{LIB}/basic.target": "[Unit]\nWants=a.socket\n",
            f"{LIB}/a.socket": "[Socket]\nListenStream=1\n",
            f"{LIB}/a.service": "[Service]\nNice=1\n",
            f"{LIB}/b.timer": "[Timer]\nUnit=c.service\n",
            f"{LIB}/c.service": "[Service]\nNice=1\n",
            f"{LIB}/g@.service": "[Unit]\nWants=x@%i.service\n",
            f"{LIB}/x@.service": "[Unit]\nDescription=x\n",
            f"{LIB}/m.service": "[Service]\nNice=1\n",
            f"{ETC}/m.service": "-> /dev/null",
            f"{ETC}/multi-user.target.wants/b.timer": f"-> {LIB}/b.timer",
            f"{ETC}/multi-user.target.wants/m.service": f"-> {LIB}/m.service",
            f"{ETC}/multi-user.target.wants/g@1.service": f"-> {LIB}/g@.service",
        }
    )
    expected = {"multi-user.target", "basic.target", "a.socket", "b.timer", "g@1.service", "x@1.service"}
    assert found.reachable("default.target") == expected
    assert found.reachable("default.target", triggered=True) == expected | {"a.service", "c.service"}
