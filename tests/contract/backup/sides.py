"""An installation to copy from or to, on any set of leaves, and documents worth copying."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from retriever.backup.exporting import Exporter, ExportSources
from retriever.backup.importing import Imported, Importer, ImportTarget
from retriever.documents import ChunkDraft, TextBlock
from retriever.ingest.commit import Committer, Stores, utc_now
from retriever.ingest.pins import ReadPins
from retriever.ingest.purge import Janitor
from retriever.search.embedded import open_embedded
from retriever.types import version_of
from tests.contract.search.clusters import open_cluster
from tests.contract.search.samples import DIM, TENANT, FakeClock, budget, prepared, random_unit, scope

NAME = "handbook"
FINGERPRINT = "embedder/1"
OPENERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Any]]] = {
    "embedded": open_embedded,
    "cluster": open_cluster,
}
WHEN = datetime(2025, 6, 7, 8, 9, 10, 123456, tzinfo=UTC)


class WordEmbedder:
    """A vector for each text, always the same one."""

    dim = DIM

    def __init__(self, fingerprint: str = FINGERPRINT) -> None:
        self.fingerprint = fingerprint

    async def embed(self, texts, *, budget):
        return np.concatenate([random_unit(len(text), 1) for text in texts])


class Side:
    """One installation."""

    def __init__(self, leaves: Any, *, embedder: Any = None) -> None:
        self.leaves = leaves
        self.clock = FakeClock()
        self.stores = Stores(heads=leaves.heads, records=leaves.records, dense=leaves.dense, lexical=leaves.lexical)
        self.janitor = Janitor(
            self.stores, survey=leaves.heads, leases=leaves.leases, owner="the janitor", clock=self.clock
        )
        self.embedder = embedder or WordEmbedder()

    def exporter(self, fingerprint: str = FINGERPRINT, **changes: Any) -> Exporter:
        leaves = self.leaves
        sources = ExportSources(leaves.heads, leaves.records, leaves.dense, leaves.lexical)
        pins = ReadPins(leaves.leases, owner="exporter")
        return Exporter(sources, pins, embedder_fingerprint=fingerprint, **changes)

    def importer(self, **changes: Any) -> Importer:
        given = {"embedder": self.embedder, "owner": "importer", "now": utc_now, "sleep": self.clock.sleep, **changes}
        return Importer(given.pop("stores", self.stores), **given)

    async def put(self, *documents: Any) -> None:
        async with Committer(self.stores, owner="writer") as committer:
            for document in documents:
                await committer.put(TENANT, NAME, document, budget=budget())

    async def head(self, name: str = NAME) -> Any:
        return await self.leaves.heads.get(TENANT, name, budget=budget())

    async def export(self, name: str = NAME) -> bytes:
        parts = [part async for part in self.exporter().export(TENANT, name, budget=budget(60))]
        return b"".join(part.data for part in parts)

    async def take(
        self, archive: bytes, *, name: str = NAME, importer: Importer | None = None, **target: bool
    ) -> Imported:
        wanted = ImportTarget(name, **target)
        return await (importer or self.importer()).run(TENANT, wanted, pieces(archive), budget=budget(60))

    async def documents(self, name: str = NAME) -> dict[str, Any]:
        """Every visible document with its text and structure; versions are each installation's own."""
        head = await self.head(name)
        records, _ = await self.leaves.records.all(TENANT, head.snapshot, after="", limit=1_000, budget=budget())
        uid = head.snapshot.uid
        return {
            record.document_id: (
                replace(record, version=0),
                await self.leaves.records.text(TENANT, uid, record.version, budget=budget()),
                await self.leaves.records.blocks(TENANT, uid, record.version, budget=budget()),
            )
            for record in records
        }

    async def passages(
        self, leg: str, query: Any, *, groups: tuple[str, ...] = ("*", "board")
    ) -> list[tuple[Any, ...]]:
        """What a leg finds: where it is, what it says, and its score."""
        head = await self.head()
        hits = await getattr(self.leaves, leg).search(query, scope(head.snapshot, groups=groups), 50, budget=budget())
        return [
            (hit.document.document_id, hit.chunk.position, hit.chunk.start_char, hit.chunk.end_char, hit.chunk.text,
             hit.chunk.embed_text, hit.chunk.section, hit.chunk.page, hit.score)
            for hit in hits
        ]  # fmt: skip

    async def is_empty(self, uid: str) -> bool:
        """No store holds anything of a uid."""
        versions = [version_of(number, ordinal) for number in range(1, 9) for ordinal in range(99)]
        found = [await getattr(self.leaves, leg).read(TENANT, uid, versions, range(999), budget=budget())
                 for leg in ("dense", "lexical")]  # fmt: skip
        return not any(chunks for chunks, _ in found)


def document(document_id: str, texts: Sequence[str], **changes: Any) -> Any:
    """A document whose chunks have sections, pages and headings, and whose text has as many blocks."""
    made = prepared(document_id, texts, **changes)
    drafts = [
        ChunkDraft(each.start_char, each.end_char, section=f"S{at}", page=at, embed_text=f"{document_id} > {text}")
        for at, (each, text) in enumerate(zip(made.drafts, texts, strict=True))
    ]
    record = replace(made.record, text_chars=len(made.text), title=f"Title of {document_id}", uri="file:///x")
    blocks = [TextBlock("list_item", each.start_char, each.end_char, page=each.page) for each in drafts]
    return replace(made, drafts=drafts, record=record, blocks=blocks)


def corpus() -> list[Any]:
    """Long ones and short ones, every type of metadata, groups, and letters of several alphabets."""
    fields = {"team": "legal", "year": 2024.5, "is_final": True, "since": WHEN}
    long = [f"word{at % 7} of the long document, part {at}" for at in range(300)]
    return [
        document("long.md", long, seed=1),
        document("a/board.md", ["word1 for the board alone"], groups=("board",), seed=2),
        document("fields.md", ["word2 with fields", "word3 äöü 😀 中文"], metadata=fields, seed=3),
        *(document(f"many/{at}.md", [f"word{at % 5} in document {at}"], seed=10 + at) for at in range(30)),
    ]  # fmt: skip


async def pieces(archive: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(archive), size):
        yield archive[start : start + size]


def import_target() -> ImportTarget:
    return ImportTarget(NAME)


def lines_of(archive: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.splitlines()]


def archive_of(lines: list[dict[str, Any]]) -> bytes:
    """An archive with a right digest, whatever its lines say."""
    body = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines[:-1])
    end = {"end": {**lines[-1]["end"], "sha256": hashlib.sha256(body).hexdigest()}}
    return body + json.dumps(end).encode() + b"\n"


async def uid_while_importing(side: Side, archive: bytes, seen: list[str]) -> AsyncIterator[bytes]:
    """The archive, and on the way the uid it is written under."""
    async for piece in pieces(archive, 2_000):
        yield piece
        head = await side.head()
        if head is not None and head.staged is not None and head.staged.uid not in seen:
            seen.append(head.staged.uid)
