"""`python -m bench.dense_recall`: does Weaviate find what an exact search finds, through snapshot and group filters?

Vectors of 384 dimensions in clusters, as texts about a few hundred subjects lie: isotropic noise, in which every
neighbour is equally far, would measure the noise. Groups pass 100, 10 and 1 % of the chunks. Each cutoff of the flat
search is a class of its own, on a Weaviate of the rig.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from askmesh.rig.weaviate import running_weaviate
from chassis.budget import Budget
from embedding.ports import FloatArray
from retriever.search.weaviate import WeaviateDenseIndex, open_engine
from retriever.search.weaviate.layout import FLAT_SEARCH_CUTOFF
from retriever.types import Chunk, DocumentRecord, Scope, Snapshot, version_of

DIM: Final = 384
SUBJECTS: Final = 400
SPREAD: Final = 1.0  # of a subject's texts, in units of the distance between subjects
TOP: Final = 10
QUERIES: Final = 200
DOCUMENT_CHUNKS: Final = 20
WRITE_DOCUMENTS: Final = 50  # 1,000 chunks a write, as a group commit has
SHARES: Final = {"*": 1, "tenth": 10, "hundredth": 100}  # group -> one document in so many is readable by it
TENANT, UID = "bench", "recall"
_WHEN: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Measured:
    passing: float
    recall: float
    p50_ms: float
    p95_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=20_000)
    parser.add_argument("--cutoffs", type=int, nargs="*", default=[FLAT_SEARCH_CUTOFF, 0])
    options = parser.parse_args()
    asyncio.run(_run(options.vectors, options.cutoffs))


async def _run(count: int, cutoffs: Sequence[int]) -> None:
    vectors, queries = samples(count)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_weaviate(Path(folder)) as server,
            open_engine(server.url, f"{server.host}:{server.ports['grpc']}") as engine,
        ):
            print(f"Weaviate {server.version}, {count:,} vectors of {DIM}, recall@{TOP} over {QUERIES} queries")
            for cutoff in cutoffs:
                index = WeaviateDenseIndex(engine, fingerprint="bench", dim=DIM, flat_search_cutoff=cutoff)
                started = time.perf_counter()
                await _fill(index, vectors)
                print(f"flatSearchCutoff {cutoff}: written in {time.perf_counter() - started:.0f} s", flush=True)
                for group in SHARES:
                    row = await _measure(index, vectors, queries, group)
                    print(
                        f"  passing {row.passing:6.1%}: recall {row.recall:.4f}, "
                        f"p50 {row.p50_ms:.1f} ms, p95 {row.p95_ms:.1f} ms",
                        flush=True,
                    )


def samples(count: int) -> tuple[FloatArray, FloatArray]:
    """Stored vectors and queries, from the same subjects, by a fixed seed."""
    chance = np.random.default_rng(11)
    subjects = chance.standard_normal((SUBJECTS, DIM))
    rows = subjects[chance.integers(0, SUBJECTS, count + QUERIES)] + SPREAD * chance.standard_normal(
        (count + QUERIES, DIM)
    )
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit[:count], unit[count:]


def documents(first: int, last: int) -> Iterator[tuple[DocumentRecord, list[Chunk]]]:
    """Those numbered first to last, each readable by the groups whose turn it is."""
    for number in range(first, last):
        version = version_of(1, number)
        groups = tuple(group for group, every in SHARES.items() if number % every == 0)
        record = DocumentRecord(
            f"d{number}", version, "", "", "", "text/plain", {}, groups, "", DOCUMENT_CHUNKS, 0, 0, _WHEN
        )
        yield (
            record,
            [Chunk(f"{version:x}.{n}", version, n, "text", "text", "", 0, 0, 4) for n in range(DOCUMENT_CHUNKS)],
        )


async def _fill(index: WeaviateDenseIndex, vectors: FloatArray) -> None:
    total = len(vectors) // DOCUMENT_CHUNKS
    for first in range(0, total, WRITE_DOCUMENTS):
        last = min(total, first + WRITE_DOCUMENTS)
        rows = vectors[first * DOCUMENT_CHUNKS : last * DOCUMENT_CHUNKS]
        await index.write(TENANT, UID, list(documents(first, last)), rows, budget=Budget.of(300))


async def _measure(index: WeaviateDenseIndex, vectors: FloatArray, queries: FloatArray, group: str) -> Measured:
    readable = np.flatnonzero((np.arange(len(vectors)) // DOCUMENT_CHUNKS) % SHARES[group] == 0)
    within = Scope(TENANT, Snapshot(UID, generation=1, high=1), (group,))
    found, times = 0, []
    for query in queries:
        exact = readable[np.argsort(-(vectors[readable] @ query))[:TOP]]
        started = time.perf_counter()
        hits = await index.search(query, within, TOP, budget=Budget.of(10))
        times.append((time.perf_counter() - started) * 1e3)
        rows = {(hit.chunk.version & 0xFFFF) * DOCUMENT_CHUNKS + hit.chunk.position for hit in hits}
        found += len(rows & set(exact.tolist()))
    p50, p95 = np.percentile(times, [50, 95])
    return Measured(len(readable) / len(vectors), found / (TOP * len(queries)), float(p50), float(p95))


if __name__ == "__main__":
    main()
