"""Every fault's text, place and hint."""

from __future__ import annotations

import pytest

from anicca.declare import (
    Afresh,
    Btrfs,
    Dhcp,
    Directory,
    Disk,
    F2fs,
    File,
    Group,
    Host,
    Link,
    Nilfs2,
    Part,
    Persist,
    Static,
    Tmpfs,
    Unit,
    User,
    Zfs,
)
from anicca.declare.check import check_ids
from anicca.declare.combine import combine
from anicca.declare.services import ssh, sudo
from anicca.errors import DeclarationError, Fault, Place

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEZD9PhGEnCqQ+c3Z6pnTaTisSZU7yHFyxMk4TWFnWIF"
A, B, C = Place("a.py", 1), Place("b.py", 2), Place("c.py", 3)


def only_fault(host: Host) -> Fault:
    with pytest.raises(DeclarationError) as caught:
        combine(host)
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("etc/motd", "'etc/motd' is relative", "meant is /etc/motd?"),
        ("./motd", "'./motd' is relative", "meant is /motd?"),
        ("/etc//motd", "'/etc//motd' is not normalised", "write /etc/motd"),
        ("//etc/motd", "'//etc/motd' is not normalised", "write /etc/motd"),
        ("/etc/x/../motd", "'/etc/x/../motd' is not normalised", "write /etc/motd"),
        ("/etc/motd/", "'/etc/motd/' is not normalised", "write /etc/motd"),
        ("/", "'/' is the root itself", None),
        ("/etc/a\nb", "'/etc/a\\nb' has a character in it that no path here may have", None),
        ("/nix/store/x", "'/nix/store/x' is under /nix", "the store is changed by building only"),
        (
            "/usr/bin/x",
            "'/usr/bin/x' is under /usr",
            "it is the tree's and read-only: what belongs there comes from a package",
        ),
        (
            "/usr",
            "'/usr' cannot be declared",
            "it is the tree's and read-only: what belongs there comes from a package",
        ),
        ("/bin/x", "'/bin/x' is under /bin", "it is a link to usr/bin, which is the tree's"),
        ("/boot/x", "'/boot/x' is under /boot", "it is made from the generations"),
        ("/proc/x", "'/proc/x' is under /proc", "the kernel makes it"),
        ("/sys/x", "'/sys/x' is under /sys", "the kernel makes it"),
        ("/dev/x", "'/dev/x' is under /dev", "the kernel makes it"),
        (
            "/run/x",
            "'/run/x' is under /run",
            "it is made at run time: declare a line of tmpfiles.d in /etc/tmpfiles.d",
        ),
        ("/var/run/x", "'/var/run/x' is under /var/run", "it is a link to /run"),
        ("/tmp/x", "'/tmp/x' is under /tmp", "it is in memory: declare a line of tmpfiles.d in /etc/tmpfiles.d"),
        (
            "/var/lib/dpkg/x",
            "'/var/lib/dpkg/x' is under /var/lib/dpkg",
            "dpkg's database comes from the store",
        ),
        ("/etc/passwd", "'/etc/passwd' cannot be declared", "accounts are declared in users"),
        ("/etc/machine-id", "'/etc/machine-id' cannot be declared", "each machine makes its own and keeps it"),
    ],
)
def test_paths_where_no_file_may_be(path: str, message: str, hint: str | None) -> None:
    fault = only_fault(Host(name="h", files={path: File("", declared_at=A)}))
    assert fault == Fault(message=message, places=(A,), hint=hint)


