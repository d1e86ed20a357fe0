from __future__ import annotations

import pytest

from anicca.declare import (
    Dhcp,
    Directory,
    Disk,
    F2fs,
    File,
    Group,
    Host,
    Link,
    Part,
    Persist,
    Static,
    Tmpfs,
    Unit,
    Unmanaged,
    User,
    absent,
    default,
    force,
)
from anicca.declare.base import MASKED, PACKAGES
from anicca.declare.combine import combine
from anicca.declare.spec import (
    DirectorySpec,
    DiskSpec,
    EntrySpec,
    FileSpec,
    GroupSpec,
    Kernel,
    LinkSpec,
    PersistSpec,
    Spec,
    UnitSpec,
    UserSpec,
)
from anicca.errors import DeclarationError, Fault, Place

A, B = Place("a.py", 1), Place("b.py", 2)


def faults(host: Host) -> tuple[Fault, ...]:
    with pytest.raises(DeclarationError) as caught:
        combine(host)
    return caught.value.faults


def entry(spec: Spec, path: str) -> EntrySpec:
    (found,) = (each for each in spec.files if each.path == path)
    return found


def unit(spec: Spec, name: str) -> UnitSpec:
    (found,) = (each for each in spec.units if each.name == name)
    return found


def test_a_host_with_a_name_alone_is_whole() -> None:
    spec = combine(Host(name="bare"))
    assert spec.hostname == "bare"
    assert spec.kernel == Kernel(package="linux-image-amd64")
    assert {*PACKAGES, "linux-image-amd64", "systemd-resolved", "tzdata"} == {*spec.packages}
    assert (spec.timezone, spec.locale) == ("Etc/UTC", "C.UTF-8")
    assert spec.root == F2fs()
    assert spec.disk == DiskSpec(esp_bytes=512 << 20, nix_bytes=8 << 30, root_bytes=5 << 30)
    assert {each.name for each in spec.units if each.state == "masked"} == {*MASKED}
    assert not any((spec.users, spec.groups, spec.persist, spec.warnings))


def test_lists_add_and_mappings_unite() -> None:
    one = Part(packages=["curl", "less"], files={"/etc/a": "a"}, components=["non-free-firmware"])
    other = Part(packages=["less", "vim"], files={"/etc/b": "b"}, persist=["/var/lib/x"])
    spec = combine(Host(name="h", parts=[one, Part(parts=[other])]))
    assert {"curl", "less", "vim"} <= {*spec.packages}
    assert entry(spec, "/etc/a") == FileSpec(path="/etc/a", content=b"a")
    assert entry(spec, "/etc/b") == FileSpec(path="/etc/b", content=b"b")
    assert spec.persist == (PersistSpec(path="/var/lib/x"),)
    assert spec.components == ("main", "non-free-firmware")


def test_two_scalars_name_both_places() -> None:
    parts = [Part(timezone="Asia/Tokyo", declared_at=A), Part(timezone="Europe/Rome", declared_at=B)]
    (fault,) = faults(Host(name="h", parts=parts))
    assert fault.message == "timezone has 2 values: 'Asia/Tokyo' and 'Europe/Rome'"
    assert fault.places == (A, B)


def test_a_file_declared_twice_with_different_content_names_both_places() -> None:
    one = Part(files={"/etc/motd": File("one\n", declared_at=A)})
    other = Part(files={"/etc/motd": File("two\n", mode=0o600, declared_at=B)})
    (fault,) = faults(Host(name="h", parts=[one, other]))
    assert fault.message == (
        "files[/etc/motd] has 2 values: file 'one\\n' root:root 0644 and file 'two\\n' root:root 0600"
    )
    assert fault.places == (A, B)


def test_a_file_declared_twice_with_the_same_content_is_one() -> None:
    parts = [
        Part(files={"/etc/motd": "hi\n"}, declared_at=A),
        Part(files={"/etc/motd": File(b"hi\n", declared_at=B)}),
    ]
    spec = combine(Host(name="h", parts=parts))
    assert spec.origins["files[/etc/motd]"] == (A, B)


def test_default_yields_and_force_wins_in_parts() -> None:
    parts = [
        Part(timezone=default("Asia/Tokyo"), files={"/etc/motd": default("a")}),
        Part(timezone="Europe/Rome", files={"/etc/motd": force(File("b"))}),
        Part(files={"/etc/motd": "c"}),
    ]
    spec = combine(Host(name="h", parts=parts))
    assert spec.timezone == "Europe/Rome"
    assert entry(spec, "/etc/motd") == FileSpec(path="/etc/motd", content=b"b")


