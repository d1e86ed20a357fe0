"""What a host may say, how sayings combine, and the spec that comes of it: pure data.

The words of a `host.py` are re-exported here. Knows nothing of packages' contents, of the store or of disks; only
`load` touches the world.
"""

from anicca.declare.host import (
    Absent,
    Directory,
    Disk,
    File,
    Group,
    Host,
    Link,
    Part,
    Persist,
    Unit,
    User,
    absent,
)
from anicca.declare.network import Dhcp, Static, Unmanaged
from anicca.declare.rank import default, force
from anicca.declare.root import Afresh, Btrfs, F2fs, Nilfs2, Overlay, Tmpfs, Zfs
from anicca.declare.undeclared import Remember, Rule

__all__ = [
    "Absent",
    "Afresh",
    "Btrfs",
    "Dhcp",
    "Directory",
    "Disk",
    "F2fs",
    "File",
    "Group",
    "Host",
    "Link",
    "Nilfs2",
    "Overlay",
    "Part",
    "Persist",
    "Remember",
    "Rule",
    "Static",
    "Tmpfs",
    "Unit",
    "Unmanaged",
    "User",
    "Zfs",
    "absent",
    "default",
    "force",
]