@pytest.mark.parametrize("path", ["/etc/motd", "/nixos", "/usrlocal", "/srv/www/x y", "/devices", "/var/lib/ü"])
def test_paths_where_files_may_be(path: str) -> None:
    assert path in {entry.path for entry in combine(Host(name="h", files={path: ""})).files}


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("var/x", "persisted path 'var/x' is relative", "meant is /var/x?"),
        ("/var/../x", "persisted path '/var/../x' is not normalised", "write /x"),
        ("/", "persisted path '/' is the root itself", None),
        (
            "/etc/x",
            "persisted path '/etc/x' is under /etc",
            "it is read-only and made from the declaration: declare the file",
        ),
        (
            "/usr/local",
            "persisted path '/usr/local' is under /usr",
            "it is the tree's and read-only: what belongs there comes from a package",
        ),
        (
            "/tmp",
            "persisted path '/tmp' cannot be declared",
            "it is gone by its nature: put what must outlive a boot in /var/lib",
        ),
        (
            "/etc",
            "persisted path '/etc' cannot be declared",
            "it is read-only and made from the declaration: declare the file",
        ),
        ("/nix/x", "persisted path '/nix/x' is under /nix", "the store is changed by building only"),
        (
            "/run/x",
            "persisted path '/run/x' is under /run",
            "it is gone by its nature: put what must outlive a boot in /var/lib",
        ),
    ],
)
def test_paths_that_cannot_persist(path: str, message: str, hint: str | None) -> None:
    fault = only_fault(Host(name="h", persist=[Persist(path, declared_at=A)]))
    assert fault == Fault(message=message, places=(A,), hint=hint)


def test_a_file_below_a_persisted_path_is_refused_with_the_reason() -> None:
    hint = (
        "what persists belongs to the host: a declared text there could not be kept true; "
        "declare it elsewhere, or persist less"
    )
    for path in ("/var/lib/x", "/var/lib/x/deep/file"):
        host = Host(name="h", files={path: File("", declared_at=A)}, persist=[Persist("/var/lib/x", declared_at=B)])
        assert only_fault(host) == Fault(
            message=f"{path} is declared, but /var/lib/x persists", places=(A, B), hint=hint
        )


def test_persisted_paths_may_be_nested() -> None:
    spec = combine(Host(name="h", persist=["/var/log", "/var/log/nginx"]))
    assert [kept.path for kept in spec.persist] == ["/var/log", "/var/log/nginx"]


def test_nothing_persists_below_a_file() -> None:
    host = Host(
        name="h",
        persist=[Persist("/var/x", kind="f", declared_at=A), Persist("/var/x/y", declared_at=B)],
    )
    assert only_fault(host) == Fault(message="/var/x/y persists below /var/x, which is a file", places=(B, A))


def test_a_file_below_a_file_is_refused() -> None:
    host = Host(name="h", files={"/etc/x": File("", declared_at=A), "/etc/x/y": Link("z", declared_at=B)})
    assert only_fault(host) == Fault(message="/etc/x/y is below /etc/x, which is not a directory", places=(B, A))


def test_modes_are_octal() -> None:
    fault = only_fault(Host(name="h", files={"/etc/x": File("", mode=7777, declared_at=A)}))
    assert fault == Fault(message="/etc/x: 7777 is not a mode", places=(A,), hint="modes are octal: 0o7777")
    fault = only_fault(Host(name="h", files={"/etc/x": Directory(mode=-1, declared_at=A)}))
    assert fault == Fault(message="/etc/x: -1 is not a mode", places=(A,))
    fault = only_fault(Host(name="h", persist=[Persist("/var/x", mode=0o17777, declared_at=A)]))
    assert fault == Fault(message="/var/x: 8191 is not a mode", places=(A,))


def test_a_decimal_mode_that_reads_as_octal_is_a_warning() -> None:
    spec = combine(Host(name="h", files={"/etc/x": File("", mode=644, declared_at=A)}))
    assert spec.warnings == (
        Fault(message="/etc/x has mode 1204, which is 644 in decimal", places=(A,), hint="meant is 0o644?"),
    )


def test_a_link_has_a_target() -> None:
    fault = only_fault(Host(name="h", files={"/etc/x": Link("", declared_at=A)}))
    assert fault == Fault(message="/etc/x: '' is not a link's target", places=(A,))


@pytest.mark.parametrize("name", ["", "-x", "x-", "Web", "a.b", "a_b", "x" * 64])
def test_host_names(name: str) -> None:
    fault = only_fault(Host(name=name, declared_at=A))
    assert fault.message == f"{name!r} is not a host name"
    assert fault.places == (A,)
    assert fault.hint == "up to 63 of a-z, 0-9 and -, with no - at either end"


