"""A small Debian host whose root forgets everything at each boot."""

from web import web

from anicca.declare import Dhcp, Disk, F2fs, Host, Persist, User
from anicca.declare.services import ssh, sudo

PAGE = """\
<!doctype html>
<title>sundryvm</title>
<p>Nothing here is older than this boot.</p>
"""

host = Host(
    name="sundryvm",
    release="trixie",
    packages=["curl", "less"],
    users=[
        User(
            "ann",
            ssh_keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEZD9PhGEnCqQ+c3Z6pnTaTisSZU7yHFyxMk4TWFnWIF ann@example"],
            groups=["sudo"],
        ),
    ],
    timezone="Europe/Zurich",
    locale="C.UTF-8",
    network=Dhcp(),
    root=F2fs(compress_algorithm="zstd", lazytime=True),
    disk=Disk(esp="512M", nix="6G", root="2G"),
    persist=[Persist("/var/lib/notes", owner="ann", group="ann", mode=0o750)],
    parts=[
        ssh(),
        sudo(),
        web(PAGE),
    ],
)
