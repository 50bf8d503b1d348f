"""What the services need from an embedder; embedding.onnx is the one in process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chassis.budget import Budget

__all__ = ["Embedder", "FloatArray", "TokenSpans"]

FloatArray = NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into unit vectors. Vectors of different fingerprints must never meet in one index."""

    @property
    def fingerprint(self) -> str:
        """Weights, precision and recipe in one short string, such as `minilm-l6-v2/int8-dyn-perchannel-rr/1a2b3c4d`."""
        ...

    @property
    def dim(self) -> int:
        """Length of every vector."""
        ...

    async def embed(self, texts: Sequence[str], *, budget: Budget) -> FloatArray:
        """Encode texts as unit vectors, in input order.

        A text's vector does not depend on the texts beside it.

        Args:
            texts: Any number; each is cut at the model's window (256 tokens for MiniLM), which is not an error.
            budget: Time left for the whole call.
        Returns:
            float32, shape (len(texts), dim), each row L2-normalised.
        Raises:
            InvalidRequest: a text is empty or blank.
            DeadlineExceeded: the budget was spent before the last text was encoded.
            EmbedderUnavailable: the model cannot be run; callers go on with lexical search alone.
        """
        ...


class TokenSpans(Protocol):
    """The model's own view of a text, for chunkers that cut by tokens."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end character offsets of every token, in order; no special tokens, nothing truncated."""
        ...

    def count(self, text: str) -> int:
        """How many tokens `text` has, special tokens not counted."""
        ...