def test_releases_and_architectures() -> None:
    fault = only_fault(Host(name="h", release="potato", declared_at=A))  # type: ignore[arg-type]
    assert fault == Fault(message="release 'potato' is not supported", places=(A,), hint="supported: trixie")
    fault = only_fault(Host(name="h", architecture="vax", declared_at=A))  # type: ignore[arg-type]
    assert fault == Fault(message="architecture 'vax' is not supported", places=(A,), hint="supported: amd64")


@pytest.mark.parametrize("package", ["", "x", "Less", "less=1.0", "less (>= 1)", "less/trixie", "le ss", "-less"])
def test_package_names(package: str) -> None:
    assert only_fault(Host(name="h", packages=[package], declared_at=A)) == Fault(
        message=f"{package!r} is not a package's name",
        places=(A,),
        hint="versions are pinned by the lock; a name has a-z, 0-9, +, - and . only",
    )


def test_the_kernel_is_a_package_and_a_component_a_word() -> None:
    fault = only_fault(Host(name="h", kernel="Linux", declared_at=A))
    assert (fault.message, fault.places) == ("'Linux' is not a package's name", (A,))
    fault = only_fault(Host(name="h", components=["main contrib"], declared_at=A))
    assert fault == Fault(message="'main contrib' is not a component of an archive", places=(A,))


def test_kernel_parameters_are_one_each() -> None:
    fault = only_fault(Host(name="h", kernel_parameters=["quiet splash"], declared_at=A))
    assert fault == Fault(
        message="'quiet splash' is not one parameter of the kernel",
        places=(A,),
        hint="one in each element of kernel_parameters; quote a value that has a space",
    )
    assert combine(Host(name="h", kernel_parameters=['x="a b"'])).kernel.parameters == ('x="a b"',)


@pytest.mark.parametrize(
    ("parameter", "hint"),
    [
        ("ro", "the root is always mounted for writing: it is blank"),
        ("root=/dev/sda1", "the root is what the declaration says in root"),
        ("rootflags=checkpoint=enable", "mount options belong to the root's type"),
        ("init=/bin/sh", "the init is systemd"),
        ("systemd.firstboot=on", "it is off: no boot here is a first one to systemd"),
        ("anicca.backend=f2fs", "what begins so is anicca's own"),
    ],
)
def test_parameters_that_contradict_the_boot_are_refused(parameter: str, hint: str) -> None:
    assert only_fault(Host(name="h", kernel_parameters=[parameter], declared_at=A)) == Fault(
        message=f"{parameter!r} is not for declarations to say", places=(A,), hint=hint
    )


