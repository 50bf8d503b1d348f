"""A TCP proxy that does to a connection what networks and overloaded servers do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from askmesh.rig.ports import free_ports

HOST = "127.0.0.1"


class Proxy:
    """The way to one port; it lets everything pass until told otherwise.

    Attributes:
        delay_s: Waited before each piece of an answer is passed on; connections that are open obey as well.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        [self.port] = free_ports(1)
        self.delay_s = 0.0

    async def listen(self) -> None:
        """Take connections; after a refusal at the same port again."""
        self._server = await asyncio.start_server(self._relay, HOST, self.port)

    @property
    def host(self) -> str:
        return HOST

    def lead_to(self, port: int) -> None:
        """Take new connections to another port; those that are open stay."""
        self._target = port

    def refuse(self) -> None:
        """Refuse new connections and break off those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def heal(self) -> None:
        self.delay_s = 0.0
        if self._server is None:
            await self.listen()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._writers |= ends
        try:
            answers, there = await asyncio.open_connection(HOST, self._target)
            ends.add(there)
            self._writers.add(there)
            await asyncio.gather(_pump(reader, there), self._pump_late(answers, writer), return_exceptions=True)
        except OSError:
            pass  # nobody listens there: neither do we
        finally:
            self._writers -= ends
            for end in ends:
                end.close()

    async def _pump_late(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await asyncio.sleep(self.delay_s)
            writer.write(data)
            await writer.drain()
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port)
    await proxy.listen()
    try:
        yield proxy
    finally:
        proxy.refuse()


@asynccontextmanager
async def encrypted(ports: tuple[int, int], certificates: Path) -> AsyncIterator[int]:
    """A way to a server over TLS, for those who show a certificate of the same authority.

    Args:
        ports: Of those who speak no HTTP/2, and of those who do.
        certificates: A folder of askmesh.rig.certificates.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.crt")
    context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_http2 = writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        answers, there = await asyncio.open_connection(HOST, ports[is_http2])
        try:
            await asyncio.gather(_pump(reader, there), _pump(answers, writer), return_exceptions=True)
        finally:
            writer.transport.abort()
            there.transport.abort()

    async with await asyncio.start_server(relay, HOST, 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
