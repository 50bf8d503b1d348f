"""`python -m bench.dense_recall`: does Weaviate find what an exact search finds, through snapshot and group filters?

Vectors of 384 dimensions in clusters, as texts about a few hundred subjects lie: isotropic noise, in which every
neighbour is equally far, would measure the noise. Groups, snapshots and both together pass 100, 10 and 1 % of the
chunks. The class is written once, as it is shipped, on a Weaviate of the rig; settings that Weaviate can change in a
class are then changed one after another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from askmesh.rig.weaviate import running_weaviate
from chassis.budget import Budget
from embedding.ports import FloatArray
from retriever.search.weaviate import WeaviateDenseIndex, open_engine
from retriever.search.weaviate.layout import class_name
from retriever.types import Chunk, DocumentRecord, Scope, Snapshot, version_of

DIM: Final = 384
SUBJECTS: Final = 400
SPREAD: Final = 1.0  # of a subject's texts, in units of the distance between subjects
TOP: Final = 10
QUERIES: Final = 200
DOCUMENT_CHUNKS: Final = 20
WRITE_DOCUMENTS: Final = 50  # 1,000 chunks a write, as a group commit has
GROUPS: Final = {"*": 1, "tenth": 10, "hundredth": 100}  # group -> one document in so many is readable by it
TRANSACTIONS: Final = 100  # documents are born in these in turn: a snapshot up to the n-th sees n % of them
FINGERPRINT, TENANT, UID = "bench", "bench", "recall"
RECALL_LEAST: Final = 0.97
_WHEN: Final = datetime(2026, 1, 1, tzinfo=UTC)

SHIPPED: Final = "as shipped"
# What Weaviate may be told of a class that has vectors already.
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    SHIPPED: {},
    "cutoff 0": {"flatSearchCutoff": 0},
    "cutoff 0, ef 256": {"flatSearchCutoff": 0, "ef": 256},
    "cutoff 0, acorn": {"flatSearchCutoff": 0, "filterStrategy": "acorn"},
    "cutoff 0, acorn, ef 512": {"flatSearchCutoff": 0, "filterStrategy": "acorn", "ef": 512},
}


@dataclass(frozen=True, slots=True)
class View:
    """Which documents a search may see: those of every n-th number, born up to a transaction."""

    name: str
    group: str
    high: int

    def readable(self, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The rows of these documents' chunks."""
        document = np.arange(count) // DOCUMENT_CHUNKS
        return np.flatnonzero((document % GROUPS[self.group] == 0) & (_born(document) <= self.high))


def _born(document: Any) -> Any:
    """Groups go by a number's last digits, transactions by those before them: neither implies the other."""
    return 1 + document * 7 // 10 % TRANSACTIONS


VIEWS: Final = (
    View("everything", "*", TRANSACTIONS),
    View("groups", "tenth", TRANSACTIONS),
    View("groups", "hundredth", TRANSACTIONS),
    View("snapshot", "*", TRANSACTIONS // 10),
    View("snapshot", "*", TRANSACTIONS // 100),
    View("both", "tenth", TRANSACTIONS // 10),
)


@dataclass(frozen=True, slots=True)
class Measured:
    passing: float
    recall: float
    p50_ms: float
    p95_ms: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=20_000)
    parser.add_argument("--settings", nargs="*", choices=list(SETTINGS), default=[SHIPPED, "cutoff 0"])
    options = parser.parse_args()
    return asyncio.run(_run(options.vectors, options.settings))


async def _run(count: int, names: list[str]) -> int:
    """0 when every cell of the settings asked for holds."""
    vectors, queries = samples(count)
    exact = {view: _nearest(vectors, queries, view.readable(count)) for view in VIEWS}
    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_weaviate(Path(folder)) as server,
            open_engine(server.url, f"{server.host}:{server.ports['grpc']}") as engine,
        ):
            print(f"Weaviate {server.version}, {count:,} vectors of {DIM}, recall@{TOP} over {QUERIES} queries")
            index = WeaviateDenseIndex(engine, fingerprint=FINGERPRINT, dim=DIM)
            started = time.perf_counter()
            await _fill(index, vectors)
            print(f"written in {time.perf_counter() - started:.0f} s; load {os.getloadavg()[0]:.1f}", flush=True)
            for name in names:
                await _set(server.url, SETTINGS[name])
                for view in VIEWS:
                    row = await _measure(index, view, queries, exact=exact[view], count=count)
                    worst = min(worst, row.recall)
                    print(
                        f"{name:24} {view.name:10} passing {row.passing:6.1%}: recall {row.recall:.4f}, "
                        f"p50 {row.p50_ms:.1f} ms, p95 {row.p95_ms:.1f} ms",
                        flush=True,
                    )
    print(f"worst {worst:.4f}, at least {RECALL_LEAST} is wanted")
    return 0 if worst >= RECALL_LEAST else 1


def samples(count: int) -> tuple[FloatArray, FloatArray]:
    """Stored vectors and queries, from the same subjects, by a fixed seed."""
    chance = np.random.default_rng(11)
    subjects = chance.standard_normal((SUBJECTS, DIM))
    rows = subjects[chance.integers(0, SUBJECTS, count + QUERIES)] + SPREAD * chance.standard_normal(
        (count + QUERIES, DIM)
    )
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit[:count], unit[count:]


def _nearest(vectors: FloatArray, queries: FloatArray, readable: Any) -> list[set[int]]:
    """The rows an exact search finds, query by query."""
    scores = queries @ vectors[readable].T
    return [set(readable[np.argpartition(-row, TOP)[:TOP]].tolist()) for row in scores]


def documents(first: int, last: int) -> Iterator[tuple[DocumentRecord, list[Chunk]]]:
    """Those numbered first to last, each readable by the groups whose turn it is."""
    for number in range(first, last):
        version = version_of(int(_born(number)), number)
        groups = tuple(group for group, every in GROUPS.items() if number % every == 0)
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


async def _set(url: str, changes: Mapping[str, Any]) -> None:
    """Give the class these settings in place of those it was made with, or of an earlier call's."""
    place = f"/v1/schema/{class_name(FINGERPRINT)}"
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        definition = (await client.get(place)).raise_for_status().json()
        made_with = definition.setdefault("description", json.dumps(definition["vectorIndexConfig"]))
        definition["vectorIndexConfig"] = {**json.loads(made_with), **changes}
        (await client.put(place, json=definition)).raise_for_status()


async def _measure(
    index: WeaviateDenseIndex, view: View, queries: FloatArray, *, exact: list[set[int]], count: int
) -> Measured:
    within = Scope(TENANT, Snapshot(UID, generation=1, high=view.high), (view.group,))
    found, times = 0, []
    for query, wanted in zip(queries, exact, strict=True):
        started = time.perf_counter()
        hits = await index.search(query, within, TOP, budget=Budget.of(10))
        times.append((time.perf_counter() - started) * 1e3)
        rows = {(hit.chunk.version & 0xFFFF) * DOCUMENT_CHUNKS + hit.chunk.position for hit in hits}
        found += len(rows & wanted)
    p50, p95 = np.percentile(times, [50, 95])
    return Measured(len(view.readable(count)) / count, found / (TOP * len(queries)), float(p50), float(p95))


if __name__ == "__main__":
    raise SystemExit(main())