def test_a_user_is_merged_field_by_field() -> None:
    parts = [
        Part(users=[User("ann", groups=["sudo"], shell=default("/bin/sh"))]),
        Part(users=[User("ann", groups=["adm"], shell="/bin/zsh", comment="Ann")]),
        Part(groups=[Group("notes", members=["ann", "www-data"])]),
    ]
    spec = combine(Host(name="h", parts=parts))
    assert spec.users == (
        UserSpec(
            name="ann", comment="Ann", home="/home/ann", shell="/bin/zsh", groups=("adm", "notes", "sudo"), ssh_keys=()
        ),
    )
    assert spec.groups == (GroupSpec(name="ann"), GroupSpec(name="notes", members=("ann", "www-data")))
    assert entry(spec, "/home/ann") == DirectorySpec(path="/home/ann", owner="ann", group="ann", mode=0o700)


def test_a_users_group_shows_on_the_group_too() -> None:
    spec = combine(Host(name="h", users=[User("ann", groups=["notes"])], groups=[Group("notes")]))
    assert spec.groups[1] == GroupSpec(name="notes", members=("ann",))


def test_two_shells_of_one_user_conflict() -> None:
    users = [User("ann", shell="/bin/sh", declared_at=A), User("ann", shell="/bin/zsh", declared_at=B)]
    (fault,) = faults(Host(name="h", users=users))
    assert fault.message == "users[ann].shell has 2 values: '/bin/sh' and '/bin/zsh'"


def test_a_unit_is_merged_field_by_field_and_enabled_if_it_can_be() -> None:
    text = "[Service]\nExecStart=true\n"
    spec = combine(
        Host(
            name="h",
            units=[
                Unit("a.service"),
                Unit("b.service", text),
                Unit("c.service", text + "[Install]\nWantedBy=multi-user.target\n"),
                Unit("d.service", default("x")),
                force(Unit("d.service", state="masked")),
                Unit("d.service", text, state="enabled"),
            ],
        )
    )
    assert unit(spec, "a.service") == UnitSpec(name="a.service", content=None, state="enabled")
    assert unit(spec, "b.service").state == "static"
    assert unit(spec, "c.service").state == "enabled"
    assert unit(spec, "d.service") == UnitSpec(name="d.service", content=text, state="masked")


def test_the_base_yields_to_a_default() -> None:
    spec = combine(Host(name="h", locale=default("de_CH.UTF-8"), units=[Unit("fstrim.timer", state="enabled")]))
    assert spec.locale == "de_CH.UTF-8"
    assert "locales-all" in spec.packages
    assert unit(spec, "fstrim.timer").state == "enabled"


def test_a_package_of_the_base_can_be_left_out() -> None:
    assert "procps" not in combine(Host(name="h", packages=[absent("procps")])).packages
    places = [Part(packages=["less"], declared_at=A), Part(packages=[absent("less")], declared_at=B)]
    (fault,) = faults(Host(name="h", parts=places))
    assert fault.message == "packages[less] has 2 values: asked for and absent"


def test_another_kernel_takes_the_place_of_the_usual_one() -> None:
    spec = combine(Host(name="h", kernel="linux-image-cloud-amd64", kernel_parameters=["quiet", "console=tty0"]))
    assert spec.kernel == Kernel(package="linux-image-cloud-amd64", parameters=("quiet", "console=tty0"))
    assert "linux-image-cloud-amd64" in spec.packages
    assert "linux-image-amd64" not in spec.packages


def test_kernel_parameters_keep_their_order_within_one_saying() -> None:
    one, other = Part(kernel_parameters=["z=1", "a=1"]), Part(kernel_parameters=["b=2"])
    for parts in ([one, other], [other, one], [one, other, one]):
        assert combine(Host(name="h", parts=parts)).kernel.parameters == ("b=2", "z=1", "a=1")


def test_disk_sizes_are_merged_one_by_one_and_compared_as_sizes() -> None:
    parts = [Part(disk=Disk(nix="1G")), Part(disk=Disk(nix="1024M", root=default("300M")))]
    assert combine(Host(name="h", parts=parts)).disk == DiskSpec(
        esp_bytes=512 << 20, nix_bytes=1 << 30, root_bytes=300 << 20
    )


def test_a_root_in_memory_needs_no_partition() -> None:
    spec = combine(Host(name="h", root=Tmpfs(size="1G"), disk=Disk(root="1G")))
    assert spec.disk.root_bytes == 0


def test_name_time_zone_and_locale_become_files() -> None:
    spec = combine(Host(name="h", timezone="Europe/Zurich"))
    assert entry(spec, "/etc/hostname") == FileSpec(path="/etc/hostname", content=b"h\n")
    assert entry(spec, "/etc/localtime") == LinkSpec(path="/etc/localtime", target="/usr/share/zoneinfo/Europe/Zurich")
    assert entry(spec, "/etc/timezone") == FileSpec(path="/etc/timezone", content=b"Europe/Zurich\n")
    assert entry(spec, "/etc/locale.conf") == FileSpec(path="/etc/locale.conf", content=b"LANG=C.UTF-8\n")