@pytest.mark.parametrize(
    ("host", "message", "hint"),
    [
        (
            Host(name="h", timezone="../etc/passwd"),
            "'../etc/passwd' is not a time zone",
            "such as Europe/Zurich or Etc/UTC",
        ),
        (Host(name="h", timezone=""), "'' is not a time zone", "such as Europe/Zurich or Etc/UTC"),
        (Host(name="h", locale="german"), "'german' is not a locale", "such as C.UTF-8 or de_CH.UTF-8"),
        (Host(name="h", locale="C;x"), "'C;x' is not a locale", "such as C.UTF-8 or de_CH.UTF-8"),
        (Host(name="h", root=Tmpfs(size="lots")), "'lots' is not the size of a tmpfs", "such as 50% or 2G"),
        (
            Host(name="h", root=F2fs(compress_algorithm="gzip")),  # type: ignore[arg-type]
            "F2fs: compress_algorithm is 'gzip'",
            "zstd or lz4 or lzo or lzo-rle or None",
        ),
        (
            Host(name="h", root=Afresh("ntfs")),  # type: ignore[arg-type]
            "Afresh: filesystem is 'ntfs'",
            "ext4 or xfs or f2fs or btrfs",
        ),
        (
            Host(name="h", root=F2fs(compress=True, compress_algorithm=None)),
            "F2fs: compress without a compress_algorithm",
            "zstd or lz4",
        ),
        (Host(name="h", root=Btrfs(keep=-1)), "Btrfs: keep and keep_days are numbers from 0 on", None),
        (
            Host(name="h", root=Afresh("xfs"), disk=Disk(root="200M")),
            "disk.root is 209715200 bytes",
            "at least 320M is needed",
        ),
        (
            Host(name="h", kernel_parameters=["resume=UUID=1"]),
            "'resume=UUID=1' is not for declarations to say",
            "what memory holds of the root would not fit the root, which is reset",
        ),
        (
            Host(name="h", units=[Unit("var-swap.swap", "[Swap]\nWhat=/var/swap\n", state="static")]),
            "/var/swap is to be swap, and lies on the root, which forgets it",
            "name a partition, or a file below a persisted path",
        ),
        (
            Host(name="h", files={"/etc/fstab": File("/swap none swap sw 0 0\n/dev/vdb none swap sw 0 0\n")}),
            "/swap is to be swap, and lies on the root, which forgets it",
            "name a partition, or a file below a persisted path",
        ),
        (Host(name="h", disk=Disk(esp="1M")), "disk.esp is 1048576 bytes", "at least 64M is needed"),
        (Host(name="h", disk=Disk(nix="1M")), "disk.nix is 1048576 bytes", "at least 1024M is needed"),
        (Host(name="h", disk=Disk(root="1M")), "disk.root is 1048576 bytes", "at least 128M is needed"),
        (Host(name="h", disk=Disk(root="2147483649")), "disk.root is 2147483649 bytes", "make it whole mebibytes"),
        (
            Host(name="h", units=[Unit("ssh")]),
            "'ssh' is not a unit's name",
            "meant is ssh.service?",
        ),
        (Host(name="h", units=[Unit("a b.service")]), "'a b.service' is not a unit's name", None),
        (
            Host(name="h", units=[Unit("a.service", state="on")]),  # type: ignore[arg-type]
            "a.service: 'on' is not a unit's state",
            "enabled, disabled, masked or static",
        ),
        (
            Host(name="h", units=[Unit("a.service", "[Service]\n", state="enabled")]),
            "a.service is enabled, but its text has no [Install]",
            'add WantedBy=, or say state="static"',
        ),
        (
            Host(name="h", persist=[Persist("/var/x", kind="x")]),  # type: ignore[arg-type]
            "/var/x: kind 'x' is neither 'd' nor 'f'",
            None,
        ),
        (
            Host(name="h", kernel_modules=["a b"]),
            "'a b' is not a module of the kernel",
            None,
        ),
        (
            Host(name="h", sysctl={"net ipv4": 1}),
            "'net ipv4' = '1' is not a setting of the kernel",
            "such as net.ipv4.ip_forward",
        ),
        (Host(name="h", hosts={"db": ["192.0.2.1"]}), "'db' is not an address", "addresses are the keys"),
        (Host(name="h", hosts={"192.0.2.1": ["d b"]}), "'d b' is not a host's name", None),
        (
            Host(name="h", network=Dhcp(interfaces=["en 0"])),
            "'en 0' is not an interface's name",
            "such as en* or eth0",
        ),
        (Host(name="h", network=Dhcp(interfaces=[])), "a network without interfaces", None),
        (Host(name="h", network=Static(addresses=[])), "a static network without addresses", None),
        (
            Host(name="h", network=Static(addresses=["192.0.2.7"])),
            "'192.0.2.7' is not an interface's address",
            "an address and the length of its prefix: 192.0.2.7/24",
        ),
        (
            Host(name="h", network=Static(addresses=["2001:db8::7/64"], gateways=["gw"])),
            "'gw' is not an address",
            "such as 192.0.2.1",
        ),
        (
            Host(name="h", snapshot="ftp"),
            "'ftp' is not the address of an archive",
            "such as https://HOST/archive/{archive}/{timestamp}/{filename}",
        ),
    ],
)
def test_values_that_make_no_sense(host: Host, message: str, hint: str | None) -> None:
    fault = only_fault(host)
    assert (fault.message, fault.hint) == (message, hint)
    assert [place.file for place in fault.places] == [__file__]


