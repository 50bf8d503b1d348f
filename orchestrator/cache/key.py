"""What makes two asks the same ask: the partition and the question, each hashed.

Rule 1: everything that can change an answer is in the key, apart from the documents' state, which is checked on every
        hit instead (CachedAnswer.snapshot), so that a write needs no sweep of the cache.
Rule 2: whoever may read other documents has another partition: the semantic tier never leaves a partition, however near
        two questions are.
Rule 3: no case folding: "US" is not "us", "Polish" is not "polish".
Rule 4: values are encoded as JSON with their types before they are hashed, so that no two lists of parts run together.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from chassis.identity import Identity
from orchestrator.types import And, CacheKey, Comparison, Filter, Not, Or, Question, Sampling, Scalar, Snapshot

Json = str | int | float | bool | None | Sequence["Json"]

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class PipelineFingerprint:
    """Everything on our side that decides the words of an answer.

    Attributes:
        generator: The model's fingerprint, revision included.
        prompt: The template's version.
        embedder: The embedder of this process: the semantic tier compares its vectors.
        guard: The guard's version: a pair it let through yesterday may be refused today.
        redaction: The redaction policy's version.
    """

    generator: str
    prompt: str
    embedder: str
    guard: str
    redaction: str

    def parts(self) -> Json:
        return [self.generator, self.prompt, self.embedder, self.guard, self.redaction]


def normalised(text: str) -> str:
    """NFC, white space collapsed, ends trimmed; nothing else."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def cache_key(question: Question, snapshot: Snapshot, pipeline: PipelineFingerprint) -> CacheKey:
    """The key of a question against one incarnation of its collection (the uid, not the generation)."""
    partition: Json = [
        "askmesh-cache-1",
        _identity(question.identity),
        snapshot.collection_uid,
        snapshot.retrieval_fingerprint,
        snapshot.embedder_fingerprint,
        _filter(question.filter),
        question.top_k,
        _sampling(question.sampling),
        pipeline.parts(),
    ]
    return CacheKey(partition=_hash(partition), question=_hash(normalised(question.text)))


def _identity(identity: Identity) -> Json:
    return [identity.tenant, list(identity.readable_groups)]


def _sampling(sampling: Sampling) -> Json:
    return [sampling.max_tokens, float(sampling.temperature), sampling.seed]


def _filter(filter: Filter) -> Json:
    """Canonical: order and repetition inside `and`, `or` and IN do not count, because they mean nothing."""
    match filter:
        case And(parts):
            return ["and", _unordered([_filter(part) for part in parts])]
        case Or(parts):
            return ["or", _unordered([_filter(part) for part in parts])]
        case Not(part):
            return ["not", _filter(part)]
        case Comparison(field, operator, values):
            return [operator.value, field, _unordered([_scalar(value) for value in values])]


def _scalar(value: Scalar) -> Json:
    """With its type: 1, True and "1" are three values."""
    match value:
        case bool():
            return ["b", value]
        case datetime():
            return ["t", value.astimezone(UTC).isoformat(timespec="microseconds")]
        case str():
            return ["s", value]
        case _:
            return ["n", float(value) + 0.0]  # + 0.0: -0.0 equals 0.0 and is written otherwise


def _unordered(values: list[Json]) -> Json:
    return [json.loads(text) for text in sorted({_encode(value) for value in values})]


def _encode(value: Json) -> str:
    return _ENCODER.encode(value)


def _hash(value: Json) -> str:
    # surrogatepass: a lone surrogate is not text, yet must not turn a lookup into a crash
    return hashlib.sha256(_encode(value).encode("utf-8", "surrogatepass")).hexdigest()
