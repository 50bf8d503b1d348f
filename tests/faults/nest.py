"""Retrievers that start in the time their work takes: `python -m tests.faults.nest` has imported everything they need.

Each line of standard input is a JSON object of environment variables; for it a child is forked that serves as `askmesh
serve retriever` does. Standard output tells "pid N" for each line, in order, and "serving N" once it serves. A campaign
starts fifty: importing takes four of the five seconds of processor time that a start costs.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import uvloop

# What a retriever of a cluster imports when it is built, here once for all. Nothing of it starts a thread.
import retriever.search.opensearch
import retriever.search.weaviate  # noqa: F401  # as above
from askmesh.serve import serving
from chassis.lifecycle import stop_signals


def say(line: str) -> None:
    """One write: a pipe keeps it whole among those of others."""
    os.write(1, f"{line}\n".encode())


async def _serve() -> None:
    with stop_signals() as stop:
        async with serving("retriever"):
            say(f"serving {os.getpid()}")
            await stop.wait()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who is killed is gone at once
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.environ.update(json.loads(line))
                uvloop.run(_serve())
            finally:
                os._exit(0)
        say(f"pid {pid}")


if __name__ == "__main__":
    main()