def test_a_unit_is_declared_once() -> None:
    host = Host(
        name="h",
        units=[Unit("a.service", "[Service]\n", declared_at=A)],
        files={"/etc/systemd/system/a.service": File("", declared_at=B)},
    )
    assert only_fault(host) == Fault(
        message="a.service is declared as a unit and as file /etc/systemd/system/a.service",
        places=(A, B),
        hint="leave the text to one: files take drop-ins, in /etc/systemd/system/a.service.d",
    )


@pytest.mark.parametrize("name", ["", "Ann", "1ann", "an n", "-ann", "a:b", "x" * 33])
def test_user_names(name: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        combine(Host(name="h", users=[User(name, declared_at=A)]))
    fault = caught.value.faults[0]
    assert fault.message == f"{name!r} is not a user's name"
    assert fault.places == (A,)
    assert fault.hint == "up to 32 of a-z, 0-9, _ and -, with a letter or _ first"


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (User("root", home="/root"), "root is not declared: it is in every tree, its password locked"),
        (User("ann", comment="a:b"), "the comment of user ann has a colon or a newline in it"),
        (User("ann", shell="bash"), "shell 'bash' of user ann is not an absolute path"),
        (User("ann", home="home"), "home 'home' of user ann is not an absolute path"),
    ],
)
def test_users_fields(user: User, message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        combine(Host(name="h", users=[user]))
    assert message in {fault.message for fault in caught.value.faults}


def test_two_users_share_no_home() -> None:
    host = Host(
        name="h", users=[User("ann", home="/home/x", declared_at=A), User("bob", home="/home/x", declared_at=B)]
    )
    with pytest.raises(DeclarationError) as caught:
        combine(host)
    assert Fault(message="users ann and bob have one home, /home/x", places=(A, B)) in caught.value.faults


def test_group_names() -> None:
    fault = only_fault(Host(name="h", groups=[Group("No", declared_at=A)]))
    assert fault == Fault(message="'No' is not a group's name", places=(A,))


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        f"{KEY} ann@example",
        f'from="192.0.2.*",command="echo hi" {KEY} ann',
        f"restrict {KEY}",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA==",
    ],
)
def test_public_keys_are_taken(key: str) -> None:
    assert combine(Host(name="h", users=[User("ann", ssh_keys=[key])])).users[0].ssh_keys == (key,)


@pytest.mark.parametrize("key", ["", "x", "ssh-ed25519 short", "AAAAC3Nz", f"{KEY}\n{KEY}", "ssh-dss AAAA"])
def test_what_is_no_public_key_is_refused(key: str) -> None:
    fault = only_fault(Host(name="h", users=[User("ann", ssh_keys=[key], declared_at=A)]))
    assert fault.message.endswith(" is not the public key of user ann")
    assert fault.places == (A,)
    assert fault.hint == "one line of a .pub file: type, base64, comment"


def test_a_private_key_is_refused_without_being_shown() -> None:
    secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n"
    with pytest.raises(DeclarationError) as caught:
        combine(Host(name="h", users=[User("ann", ssh_keys=[secret], declared_at=A)]))
    assert "b3Blbn" not in str(caught.value)
    assert caught.value.faults[-1] == Fault(
        message="user ann has a private key among its ssh_keys",
        places=(A,),
        hint="give the line of the .pub file, and make a new key: this one was written down",
    )


def test_a_private_key_in_a_file_is_refused_without_being_shown() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n"
    fault = only_fault(Host(name="h", files={"/etc/ssl/x.pem": File(text, mode=0o600, declared_at=A)}))
    assert fault == Fault(
        message="/etc/ssl/x.pem looks like a private key",
        places=(A,),
        hint="the store is readable by all: keep secrets in a persisted path",
    )


def test_persisting_a_single_file_or_a_whole_tree_is_a_warning() -> None:
    spec = combine(
        Host(name="h", persist=[Persist("/var/lib/x/db", kind="f", declared_at=A), Persist("/home", declared_at=B)])
    )
    assert spec.warnings == (
        Fault(
            message="/var/lib/x/db persists as a single file",
            places=(A,),
            hint="programs that save by renaming cannot replace it: persist its directory",
        ),
        Fault(
            message="/home persists whole",
            places=(B,),
            hint="whatever is written there stays: persist the directories that you mean",
        ),
    )


