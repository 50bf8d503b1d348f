"""OpenSearch 3.5 from its Maven artifacts: the published server and three of its modules, started by RigNode.java.

It needs a JDK of 21 or later and Maven to build, the JDK to run. Its k-NN plugin is left out: vectors are elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from askmesh.rig.part import folder_part
from askmesh.rig.process import Recipe, Server, running

VERSION = "3.5.0"
FILES = Path(__file__).parent / "files" / "opensearch"
# Of "sha256  name" lines, sorted: every jar as it was when the tests passed.
JARS_SHA256 = "bc877d2331f7421dfe4a8e8e8ebfd3df404aac1e4fc62e028a10a6551af5f41f"
JDK_LEAST = 21  # the server's class files are of that version
JDK_FOLDERS = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))
HEAP_MIB = 512  # a few hundred small indexes; the server itself takes 200
READY = "GET /_cluster/health?wait_for_status=yellow&timeout=1s HTTP/1.0\r\n\r\n"


def make(folder: Path) -> None:
    """The jars, checked, and the launcher, compiled."""
    maven = shutil.which("mvn")
    if maven is None:
        raise FileNotFoundError("Maven is needed: install it in this system's way")
    environment = {**os.environ, "JAVA_HOME": str(jdk())}
    fetch = [maven, "-q", "-B", "-f", str(FILES / "pom.xml"), "dependency:copy-dependencies"]
    fetch += ["-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}", f"-Dopensearch.version={VERSION}"]
    subprocess.run(fetch, env=environment, stdout=subprocess.DEVNULL, check=True)
    found = fingerprint(folder / "lib")
    if found != JARS_SHA256:
        raise OSError(f"the jars are not the expected ones: sha256 {found}")
    compiler = [str(jdk() / "bin" / "javac"), "-cp", f"{folder / 'lib'}/*", "-d", str(folder / "classes")]
    subprocess.run([*compiler, str(FILES / "RigNode.java")], check=True)


def fingerprint(folder: Path) -> str:
    """One sha256 over the names and contents of all jars."""
    lines = (f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in sorted(folder.glob("*.jar")))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def jdk() -> Path:
    """A JDK that is new enough: JAVA_HOME, the one on PATH, or one of those installed; the newest of several."""
    found = {home: version for home in _homes() if (version := _version(home)) >= JDK_LEAST}
    if not found:
        raise FileNotFoundError(f"a JDK of {JDK_LEAST} or later is needed (https://adoptium.net)")
    return max(found, key=lambda home: found[home])


def _homes() -> Iterator[Path]:
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    compiler = shutil.which("javac")
    if compiler is not None:
        yield Path(compiler).resolve().parents[1]
    for folder in JDK_FOLDERS:
        if folder.is_dir():
            yield from (home for each in sorted(folder.iterdir()) for home in (each, each / "Contents" / "Home"))


def _version(home: Path) -> int:
    """The major version its `release` file names; 0 where there is no JDK."""
    release = home / "release"
    if not release.is_file() or not (home / "bin" / "javac").exists():
        return 0
    named = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)
    return int(named[1]) if named else 0


PART = folder_part("opensearch", VERSION, used_by="search", proof="classes/RigNode.class", make=make)


def recipe(folder: Path, *, options: Sequence[str] = ()) -> Recipe:
    """How a node is started that keeps its data in `folder`.

    Args:
        options: Settings of the node, as "name=value".
    Raises:
        RigMissing: it is not built.
    """
    home = PART.require()

    def command(ports: Mapping[str, int]) -> list[str]:
        line = [str(jdk() / "bin" / "java"), f"-Xms{HEAP_MIB // 2}m", f"-Xmx{HEAP_MIB}m", "-XX:+UseSerialGC"]
        line += ["--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"]
        line += ["-cp", f"{home / 'classes'}:{home / 'lib'}/*", "RigNode", str(folder / "node")]
        return [*line, f"http.port={ports['http']}", *options]

    return Recipe("opensearch", VERSION, ["http"], command, _is_healthy)


def running_opensearch(folder: Path, *, options: Sequence[str] = ()) -> AbstractAsyncContextManager[Server]:
    """One node on free ports, its data in `folder`; see `recipe`."""
    return running(recipe(folder, options=options), folder)


async def _is_healthy(server: Server) -> bool:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(READY.encode())
        await writer.drain()
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
