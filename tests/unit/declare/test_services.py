from __future__ import annotations

import configparser
import shlex
from typing import TYPE_CHECKING

import pytest

from anicca.declare import File, Host, Part, Unit, force
from anicca.declare.base import MASKED, PACKAGES, base
from anicca.declare.combine import combine
from anicca.declare.services import nginx, postgresql, ssh
from anicca.declare.services.ssh import SSH_KEYS
from anicca.declare.spec import DirectorySpec, FileSpec, LinkSpec, PersistSpec, Spec, UnitSpec
from anicca.errors import DeclarationError

if TYPE_CHECKING:
    from anicca.declare.spec import EntrySpec


def host(*parts: Part) -> Spec:
    return combine(Host(name="h", parts=parts))


def entry(spec: Spec, path: str) -> EntrySpec:
    (found,) = (each for each in spec.files if each.path == path)
    return found


def content(spec: Spec, path: str) -> str:
    found = entry(spec, path)
    assert isinstance(found, FileSpec)
    return found.content.decode()


def unit(spec: Spec, name: str) -> UnitSpec:
    (found,) = (each for each in spec.units if each.name == name)
    return found


def test_ssh_keeps_host_keys_where_they_persist() -> None:
    spec = host(ssh())
    assert "openssh-server" in spec.packages
    assert spec.persist == (PersistSpec(path=SSH_KEYS, owner="root", group="root", mode=0o700),)
    assert content(spec, "/etc/ssh/sshd_config.d/10-anicca.conf").splitlines() == [
        "# Host keys persist; /etc/ssh is read-only.",
        "HostKey /var/lib/anicca/ssh/ssh_host_ed25519_key",
        "HostKey /var/lib/anicca/ssh/ssh_host_ecdsa_key",
        "# Keys of declared users, then those that users keep themselves.",
        "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u .ssh/authorized_keys",
    ]
    assert unit(spec, "ssh.service") == UnitSpec(name="ssh.service", content=None, state="enabled")
    assert unit(spec, "sshd-keygen.service").state == "masked"


def test_host_keys_are_made_before_sshd_whenever_they_are_missing() -> None:
    made = unit(host(ssh()), "anicca-ssh-keys.service")
    assert made.state == "enabled"
    assert made.content is not None
    assert "ConditionFirstBoot" not in made.content
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(made.content)
    assert parser["Unit"]["Before"] == "ssh.service"
    assert parser["Unit"]["RequiresMountsFor"] == SSH_KEYS
    assert parser["Install"]["RequiredBy"] == "ssh.service"
    commands = [line.removeprefix("ExecStart=") for line in made.content.splitlines() if line.startswith("ExecStart=")]
    assert len(commands) == 2
    for command, kind in zip(commands, ("ed25519", "ecdsa"), strict=True):
        shell, option, text = shlex.split(command)
        assert (shell, option) == ("/bin/sh", "-ec")
        # No $ and no %: systemd would expand them.
        assert not {*text} & {"$", "%"}
        assert f'ssh-keygen -q -t {kind} -N "" -f {SSH_KEYS}/ssh_host_{kind}_key' in text


def test_nginx_serves_one_page_to_all() -> None:
    spec = host(nginx(page="<p>hi\n"))
    assert "nginx-light" in spec.packages
    assert content(spec, "/srv/www/default/index.html") == "<p>hi\n"
    assert isinstance(entry(spec, "/srv/www/default"), DirectorySpec)
    assert "listen 80 default_server;" in content(spec, "/etc/nginx/sites-available/default")
    assert entry(spec, "/etc/nginx/sites-enabled/default") == LinkSpec(
        path="/etc/nginx/sites-enabled/default", target="/etc/nginx/sites-available/default"
    )
    assert PersistSpec(path="/var/log/nginx", owner="root", group="adm", mode=0o755) in spec.persist
    assert "logrotate.timer" in {unit.name for unit in spec.units}


def test_sites_with_names_live_side_by_side() -> None:
    spec = host(nginx("a"), nginx("b", name="b.example.org"), nginx(b"c", name="c.example.org"))
    assert content(spec, "/srv/www/b.example.org/index.html") == "b"
    assert "server_name c.example.org;" in content(spec, "/etc/nginx/sites-available/c.example.org")
    assert "default_server" not in content(spec, "/etc/nginx/sites-available/c.example.org")


def test_two_pages_for_one_site_conflict() -> None:
    with pytest.raises(DeclarationError, match=r"files\[/srv/www/default/index.html\] has 2 values"):
        host(nginx("a"), nginx("b"))


def test_a_services_file_yields_to_one_declared_and_its_unit_to_force() -> None:
    mine = Part(
        files={"/etc/ssh/sshd_config.d/10-anicca.conf": File("mine\n")},
        units=[force(Unit("ssh.service", state="masked"))],
    )
    spec = host(ssh(), mine)
    assert content(spec, "/etc/ssh/sshd_config.d/10-anicca.conf") == "mine\n"
    assert unit(spec, "ssh.service").state == "masked"


def test_a_cluster_is_made_at_the_first_start_and_persists() -> None:
    spec = host(postgresql(settings={"work_mem": "8MB", "max_connections": 20, "search_path": "a, 'b'"}))
    assert "postgresql-17" in spec.packages
    assert spec.persist == (PersistSpec(path="/var/lib/postgresql", owner="postgres", group="postgres", mode=0o755),)
    lines = content(spec, "/etc/postgresql/17/main/postgresql.conf").splitlines()
    assert "data_directory = '/var/lib/postgresql/17/main'" in lines
    assert lines[-3:] == ["work_mem = '8MB'", "max_connections = 20", "search_path = 'a, ''b'''"]
    made = unit(spec, "anicca-postgresql-17.service")
    assert made.state == "enabled"
    assert made.content is not None
    assert "RequiredBy=postgresql@17-main.service" in made.content
    # Made beside its place and renamed: a power cut in the middle leaves nothing that looks whole.
    assert made.content.index("initdb -D /var/lib/postgresql/17/main.new") < made.content.index("mv -T")


def test_two_versions_keep_their_data_apart() -> None:
    spec = host(postgresql(version=16), postgresql(version=17))
    assert {"anicca-postgresql-16.service", "anicca-postgresql-17.service"} <= {each.name for each in spec.units}


def test_dpkg_refuses_with_a_word_on_what_to_do() -> None:
    text = content(combine(Host(name="h")), "/etc/dpkg/dpkg.cfg.d/anicca")
    (line,) = (each for each in text.splitlines() if not each.startswith("#"))
    assert line.startswith("pre-invoke=echo 'anicca: ")
    assert line.endswith(" >&2; exit 1")


def test_every_package_and_mask_of_the_base_has_its_reason() -> None:
    assert all(reason and not reason.endswith(".") for reason in (*PACKAGES.values(), *MASKED.values()))
    assert list(PACKAGES) == sorted(PACKAGES)
    assert [*base().packages] == list(PACKAGES)
