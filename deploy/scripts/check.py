"""Runs every static check, one line and one time per step; the output of a step shows only when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
RELEASED = "protos/released/v1.binpb"
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ruff format", ("ruff", "format", "--check", ".")),
    ("ruff check", ("ruff", "check", ".")),
    ("mypy --strict", ("mypy",)),
    ("import rules", ("lint-imports",)),
    ("buf lint", ("buf", "lint")),
    ("buf format", ("buf", "format", "protos", "--diff", "--exit-code")),
    ("buf breaking", ("buf", "breaking", "protos", "--against", RELEASED)),
    ("gen/ is current", ("python", "deploy/scripts/generate.py", "--check")),
)


def main() -> int:
    failed = [name for name, command in STEPS if not passes(name, command)]
    print(
        f"check: {len(STEPS) - len(failed)} of {len(STEPS)} passed"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


def passes(name: str, command: tuple[str, ...]) -> bool:
    start = time.monotonic()
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name:<16} {time.monotonic() - start:5.1f} s", flush=True)
    if done.returncode != 0:
        print(done.stdout, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
