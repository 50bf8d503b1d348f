"""What a shared cache stores: an answer as bytes that only this installation can have made.

Rule 1: an entry is read only after its HMAC-SHA256 was checked. Who can write to the store but lacks the secret can
        neither make an answer, nor move one to another partition (another tenant), question or vector.
Rule 2: the bytes are compact JSON of our own dataclasses, read back with their types by pydantic: 25 us for 5 passages,
        no generated code to keep in step with orchestrator.types, and legible to who looks into the store.
Rule 3: SCHEMA_VERSION is in every key. A change of CachedAnswer raises it (a test holds the two together): old and new
        replicas of one roll-out then share a store without reading each other's entries.

Does not: encrypt. Answers are as legible in the store as on the wire to it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import TypeAdapter, ValidationError

from orchestrator.types import CachedAnswer, CacheKey

SCHEMA_VERSION = 2
MAC_BYTES = 32
_DOMAIN = b"askmesh answer cache"  # the secret may sign other things; none of them is an entry


class SealBroken(Exception):
    """Bytes that this installation did not make, or not for this place."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is signed: the answer, and what it is the answer to."""

    question: str  # CacheKey.question
    vector: str  # hex SHA-256 of the vector's bytes, empty without one
    answer: CachedAnswer


_RECORDS = TypeAdapter(Record)


class Sealer:
    """Turns answers into signed bytes and back.

    Args:
        secret: Shared by all replicas; a new one empties the cache.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, key: CacheKey, answer: CachedAnswer) -> bytes:
        """The entry to store under `key`; its vector is stored beside it, and only its hash is in here."""
        record = Record(key.question, digest(vector_bytes(answer.vector)), replace(answer, vector=()))
        payload = _RECORDS.dump_json(record)
        return self._mac(key.partition, payload) + payload

    def open(self, partition: str, sealed: bytes) -> Record:
        """What was sealed for this partition. The caller compares `question` or `vector` with what it asked for.

        Raises:
            SealBroken: other bytes, another partition or another secret.
        """
        mac, payload = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(partition, payload)):
            raise SealBroken("the signature does not fit")
        try:
            record = _RECORDS.validate_json(payload)
        except ValidationError as exc:  # signed by a program of another shape that forgot to raise SCHEMA_VERSION
            raise SealBroken("the entry has another shape") from exc
        return replace(record, answer=replace(record.answer, vector=()))

    def _mac(self, partition: str, payload: bytes) -> bytes:
        signed = hmac.new(self._secret, _DOMAIN, hashlib.sha256)
        signed.update(hashlib.sha256(partition.encode()).digest())  # of fixed length: nothing runs into the payload
        signed.update(payload)
        return signed.digest()


def vector_bytes(vector: Sequence[float]) -> bytes:
    """Little-endian float32, as vector indexes take it."""
    return np.asarray(vector, "<f4").tobytes()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if content else ""