def test_the_limits_of_nilfs2_are_a_warning() -> None:
    spec = combine(Host(name="h", root=Nilfs2()))
    assert [fault.message for fault in spec.warnings] == [
        "nilfs2 cannot be taken back to a snapshot, nor keep extended attributes: what is written is in memory"
    ]
    assert spec.warnings[0].places[0].line > 0


def test_zfs_comes_from_contrib_and_nobody_takes_packages_from_there_unasked() -> None:
    assert only_fault(Host(name="h", root=Zfs(declared_at=A))) == Fault(
        message="Zfs: zfs-dkms and zfsutils-linux are in Debian's contrib",
        places=(A,),
        hint='take packages from there too: components=["contrib"]',
    )
    spec = combine(Host(name="h", root=Zfs(), components=["contrib"]))
    assert spec.warnings == ()
    # The tree has nothing of it.
    assert spec.packages == combine(Host(name="h", root=Tmpfs())).packages


def test_keys_and_groups_that_are_of_no_use_are_warnings() -> None:
    user = User("ann", ssh_keys=[KEY], groups=["sudo"], declared_at=A)
    assert combine(Host(name="h", users=[user])).warnings == (
        Fault(
            message="user ann has SSH keys, but nothing lets anybody log in over SSH",
            places=(A,),
            hint="add ssh() to parts",
        ),
        Fault(
            message="user ann is in the group sudo, but nothing brings the program",
            places=(A,),
            hint="add sudo() to parts",
        ),
    )
    assert combine(Host(name="h", users=[user], parts=[ssh(), sudo()])).warnings == ()


USERS, GROUPS = {"root", "www-data"}, {"root", "adm", "sudo", "www-data"}


def id_faults(host: Host) -> tuple[Fault, ...]:
    with pytest.raises(DeclarationError) as caught:
        check_ids(combine(host), USERS, GROUPS)
    return caught.value.faults


def test_an_undeclared_group_on_a_file_is_refused_with_near_names() -> None:
    assert id_faults(Host(name="h", files={"/etc/x": File("", group="ww-data", declared_at=A)})) == (
        Fault(message="undeclared group ww-data on file /etc/x", places=(A,), hint="is it www-data?"),
    )


def test_an_owner_that_nobody_knows_is_refused() -> None:
    hint = "declare it, or install the package that brings the user"
    assert id_faults(Host(name="h", files={"/srv/x": Directory(owner="zorro", declared_at=A)})) == (
        Fault(message="undeclared user zorro on directory /srv/x", places=(A,), hint=hint),
    )
    assert id_faults(Host(name="h", persist=[Persist("/srv/x", owner="zorro", group="zorro", declared_at=A)])) == (
        Fault(message="undeclared user zorro on persisted path /srv/x", places=(A,), hint=hint),
        Fault(
            message="undeclared group zorro on persisted path /srv/x",
            places=(A,),
            hint="declare it, or install the package that brings the group",
        ),
    )


def test_unknown_groups_of_users_and_members_of_groups_are_refused() -> None:
    host = Host(
        name="h",
        users=[User("ann", groups=["sudoo"], declared_at=A)],
        groups=[Group("notes", members=["anne"], declared_at=B)],
    )
    assert id_faults(host) == (
        Fault(message="undeclared group sudoo on user ann", places=(A,), hint="is it sudo?"),
        Fault(message="undeclared user anne on group notes", places=(B,), hint="is it ann?"),
    )


def test_declared_and_known_names_pass() -> None:
    spec = combine(
        Host(
            name="h",
            users=[User("ann", groups=["adm", "notes"])],
            parts=[Part(groups=[Group("notes", members=["www-data"])])],
            files={"/srv/x": File("", owner="ann", group="notes"), "/srv/y": Link("x")},
            persist=[Persist("/var/x", "www-data", "ann")],
        )
    )
    check_ids(spec, USERS, GROUPS)
