"""Embedders for tests: same port, no model."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from chassis.budget import Budget
from embedding.ports import FloatArray
from orchestrator.words import words


class WordEmbedder:
    """Texts that share words are near: a vector of hashed stems. Counts what it was given."""

    fingerprint = "words/1"
    dim = 256

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    async def embed(self, texts: Sequence[str], *, budget: Budget) -> FloatArray:
        budget.check("embed")
        self.calls.append(tuple(texts))
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in words(text):
                row[zlib.crc32(word.stem.encode()) % self.dim] += 1.0 if word.is_content else 0.1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: FloatArray = vectors / np.maximum(lengths, 1e-9, dtype=np.float32)
        return unit


class BrokenEmbedder(WordEmbedder):
    """Fails as it is told to."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def embed(self, texts: Sequence[str], *, budget: Budget) -> FloatArray:
        raise self._error
