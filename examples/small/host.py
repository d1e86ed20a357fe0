"""A web server of about 25 lines."""

from anicca.declare import Dhcp, Disk, F2fs, File, Host, User
from anicca.declare.services import nginx, ssh

host = Host(
    name="small",
    release="trixie",
    packages=["curl", "less"],
    users=[
        User(
            "ann",
            ssh_keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEZD9PhGEnCqQ+c3Z6pnTaTisSZU7yHFyxMk4TWFnWIF ann@example"],
        ),
    ],
    files={"/etc/motd": File("hello I am a file\n")},
    timezone="Europe/Zurich",
    locale="C.UTF-8",
    network=Dhcp(),
    root=F2fs(compress_algorithm="zstd", lazytime=True),
    disk=Disk(esp="512M", nix="4G", root="1G"),
    persist=["/var/lib/notes"],
    parts=[ssh(), nginx(page="<p>Nothing here is older than this boot.</p>\n")],
)
