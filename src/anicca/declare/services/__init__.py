"""Parts for services: each brings its package, its units, its files and the paths where its state is kept.

What a part says in files and units' texts is said as default: to change it, declare the same path plainly.
"""

from anicca.declare.services.nginx import nginx
from anicca.declare.services.postgresql import postgresql
from anicca.declare.services.ssh import ssh
from anicca.declare.services.ssl_cert import ssl_cert
from anicca.declare.services.system import journal, logrotate, nftables, sudo, timesync
from anicca.declare.services.tool import tool

__all__ = ["journal", "logrotate", "nftables", "nginx", "postgresql", "ssh", "ssl_cert", "sudo", "timesync", "tool"]
