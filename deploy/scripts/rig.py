"""The rig: real servers and tools for tests, built once into a cache outside the tree.

`rig.py build [name ...]` makes what is missing, `rig.py status` shows what is here. What must be compiled takes every
core and is built one after another; downloads run beside it. Standard library only. The parts are in askmesh/rig.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # askmesh need not be installed yet

from askmesh.rig.catalogue import PARTS
from askmesh.rig.part import Part


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["build", "status"])
    parser.add_argument("names", nargs="*", help="default: all")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {part.name for part in PARTS}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in PARTS)}")
    parts = [part for part in PARTS if not arguments.names or part.name in arguments.names]
    is_complete = build_all(parts) if arguments.action == "build" else True
    print_status(parts)
    return 0 if is_complete else 1


def build_all(parts: Sequence[Part]) -> bool:
    """Compiled parts in one line, downloaded ones in another."""
    compiled = [part for part in parts if part.is_compiled]
    downloaded = [part for part in parts if not part.is_compiled]
    with ThreadPoolExecutor() as pool:
        lines = list(pool.map(lambda line: [build(part) for part in line], (compiled, downloaded)))
    return all(ok for line in lines for ok in line)


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


def print_status(parts: Sequence[Part]) -> None:
    print(f"{'part':<11} {'version':<14} {'used by':<28} where")
    for part in parts:
        where = part.find() or f"missing: make rig ARGS={part.name}"
        print(f"{part.name:<11} {part.version:<14} {part.used_by:<28} {where}")


if __name__ == "__main__":
    sys.exit(main())