def test_a_file_that_an_option_brings_yields_to_one_declared() -> None:
    spec = combine(Host(name="h", files={"/etc/hosts": "127.0.0.1 localhost\n", "/etc/resolv.conf": Link("x")}))
    assert entry(spec, "/etc/hosts") == FileSpec(path="/etc/hosts", content=b"127.0.0.1 localhost\n")
    assert entry(spec, "/etc/resolv.conf") == LinkSpec(path="/etc/resolv.conf", target="x")


def test_settings_modules_and_hosts_unite_by_key() -> None:
    parts = [
        Part(sysctl={"vm.swappiness": 10, "kernel.panic": default("5")}, kernel_modules=["kvm", "loop"]),
        Part(sysctl={"vm.swappiness": "10", "kernel.panic": 1}, hosts={"192.0.2.5": ["db", "db.example.org"]}),
        Part(kernel_modules=["loop"], hosts={"192.0.2.5": ["db", "cache"]}),
    ]
    spec = combine(Host(name="h", parts=parts))
    sysctl = entry(spec, "/etc/sysctl.d/60-anicca.conf")
    assert sysctl == FileSpec(path=sysctl.path, content=b"kernel.panic = 1\nvm.swappiness = 10\n")
    modules = entry(spec, "/etc/modules-load.d/anicca.conf")
    assert modules == FileSpec(path=modules.path, content=b"kvm\nloop\n")
    hosts = entry(spec, "/etc/hosts")
    assert isinstance(hosts, FileSpec)
    assert hosts.content.endswith(b"\n192.0.2.5 cache db db.example.org\n")
    assert b"127.0.1.1 h\n" in hosts.content


def test_two_values_of_one_setting_conflict() -> None:
    parts = [Part(sysctl={"kernel.panic": 1}, declared_at=A), Part(sysctl={"kernel.panic": 2}, declared_at=B)]
    (fault,) = faults(Host(name="h", parts=parts))
    assert fault.message == "sysctl[kernel.panic] has 2 values: '1' and '2'"


def test_networks() -> None:
    spec = combine(Host(name="h", network=Dhcp(interfaces=["lan0"])))
    text = b"[Match]\nName=lan0\n\n[Network]\nDHCP=yes\n"
    assert entry(spec, "/etc/systemd/network/80-dhcp.network") == FileSpec(
        path="/etc/systemd/network/80-dhcp.network", content=text
    )
    assert unit(spec, "systemd-networkd.service").state == "enabled"
    static = Static(addresses=["192.0.2.7/24", "2001:db8::7/64"], gateways=["192.0.2.1"], dns=["192.0.2.53"])
    spec = combine(Host(name="h", network=static))
    found = entry(spec, "/etc/systemd/network/80-static.network")
    assert isinstance(found, FileSpec)
    assert found.content == (
        b"[Match]\nName=en* eth*\n\n[Network]\nAddress=192.0.2.7/24\nAddress=2001:db8::7/64\n"
        b"Gateway=192.0.2.1\nDNS=192.0.2.53\n"
    )
    spec = combine(Host(name="h", network=Unmanaged()))
    assert "systemd-resolved" not in spec.packages
    assert not [each for each in spec.units if each.name.startswith("systemd-networkd")]


def test_keys_of_users_become_files_where_sshd_looks() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEZD9PhGEnCqQ+c3Z6pnTaTisSZU7yHFyxMk4TWFnWIF"
    users = [User("ann", ssh_keys=[f"{key} b\n", f"{key} a"]), User("ann", ssh_keys=[f"{key} a"])]
    spec = combine(Host(name="h", users=users))
    assert entry(spec, "/etc/ssh/authorized_keys.d/ann") == FileSpec(
        path="/etc/ssh/authorized_keys.d/ann", content=f"{key} a\n{key} b\n".encode()
    )


def test_a_directory_below_a_persisted_path_persists_with_its_owner() -> None:
    spec = combine(Host(name="h", persist=["/home"], users=[User("ann")], files={"/home/x": Directory(mode=0o750)}))
    assert spec.persist == (
        PersistSpec(path="/home"),
        PersistSpec(path="/home/ann", owner="ann", group="ann", mode=0o700),
        PersistSpec(path="/home/x", owner="root", group="root", mode=0o750),
    )
    assert not [each for each in spec.files if each.path.startswith("/home")]


def test_a_persisted_path_is_merged_field_by_field() -> None:
    parts = [Part(persist=["/var/lib/x"]), Part(persist=[Persist("/var/lib/x", owner="ann", mode=default(0o700))])]
    spec = combine(Host(name="h", users=[User("ann")], parts=parts))
    assert spec.persist == (PersistSpec(path="/var/lib/x", owner="ann", mode=0o700),)


