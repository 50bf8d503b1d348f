"""Addresses of one mesh on the loopback network: each workload of it has its own, as a pod has.

Linux answers on all of 127.0.0.0/8. A mesh takes a block of 254 addresses that no other process of this machine has
taken the same way; so a workload's ports can be those of its manifests, and several meshes run side by side.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

# 127.0.0.x is everybody's; the second byte keeps away from what people pick by hand.
SECOND = range(64, 128)
GUARD = 254  # whoever listens on this host of a block, at this port, has the block
GUARD_PORT = 15_999
ATTEMPTS = 100


class NoAddresses(Exception):
    """Every block that was tried is taken, or this system has only 127.0.0.1."""


@contextmanager
def block() -> Iterator[Iterator[str]]:
    """Addresses, each given out once; the block is free again at the end. Raises NoAddresses."""
    for _ in range(ATTEMPTS):
        prefix = f"127.{random.choice(SECOND)}.{random.randrange(256)}"
        with socket.socket() as guard:
            try:
                guard.bind((f"{prefix}.{GUARD}", GUARD_PORT))
            except OSError:
                continue
            guard.listen()
            yield (f"{prefix}.{host}" for host in range(1, GUARD))
            return
    raise NoAddresses("no free block of loopback addresses: stop other meshes of the rig")
