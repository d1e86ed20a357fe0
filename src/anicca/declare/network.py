"""How a host gets its addresses. Names are resolved by systemd-resolved in every case but `Unmanaged`."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003
from dataclasses import dataclass, field

from anicca.declare.location import here
from anicca.errors import Place  # noqa: TC001

WIRED = ("en*", "eth*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dhcp:
    """Addresses from the network itself."""

    interfaces: Sequence[str] = WIRED
    """Names of interfaces, as shell patterns."""
    declared_at: Place = field(default_factory=here, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """Addresses of the declaration's choosing, each with its prefix length: `192.0.2.7/24`, `2001:db8::7/64`."""

    addresses: Sequence[str]
    gateways: Sequence[str] = ()
    dns: Sequence[str] = ()
    interfaces: Sequence[str] = WIRED
    declared_at: Place = field(default_factory=here, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmanaged:
    """Nothing: the declaration's own files and packages see to the network."""

    declared_at: Place = field(default_factory=here, compare=False, repr=False)


Network = Dhcp | Static | Unmanaged
