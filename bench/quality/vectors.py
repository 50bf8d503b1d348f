"""Vectors kept on disk between runs: an evaluation embeds every text once in its life.

The cache lies in the user's cache folder, never in the project, and is keyed by the embedder's fingerprint and the
text, so it can be deleted at any time and never goes stale.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import numpy as np

from chassis.budget import Budget
from embedding.ports import Embedder, FloatArray

# Texts embedded between two commits: a run that is stopped loses at most a few seconds of work.
COMMIT_EVERY = 256


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/askmesh-eval, else ~/.cache/askmesh-eval; made when missing."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "askmesh-eval"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class CachedEmbedder:
    """An Embedder that asks `inner` only for texts it has never seen.

    Args:
        inner: The real embedder.
        database: Open, with check_same_thread off; used by one thread at a time.
    """

    def __init__(self, inner: Embedder, database: sqlite3.Connection) -> None:
        self._inner = inner
        self._database = database
        self._lock = asyncio.Lock()
        self.embedded = 0  # texts that were really embedded, for the report

    @classmethod
    @asynccontextmanager
    async def opened(cls, inner: Embedder, folder: Path | None = None) -> AsyncIterator[CachedEmbedder]:
        file = (folder or cache_folder()) / "vectors.sqlite"
        with closing(sqlite3.connect(file, check_same_thread=False, timeout=60)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
            yield cls(inner, database)

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    @property
    def dim(self) -> int:
        return self._inner.dim

    async def embed(self, texts: Sequence[str], *, budget: Budget) -> FloatArray:
        """See embedding.ports.Embedder."""
        keys = [
            hashlib.sha256(f"{self.fingerprint}\0{text}".encode("utf-8", "surrogatepass")).digest() for text in texts
        ]
        async with self._lock:
            known = await asyncio.to_thread(self._read, keys)
            missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in known}.items())
            for start in range(0, len(missing), COMMIT_EVERY):
                part = missing[start : start + COMMIT_EVERY]
                vectors = await self._inner.embed([text for _, text in part], budget=budget)
                rows = {key: vector for (key, _), vector in zip(part, vectors, strict=True)}
                await asyncio.to_thread(self._write, rows)
                known |= rows
            self.embedded += len(missing)
        return np.stack([known[key] for key in keys]) if keys else np.empty((0, self.dim), np.float32)

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, FloatArray]:
        found = {}
        for key in keys:
            row = self._database.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
            if row is not None:
                found[key] = np.frombuffer(row[0], np.float32)
        return found

    def _write(self, rows: dict[bytes, FloatArray]) -> None:
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)", [(key, row.tobytes()) for key, row in rows.items()]
            )
