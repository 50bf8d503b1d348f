"""The dense leg on SQLite and NumPy: exact cosine over a matrix held in memory.

Does not: approximate, quantise, shard, or hold more than resident.MAX_RESIDENT_BYTES of vectors. 20k chunks of 384
dimensions take 30 MB and 2 ms; beyond some 200k a real vector store is the better leaf.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np

from chassis.budget import Budget
from chassis.errors import SearchUnavailable
from embedding.ports import FloatArray
from retriever.search.embedded.database import Database
from retriever.search.embedded.legs import SqliteChunks, stored_records
from retriever.search.embedded.resident import ResidentRows, View
from retriever.search.embedded.rows import read_hits
from retriever.search.embedded.schema import collection_id
from retriever.types import Chunk, DocumentRecord, Hit, Scope

PLACE: Final = "dense search"
MAX_READINGS: Final = 3  # the second is right unless a slow reader interferes again


class SqliteDenseIndex(SqliteChunks):
    """DenseLeg and ChunkStore over `dense_rows`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, ResidentRows("dense_rows", has_vectors=True), table="dense_rows", place=PLACE)

    async def search(self, vector: FloatArray, scope: Scope, limit: int, *, budget: Budget) -> list[Hit]:
        """See retriever.ports.DenseLeg."""

        def work(connection: sqlite3.Connection) -> list[Hit]:
            collection = collection_id(connection, scope.tenant, scope.snapshot.uid)
            if collection is None:
                return []
            hits: list[Hit] = []
            for _ in range(MAX_READINGS):
                found = nearest(self._resident.view(connection, collection, scope), vector, limit)
                hits = read_hits(connection, "dense_rows", found)
                if len(hits) == len(found):
                    break
                self._resident.forget(collection)  # a slower reader brought purged rows back in; they took places
            return hits

        return await self._database.read(work, failure=SearchUnavailable, place=PLACE, budget=budget)

    async def write(
        self,
        tenant: str,
        uid: str,
        documents: Sequence[tuple[DocumentRecord, Sequence[Chunk]]],
        vectors: FloatArray | None,
        *,
        budget: Budget,
    ) -> None:
        """See retriever.ports.ChunkStore; without vectors there is nothing for this leg to keep."""
        if vectors is None:
            return
        chunks = list(chain.from_iterable(chunks for _, chunks in documents))
        exact = np.ascontiguousarray(vectors, dtype=np.float32)

        def work(connection: sqlite3.Connection) -> None:
            collection = stored_records(connection, tenant, uid, documents)
            connection.executemany(
                "INSERT OR IGNORE INTO dense_rows (collection, version, position, vector) VALUES (?, ?, ?, ?)",
                (
                    (collection, chunk.version, chunk.position, row.tobytes())
                    for chunk, row in zip(chunks, exact, strict=True)
                ),
            )

        await self._database.write(work, failure=SearchUnavailable, place=PLACE, budget=budget)


def nearest(view: View, vector: FloatArray, limit: int) -> list[tuple[int, float]]:
    """The visible rows with the largest cosines, best first; equal ones in file order."""
    if not view.blocks or not view.visible.any():
        return []
    if view.blocks[0].shape[1] != len(vector):
        raise SearchUnavailable(f"{PLACE}: the query's vector has another length than the collection's")
    scores = np.concatenate([block @ vector for block in view.blocks])[: len(view.visible)]  # newer rows may be held
    scores[~view.visible] = -np.inf
    count = min(limit, int(view.visible.sum()))
    best = np.argpartition(-scores, count - 1)[:count]
    best = best[np.lexsort((best, -scores[best]))]
    return [(int(view.rows[at]), float(scores[at])) for at in best]
