"""A real installation in a process of its own: what the system tests and the benchmarks talk to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

START_LIMIT_S = 60.0  # a loaded 2-core machine; alone it takes 2 s


@dataclass
class Installation:
    """A running `askmesh up`: where it listens, and what it printed."""

    process: subprocess.Popen[str]
    url: str = ""
    grpc: str = ""
    lines: list[str] = field(default_factory=list)


def start(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Installation:
    """Start `askmesh up` on free ports and wait until it says where it listens."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "askmesh",
            "up",
            "--http-port",
            "0",
            "--grpc-port",
            "0",
            "--data",
            str(folder),
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {}), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
    )
    made = Installation(process)
    reader = threading.Thread(target=_read, args=(made,), daemon=True)
    reader.start()
    deadline = time.monotonic() + START_LIMIT_S
    while not (made.url and made.grpc):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(made)
            raise AssertionError("askmesh up did not start:\n" + "\n".join(made.lines))
        reader.join(timeout=0.05)
    return made


def stop(made: Installation, limit_s: float = 30.0) -> int:
    """SIGTERM, then wait; the exit code."""
    if made.process.poll() is None:
        made.process.terminate()
    try:
        return made.process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        made.process.kill()
        return made.process.wait()
    finally:
        if made.process.stdout:
            made.process.stdout.close()


def _read(made: Installation) -> None:
    assert made.process.stdout is not None
    try:
        for line in made.process.stdout:
            made.lines.append(line.rstrip("\n"))
            if found := re.search(r"page and REST\s+(http://\S+)", line):
                made.url = found[1]
            if found := re.search(r"gRPC\s+(\S+:\d+)", line):
                made.grpc = found[1]
    except ValueError:  # closed while reading: the test is over
        return


def wait_for(made: Installation, words: str, limit_s: float = START_LIMIT_S) -> None:
    """Return when the process has printed a line with these words."""
    deadline = time.monotonic() + limit_s
    while not any(words in line for line in made.lines):
        if made.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"it never printed {words!r}:\n" + "\n".join(made.lines))
        time.sleep(0.05)  # another process's progress has no event to wait for
