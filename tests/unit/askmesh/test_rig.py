"""The rig: a server's life, and what is said where a part is missing."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from askmesh.rig import redis
from askmesh.rig.part import RigMissing, Wheel, folder_part, unpack_wheels
from askmesh.rig.process import Recipe, RigFailed, Server, running
from askmesh.rig.redis import running_redis
from tests.rig_servers import rigged

ROOT = Path(__file__).resolve().parents[3]


async def ask(server, line=b"PING\r\n"):
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(line)
        async with asyncio.timeout(1.0):
            return await reader.readline()
    finally:
        writer.close()


async def test_a_server_answers_when_it_is_entered_and_is_gone_when_it_is_left(tmp_path):
    async with rigged(lambda: running_redis(tmp_path)) as server:
        assert await ask(server) == b"+PONG\r\n"
        assert server.url == f"redis://127.0.0.1:{server.port}"
    assert not server.is_running
    with pytest.raises(ConnectionRefusedError):
        await ask(server)


async def test_a_killed_server_starts_again_on_its_port(tmp_path):
    async with rigged(lambda: running_redis(tmp_path)) as server:
        port = server.port
        server.kill()
        assert not server.is_running
        await server.start()
        assert server.port == port
        assert await ask(server) == b"+PONG\r\n"


async def test_a_paused_server_accepts_and_says_nothing(tmp_path):
    async with rigged(lambda: running_redis(tmp_path)) as server:
        server.pause()
        with pytest.raises(TimeoutError):
            await ask(server)
        server.resume()
        assert await ask(server) == b"+PONG\r\n"


async def never_ready(server: Server) -> bool:
    return False


def recipe(script, **options):
    return Recipe("odd", "1", ["main"], lambda ports: [sys.executable, "-c", script], never_ready, **options)


async def test_a_server_that_ends_at_once_is_reported_with_the_end_of_its_log(tmp_path):
    with pytest.raises(RigFailed, match="no such licence"):
        async with running(recipe("print('no such licence')"), tmp_path):
            pytest.fail("it never answered")


async def test_a_server_that_never_answers_is_ended_when_its_time_is_over(tmp_path):
    server = Server(recipe("import time; time.sleep(60)", start_s=0.2), tmp_path)
    with pytest.raises(RigFailed, match="not ready in"):
        await server.start()
    assert not server.is_running


def test_a_part_that_is_missing_says_in_one_line_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("ASKMESH_RIG", str(tmp_path))
    part = folder_part("thing", "1", used_by="tests", proof="thing", make=lambda folder: None)
    with pytest.raises(RigMissing, match=r"^thing is not on this machine: run `make rig ARGS=thing`$"):
        part.require()


def test_a_build_that_fails_halfway_leaves_nothing_that_looks_built(monkeypatch, tmp_path):
    monkeypatch.setenv("ASKMESH_RIG", str(tmp_path))

    def make(folder):
        (folder / "half").touch()
        raise OSError("the disk is full")

    part = folder_part("thing", "1", used_by="tests", proof="half", make=make)
    with pytest.raises(OSError, match="disk is full"):
        part.build()
    assert part.find() is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel that pip finds without a network."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    file = shelf / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("thing/library.so", b"machine code")
        archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("thing-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return file


def test_a_wheel_of_the_pinned_bytes_is_unpacked(wheel, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    unpack_wheels([Wheel("thing==1.0", hashlib.sha256(wheel.read_bytes()).hexdigest())], folder)
    assert (folder / "thing" / "library.so").read_bytes() == b"machine code"


def test_a_wheel_of_other_bytes_is_refused(wheel, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        unpack_wheels([Wheel("thing==1.0", "0" * 64)], folder)
    assert list(folder.iterdir()) == []


def test_the_rig_runs_on_a_bare_python():
    script = ROOT / "deploy" / "scripts" / "rig.py"
    shown = subprocess.run([sys.executable, "-I", "-S", script, "status"], capture_output=True, text=True, check=True)
    assert f"redis       {redis.VERSION} " in shown.stdout