def test_each_value_knows_its_places() -> None:
    parts = [Part(packages=["less"], declared_at=A), Part(packages=["less"], declared_at=B)]
    spec = combine(Host(name="h", parts=parts, declared_at=Place("host.py", 3)))
    assert spec.origins["packages[less]"] == (A, B)
    assert spec.origins["name"] == (Place("host.py", 3),)
    assert spec.origins["packages[systemd]"][0].file == "anicca/declare/base.py"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (Host(name=3), "Host: name is 3, not a text"),  # type: ignore[arg-type]
        (Host(name=default("h")), "Host: name is Ranked("),  # type: ignore[arg-type]
        (Host(name="h", files={"/etc/x": File("", owner=force("x"))}), "File: owner is Ranked("),  # type: ignore[arg-type]
        (Host(name="h", packages="less"), "packages is a list, but 'less' was given"),
        (Host(name="h", packages=(x for x in ["a-b"])), "packages is a list, but <generator"),  # type: ignore[arg-type]
        (Host(name="h", packages=[3]), "packages holds 3, which is not a text or absent(…)"),  # type: ignore[list-item]
        (Host(name="h", users=["ann"]), "users holds 'ann', which is not User"),  # type: ignore[list-item]
        (Host(name="h", users=[User(None)]), "User: name is None, not a text"),  # type: ignore[arg-type]
        (Host(name="h", users=[User("ann", ssh_keys="k")]), "ssh_keys is a list, but 'k' was given"),
        (Host(name="h", files=["/etc/x"]), "files is a mapping from path to File, Link,"),  # type: ignore[arg-type]
        (Host(name="h", files={"/etc/x": 3}), "files[/etc/x] is 3, not a File, Link, Directory or text"),  # type: ignore[dict-item]
        (Host(name="h", files={"/etc/x": File("", mode="0644")}), "File: mode is '0644', not a number"),  # type: ignore[arg-type]
        (Host(name="h", parts=Part()), "parts is a list, but"),  # type: ignore[arg-type]
        (Host(name="h", files={3: ""}), "files has the key 3, which is not a text"),  # type: ignore[dict-item]
        (Host(name="h", sysctl={"a.b": []}), "sysctl[a.b] is [], not a text or a number"),  # type: ignore[dict-item]
        (Host(name="h", hosts={"192.0.2.1": "db"}), "hosts[192.0.2.1] is 'db', not a list of names"),
        (Host(name="h", hosts={"192.0.2.1": 3}), "hosts[192.0.2.1] is 3, not a list of names"),  # type: ignore[dict-item]
        (Host(name="h", network=Dhcp(interfaces="en0")), "Dhcp: interfaces is 'en0', not a list or a tuple"),
        (Host(name="h", root=Tmpfs(size=3)), "Tmpfs: size is 3, not a text"),  # type: ignore[arg-type]
        (Host(name="h", files={"/etc/x": "\ud800"}), "File: content is '\\ud800', not a text or bytes"),
        (Host(name="h", timezone=3), "timezone is 3, not a text"),  # type: ignore[arg-type]
        (
            Host(name="h", root="bcachefs"),  # type: ignore[arg-type]
            "there is no root on bcachefs: Debian 13's kernel has it, but no package of Debian 13 has its tools",
        ),
        (
            Host(name="h", root="f2fs"),  # type: ignore[arg-type]
            "root is 'f2fs', not F2fs or Btrfs or Afresh or Overlay or Nilfs2 or Tmpfs or Zfs",
        ),
        (Host(name="h", disk="8G"), "disk is '8G', not Disk"),  # type: ignore[arg-type]
        (Host(name="h", disk=Disk(nix="8 gigs")), "disk.nix is '8 gigs', not a size such as '512M' or '8G'"),
        (Host(name="h", persist=[Persist("/var/x", mode=force("x"))]), "Persist: mode is 'x', not a number"),  # type: ignore[arg-type]
    ],
)
def test_wrong_types_are_faults_with_a_place(host: Host, message: str) -> None:
    (fault, *_) = faults(host)
    assert fault.message.startswith(message)
    assert fault.places[0].file == __file__


def test_all_faults_are_raised_together_in_the_order_of_their_places() -> None:
    host = Host(
        name="h",
        timezone="nowhere at all",
        packages=["Less"],
        parts=[Part(packages="x", declared_at=B), Part(files={"etc/x": File("", declared_at=A)})],
        declared_at=Place("c.py", 3),
    )
    assert [str(fault) for fault in faults(host)] == [
        "a.py:1: 'etc/x' is relative",
        "b.py:2: packages is a list, but 'x' was given",
        "c.py:3: 'Less' is not a package's name",
        "c.py:3: 'nowhere at all' is not a time zone",
    ]
