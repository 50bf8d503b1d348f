"""Which Host headers are served: a web page that rebinds its own name to 127.0.0.1 must not read local documents."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

ANY = "*"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class HostCheck:
    """Decides by the name alone; ports do not matter.

    Args:
        listen_host: The address the server listens on.
        allowed: Names that are served; empty: loopback names on a loopback address, any elsewhere.
    """

    def __init__(self, listen_host: str, allowed: Sequence[str] = ()) -> None:
        names = tuple(allowed) or (LOOPBACK_NAMES if is_loopback(listen_host) else (ANY,))
        self._names = frozenset(name.lower() for name in (*names, listen_host))
        self._is_any = ANY in names

    def allows(self, host: str) -> bool:
        return self._is_any or name_of(host) in self._names


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def name_of(host: str) -> str:
    """A Host header without its port and brackets, lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
