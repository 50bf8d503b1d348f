"""BERT as its paper says, in a page of NumPy: the oracle for what is built here. Slow, fp32, one text at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from embedding.ports import FloatArray

LAYERS, HEADS, HEAD_DIM = 6, 12, 32
Weights = Mapping[str, FloatArray]
erf = np.vectorize(math.erf, otypes=[np.float32])


def embed(weights: Weights, ids: Sequence[int]) -> FloatArray:
    mean = tokens(weights, ids).mean(axis=0)
    unit: FloatArray = mean / np.linalg.norm(mean)
    return unit


def max_sim(weights: Weights, question: Sequence[int], passage: Sequence[int]) -> float:
    """Of two sequences, each with its [CLS] and [SEP], encoded apart; the question's special tokens ask nothing."""
    made = map(partial(tokens, weights), (question, passage))
    asked, said = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in made)
    return float((asked[1:-1] @ said.T).max(axis=1).mean())


def tokens(weights: Weights, ids: Sequence[int]) -> FloatArray:
    """The last layer's vector of each token."""
    words = weights["embeddings.word_embeddings.weight"][list(ids)]
    positions = weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(weights, "embeddings.LayerNorm", words + positions + weights["embeddings.token_type_embeddings.weight"][0])
    for index in range(LAYERS):
        x = layer(weights, f"encoder.layer.{index}", x)
    return x


def layer(weights: Weights, name: str, x: FloatArray) -> FloatArray:
    attended = dense(weights, f"{name}.attention.output.dense", attention(weights, f"{name}.attention.self", x))
    x = norm(weights, f"{name}.attention.output.LayerNorm", x + attended)
    inner = dense(weights, f"{name}.intermediate.dense", x)
    gelu = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
    return norm(weights, f"{name}.output.LayerNorm", x + dense(weights, f"{name}.output.dense", gelu))


def attention(weights: Weights, name: str, x: FloatArray) -> FloatArray:
    query, key, value = (
        dense(weights, f"{name}.{part}", x).reshape(-1, HEADS, HEAD_DIM).transpose(1, 0, 2)
        for part in ("query", "key", "value")
    )
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(HEAD_DIM)
    share = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = share / share.sum(axis=-1, keepdims=True) @ value
    result: FloatArray = mixed.transpose(1, 0, 2).reshape(len(x), -1)
    return result


def dense(weights: Weights, name: str, x: FloatArray) -> FloatArray:
    product: FloatArray = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return product


def norm(weights: Weights, name: str, x: FloatArray) -> FloatArray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    result: FloatArray = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return result
