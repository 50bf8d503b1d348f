"""Ports for the rig's servers.

A server is told its ports before it opens them, and keeps them when it is started again. Port 0 would give one of the
range that the kernel also takes the near end of outgoing connections from: on a machine that runs a mesh, some
connection has the port before the server does. So they come from below that range.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

FIRST = 17_000  # above those a mesh listens on with its own addresses: 15001 and the like
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
OUTGOING_FIRST = 32_768  # the kernel's default
ATTEMPTS = 1_000

_given: set[int] = set()  # to one process never twice: what was given may not be open yet


class NoPorts(Exception):
    """All that were tried are taken."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, all different, and none that was given before. Raises NoPorts."""
    return [_free_port() for _ in range(count)]


def _free_port() -> int:
    candidates = _candidates()
    for _ in range(ATTEMPTS):
        port = random.choice(candidates)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise NoPorts(f"no free port from {candidates.start} to {candidates.stop - 1}: stop other servers of the rig")


def _candidates() -> range:
    try:
        first_outgoing = int(OUTGOING.read_text().split()[0])
    except OSError:  # not Linux
        first_outgoing = OUTGOING_FIRST
    # Where outgoing connections may have nearly every port, nothing below them is left to choose from.
    return range(FIRST, first_outgoing if first_outgoing > FIRST + ATTEMPTS else OUTGOING_FIRST)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))  # on every address: some servers of the rig open it on all
        except OSError:
            return False
    return True
