"""The HTTP server itself: hosts, slow and endless headers, taken ports, files, drains."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

import gateway as package
from chassis.errors import PortInUse
from chassis.settings import load
from gateway.app import build
from gateway.http_server import GuardedProtocol
from gateway.settings import GatewaySettings

FOLDER = Path(package.__file__).parent


async def raw(gateway, data, *, half_way=0.0):
    """What the server says to these bytes, until it closes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        await asyncio.sleep(half_way)
        return await reader.read()
    finally:
        writer.close()


async def test_a_taken_port_is_told_as_such():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = load(GatewaySettings, port=taken.getsockname()[1])
        with pytest.raises(PortInUse, match="choose another port"):
            async with build(settings):
                pass


async def test_headers_that_do_not_end_in_time_are_cut_off(started):
    async with started(header_timeout_s=0.1) as (gateway, _):
        async with asyncio.timeout(5):
            assert (await raw(gateway, b"GET /healthz HTTP/1.1\r\nhost: 127")).startswith(b"HTTP/1.1 408 ")
            assert (await raw(gateway, b"")).startswith(b"HTTP/1.1 408 ")


async def test_headers_that_do_not_end_at_all_are_cut_off(gateway):
    async with asyncio.timeout(5):
        answer = await raw(gateway, b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 100_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_second_slow_request_on_a_connection_is_cut_off_too(started):
    async with started(header_timeout_s=0.1) as (gateway, _):
        first = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
        async with asyncio.timeout(5):
            answer = await raw(gateway, first + b"GET /healthz HTTP/1.1\r\nhost: lo")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


async def test_a_body_that_trickles_after_its_refusal_does_not_hold_the_connection(started):
    async with started(keep_alive_s=1) as (gateway, _):
        async with asyncio.timeout(10):
            head = b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999999\r\n\r\n"
            answer = await raw(gateway, head + b"x" * 10)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def keep_sending(writer):
    """Never reads: what stays in the sockets' buffers is a part of what was asked for."""
    while True:
        await asyncio.sleep(0.3)
        writer.write(b" ")
        await writer.drain()


async def test_a_caller_who_asks_and_does_not_read_is_cut_off(gateway, monkeypatch):
    monkeypatch.setattr(GuardedProtocol, "write_stall_s", 0.1)
    host, port = gateway.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 1_000)
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(keep_sending(writer), timeout=20)
    writer.close()


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1:80", ""])
async def test_a_local_gateway_serves_loopback_names_only(client, host):
    response = await client.get("/v1/documents", headers={"host": host})
    assert (response.status_code, response.json()["error"]["reason"]) == (421, "PERMISSION_DENIED")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080"])
async def test_every_loopback_name_is_served(client, host):
    assert (await client.get("/healthz", headers={"host": host})).status_code == 200


async def test_other_names_are_served_when_a_setting_says_so(started):
    async with started(allowed_hosts="docs.example, localhost") as (_, client):
        assert (await client.get("/healthz", headers={"host": "docs.example:443"})).status_code == 200
        assert (await client.get("/healthz", headers={"host": "evil.example"})).status_code == 421


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/openapi.json"])
async def test_pages_are_served_with_a_strict_policy(client, path):
    response = await client.get(path)
    assert response.status_code == 200
    assert response.headers["content-security-policy"].startswith("default-src 'self'")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


async def test_an_unchanged_file_is_not_sent_again(client):
    etag = (await client.get("/openapi.json")).headers["etag"]
    response = await client.get("/openapi.json", headers={"if-none-match": f'"other", W/{etag}'})
    assert (response.status_code, response.content) == (304, b"")


async def test_head_has_the_headers_and_no_body(client):
    response = await client.head("/openapi.json")
    assert response.status_code == 200
    assert int(response.headers["content-length"]) > 1000
    assert response.content == b""


@pytest.mark.parametrize("folder", ["docs_page", "web"])
async def test_no_page_runs_anything_inline_or_from_elsewhere(folder):
    for page in (FOLDER / folder).rglob("*.html"):
        text = page.read_text("utf-8")
        assert "<script>" not in text
        assert " onclick=" not in text
        assert "https://" not in text
        assert "style=" not in text


@pytest.mark.parametrize(
    "path",
    [b"/../settings.py", b"/docs/../../settings.py", b"/docs/%2e%2e/app.py", b"//etc/passwd", b"/docs/..%2fapp.py"],
)
async def test_no_path_leads_out_of_the_pages(gateway, path):
    request = b"GET " + path + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    answer = await raw(gateway, request)
    assert answer.split(b" ")[1] in {b"404", b"400"}


async def test_a_draining_gateway_is_not_ready_and_ends_what_is_open(started, seen):
    async with started(drain_s=5) as (gateway, client):
        asking = asyncio.create_task(client.post("/v1/ask", json={"prompt": "wait"}))
        async with asyncio.timeout(5):
            await seen.started.wait()
        await gateway.drain()
        seen.release.set()
        response = await asking
    assert response.status_code == 200
