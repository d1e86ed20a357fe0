"""Web pages by nginx."""

from __future__ import annotations

from anicca.declare.host import Directory, File, Link, Part, Persist, Unit
from anicca.declare.rank import default
from anicca.declare.services.system import logrotate

_SITE = """\
server {{
	listen 80{default};
	listen [::]:80{default};
	server_name {name};
	root {root};
	index index.html;
}}
"""


def nginx(page: str | bytes, *, name: str | None = None) -> Part:
    """A web server on port 80 that serves one page: to all who ask, or as the site `name`.

    Its logs persist and are rotated.
    """
    site = name or "default"
    root = f"/srv/www/{site}"
    text = _SITE.format(default="" if name else " default_server", name=name or "_", root=root)
    return Part(
        packages=["nginx-light"],
        files={
            # Debian's own default site has the same path.
            f"/etc/nginx/sites-available/{site}": default(File(text)),
            f"/etc/nginx/sites-enabled/{site}": default(Link(f"/etc/nginx/sites-available/{site}")),
            root: default(Directory()),
            f"{root}/index.html": File(page),
        },
        units=[Unit("nginx.service")],
        persist=[Persist("/var/log/nginx", "root", "adm", 0o755)],
        parts=[logrotate()],
    )
