from __future__ import annotations

import pytest

from anicca.declare import Host, Part, User
from anicca.declare.combine import combine
from anicca.declare.services import journal, logrotate, nftables, ssl_cert, sudo, timesync
from anicca.declare.services.ssl_cert import CERTIFICATE
from anicca.declare.spec import FileSpec, LinkSpec, PersistSpec, UnitSpec
from anicca.declare.units import dropin, escape_path, mount, service, timer, tmpfiles


def units(*parts: Part) -> dict[str, UnitSpec]:
    spec = combine(Host(name="h", parts=parts))
    return {unit.name: unit for unit in spec.units}


def files(*parts: Part) -> dict[str, FileSpec | LinkSpec]:
    spec = combine(Host(name="h", parts=parts))
    return {entry.path: entry for entry in spec.files if isinstance(entry, FileSpec | LinkSpec)}


def test_a_service_with_state() -> None:
    part = service(
        "notes",
        "/usr/bin/notes --port 80",
        description="Notes",
        user="ann",
        after=["network.target"],
        environment={"B": 'a "b" 100%', "A": "1"},
        state=True,
    )
    assert units(part)["notes.service"] == UnitSpec(
        name="notes.service",
        content="""\
[Unit]
Description=Notes
After=network.target

[Service]
ExecStart=/usr/bin/notes --port 80
User=ann
Environment="A=1"
Environment="B=a \\"b\\" 100%%"
StateDirectory=notes
Restart=on-failure

[Install]
WantedBy=multi-user.target
""",
        state="enabled",
    )
    spec = combine(Host(name="h", users=[User("ann")], parts=[part]))
    assert spec.persist == (PersistSpec(path="/var/lib/notes", owner="ann", mode=0o755),)


def test_a_service_without_state_persists_nothing() -> None:
    assert combine(Host(name="h", parts=[service("x", "/bin/true")])).persist == ()


def test_an_account_for_a_service_lives_in_its_state() -> None:
    user = User("notes", home="/var/lib/notes", shell="/usr/sbin/nologin")
    spec = combine(Host(name="h", users=[user], parts=[service("notes", "/bin/true", user="notes", state=True)]))
    assert spec.persist == (PersistSpec(path="/var/lib/notes", owner="notes", group="notes", mode=0o755),)


def test_a_timer_and_what_it_starts() -> None:
    made = units(timer("job", "/bin/true", calendar="daily", user="ann", catch_up=True))
    assert made["job.service"].state == "static"
    assert made["job.service"].content == (
        "[Unit]\nDescription=job\n\n[Service]\nType=oneshot\nExecStart=/bin/true\nUser=ann\n"
    )
    assert made["job.timer"].state == "enabled"
    assert made["job.timer"].content == (
        "[Unit]\nDescription=job\n\n[Timer]\nOnCalendar=daily\nPersistent=yes\n\n[Install]\nWantedBy=timers.target\n"
    )
    spec = combine(Host(name="h", parts=[timer("a", "/bin/true", calendar="daily", catch_up=True)]))
    assert [kept.path for kept in spec.persist] == ["/var/lib/systemd/timers"]
    assert combine(Host(name="h", parts=[timer("a", "/bin/true", calendar="daily")])).persist == ()


def test_mounts() -> None:
    made = units(
        mount("/dev/vdb1", "/srv/my data", kind="ext4", options=["noatime", "nofail"]),
        mount("nas:/x", "/srv/nas", kind="nfs4"),
    )
    assert made["srv-my\\x20data.mount"].content == (
        "[Unit]\nDescription=/dev/vdb1 on /srv/my data\n\n"
        "[Mount]\nWhat=/dev/vdb1\nWhere=/srv/my data\nType=ext4\nOptions=noatime,nofail\n\n"
        "[Install]\nWantedBy=local-fs.target\n"
    )
    remote = made["srv-nas.mount"].content
    assert remote is not None
    assert remote.endswith("Type=nfs4\n\n[Install]\nWantedBy=remote-fs.target\n")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "-"),
        ("/srv", "srv"),
        ("/srv//a/", "srv-a"),
        ("/srv/a-b", "srv-a\\x2db"),
        ("/.x/.y", "\\x2ex-.y"),
        ("/ü", "\\xc3\\xbc"),
    ],
)
def test_paths_in_units_names(path: str, name: str) -> None:
    assert escape_path(path) == name


def test_dropins_and_tmpfiles_are_files() -> None:
    made = files(
        dropin("ssh.service", "[Service]\nMemoryMax=1G\n"), tmpfiles("x", "d /run/x - - - -", "d /run/y - - - -")
    )
    assert made["/etc/systemd/system/ssh.service.d/50-declared.conf"] == FileSpec(
        path="/etc/systemd/system/ssh.service.d/50-declared.conf", content=b"[Service]\nMemoryMax=1G\n"
    )
    assert made["/etc/tmpfiles.d/x.conf"] == FileSpec(
        path="/etc/tmpfiles.d/x.conf", content=b"d /run/x - - - -\nd /run/y - - - -\n"
    )


def test_small_services_bring_what_they_need() -> None:
    spec = combine(
        Host(name="h", parts=[timesync(), journal(keep="1G"), logrotate(), sudo(), nftables("flush ruleset\n")])
    )
    assert {"systemd-timesyncd", "logrotate", "sudo", "nftables"} <= {*spec.packages}
    assert [kept.path for kept in spec.persist] == [
        "/var/lib/logrotate",
        "/var/lib/systemd/timesync",
        "/var/log/journal",
    ]
    made = {entry.path: entry for entry in spec.files if isinstance(entry, FileSpec)}
    assert made["/etc/sudoers.d/anicca"].mode == 0o440
    assert made["/etc/nftables.conf"].content == b"flush ruleset\n"
    assert made["/etc/systemd/journald.conf.d/anicca.conf"].content == (
        b"[Journal]\nStorage=persistent\nSystemMaxUse=1G\n"
    )


def test_a_certificate_is_made_by_the_host_and_found_where_debians_is() -> None:
    made = files(ssl_cert())
    key = "/etc/ssl/private/ssl-cert-snakeoil.key"
    assert made[key] == LinkSpec(path=key, target=f"{CERTIFICATE}/key.pem")
    text = units(ssl_cert())["anicca-ssl-cert.service"].content
    assert text is not None
    assert "UMask=0077" in text
    assert "chgrp ssl-cert key.pem" in text
    # Synced before it gets its name: a power cut must not leave a certificate without its key.
    assert text.index("sync key.pem new.pem") < text.index("mv new.pem cert.pem")
