"""Where built models live: found, or built on first use in a process of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from chassis.errors import EmbedderUnavailable
from embedding.manifest import MANIFEST_FILE, Graph, ModelFiles, Precision, fingerprint

NO_WEIGHTS = 3  # embedding.build's exit code for it; deploy/scripts/setup_env.py knows it too


def places() -> Iterator[Path]:
    """Folders that may hold models, in the order they are searched and tried for writing.

    The virtual environment first: it travels with the checkout or the image whatever HOME is, and goes away with it.
    Then the user's cache, for installations that are read-only or not in a virtual environment.
    """
    if sys.prefix != sys.base_prefix:
        yield Path(sys.prefix) / "share" / "askmesh" / "models"
    cache = os.environ.get("XDG_CACHE_HOME")
    yield (Path(cache) if cache else Path.home() / ".cache") / "askmesh" / "models"


def subfolder(precision: Precision, graph: Graph = Graph.EMBEDDING) -> str:
    return fingerprint(precision, graph).replace("/", "-")


def find_model(precision: Precision, graph: Graph = Graph.EMBEDDING) -> ModelFiles | None:
    """A built model, not yet verified; None when there is none."""
    folders = (place / subfolder(precision, graph) for place in places())
    return next((ModelFiles(folder) for folder in folders if (folder / MANIFEST_FILE).is_file()), None)


async def ensure_model(precision: Precision, graph: Graph = Graph.EMBEDDING) -> ModelFiles:
    """The built model; builds it (a few seconds) when this machine has none.

    Raises:
        EmbedderUnavailable: the weights are not installed or damaged, or no folder can be written.
    """
    if found := find_model(precision, graph):
        return found
    # In a process of its own: `onnx` would leave 300 MiB behind in the server.
    command = (sys.executable, "-m", "embedding.build", "--precision", precision.value, "--graph", graph.value)
    process = await asyncio.create_subprocess_exec(*command)
    code = await process.wait()
    if built := find_model(precision, graph):
        return built
    why = "its weights are not installed" if code == NO_WEIGHTS else "see the lines above"
    raise EmbedderUnavailable(f"the {graph.value} model could not be built, {why}")
