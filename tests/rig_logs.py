"""What the servers of a failed test said last: pytest shows it under the failure. tests/conftest.py has the hook."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from askmesh.rig.process import Server

TAIL_BYTES = 2_000


def servers_among(values: Iterable[object]) -> list[Server]:
    """Servers that are fixtures, or attributes of one (a cluster's), each once."""
    return list(dict.fromkeys(server for value in values for server in _servers_of(value)))


def _servers_of(value: object) -> Iterator[Server]:
    if isinstance(value, Server):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _servers_of(getattr(value, field.name))


def sections_of(servers: Iterable[Server]) -> list[tuple[str, str]]:
    """A titled end of each server's log, as a report's sections."""
    return [
        (f"log of {server.name}, whole in {server.log}", _tail(server)) for server in servers if server.log.exists()
    ]


def _tail(server: Server) -> str:
    return server.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
