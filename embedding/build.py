"""Builds a model from the packaged weights: `python -m embedding.build [--precision int8|fp32] [--graph embedding]`.

Prints progress to stderr and, last, the model's folder to stdout. A second call finds the folder and returns. It
appears by one rename, so a killed build leaves nothing that could be taken for a model.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chassis.errors import EmbedderUnavailable
from embedding.manifest import Graph, ModelFiles, Precision, SourceFiles, fingerprint
from embedding.models import NO_WEIGHTS, find_model, places, subfolder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default=Precision.INT8)
    parser.add_argument("--graph", type=Graph, choices=list(Graph), default=Graph.EMBEDDING)
    parser.add_argument("--into", type=Path, help="parent folder; default: the virtual environment or the user's cache")
    arguments = parser.parse_args()
    try:
        wanted = (arguments.precision, arguments.into, arguments.graph)
        folder = existing(*wanted) or build(*wanted)
    except EmbedderUnavailable as exc:
        say(f"embedding model: {exc}")
        return NO_WEIGHTS
    print(folder)
    return 0


def existing(precision: Precision, into: Path | None, graph: Graph = Graph.EMBEDDING) -> Path | None:
    """A built and undamaged model; a damaged one is removed so that it is built anew."""
    found = find_model(precision, graph) if into is None else ModelFiles(into / subfolder(precision, graph))
    if found is None or not found.folder.is_dir():
        return None
    try:
        found.verify()
    except EmbedderUnavailable as exc:
        say(f"embedding model: {exc}; building it again")
        shutil.rmtree(found.folder, ignore_errors=True)
        return None
    return found.folder


def build(precision: Precision, into: Path | None, graph: Graph = Graph.EMBEDDING) -> Path:
    start = time.monotonic()
    say(f"embedding model: checking the weights of {fingerprint(precision, graph)}")
    source = SourceFiles.locate()
    source.verify()
    parent = into or first_writable()
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".building-") as folder:
        draft = ModelFiles(Path(folder) / "model")
        draft.folder.mkdir()
        say(f"embedding model: writing the {precision.value} {graph.value} graph")
        write_graph(source.weights, precision, graph, draft.graph)
        shutil.copyfile(source.tokenizer, draft.tokenizer)
        draft.seal()
        target = publish(draft.folder, parent / subfolder(precision, graph))
    say(f"embedding model: built in {time.monotonic() - start:.1f} s")
    return target


def write_graph(weights: Path, precision: Precision, graph: Graph, target: Path) -> None:
    # Here and not above: a build that finds its model need not load onnx (1 s).
    import onnx  # noqa: PLC0415
    from safetensors.numpy import load_file  # noqa: PLC0415

    from embedding import graph as embedding_graph  # noqa: PLC0415
    from embedding import late_interaction  # noqa: PLC0415

    builder = embedding_graph if graph is Graph.EMBEDDING else late_interaction
    onnx.save(builder.build_model(load_file(weights), precision), target)


def publish(draft: Path, target: Path) -> Path:
    try:
        return draft.rename(target)
    except OSError:
        if target.is_dir():  # another process was first; both built the same bytes
            return target
        raise


def first_writable() -> Path:
    for place in places():
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                return place
        except OSError:
            continue
    raise EmbedderUnavailable("no folder for the embedding model can be written: set XDG_CACHE_HOME to one that can")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
