"""A nursery of processes that tests may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).parents[2]


class Nursery:
    """One `tests.faults.ingesting`, a child at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._pid = 0

    def start(self, mode: str, folder: Path) -> Self:
        self._write(f"{mode} {folder}")
        self._pid = int(self.line().removeprefix("pid "))
        return self

    def line(self) -> str:
        """The next line of the child, or "exit ...", when it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> list[str]:
        """kill -9; returns what it had said until then."""
        os.kill(self._pid, signal.SIGKILL)
        return self.rest()

    def rest(self) -> list[str]:
        """Everything the child says until it ends."""
        lines = []
        while not (line := self.line()).startswith("exit"):
            lines.append(line)
        self._pid = 0
        return lines

    def close(self) -> None:
        """End the child that a failed test left, and the nursery."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.faults.ingesting"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        opened = Nursery(process)
        yield opened
        opened.close()
