"""Writes golden/: `python -m tests.contract.skew.record`, once for each released contract."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict

from tests.contract.skew.generations import released_class, released_methods
from tests.contract.skew.mesh import asking, call, retrieving
from tests.contract.skew.wire import COLLECTION, Call

LEASES = "# Leases\n\nThe lease lasts 30 seconds. Its owner renews it every ten seconds.\n"
BACKUPS = "# Backups\n\nBackups are made every night at two. They are kept for 90 days.\n"
LEAVE = "# Leave\n\nEverybody has 28 days of leave a year. Ten of them may be taken over.\n"
RETRIEVER, DOCUMENTS = "/rag.retriever.v1.RetrieverService", "/rag.retriever.v1.DocumentService"
ORCHESTRATOR, COLLECTIONS = "/rag.orchestrator.v1.OrchestratorService", "/rag.retriever.v1.CollectionService"
YEAR = {"comparison": {"field": "year", "operator": "OPERATOR_GE", "value": {"numberValue": 2020}}}


def document(document_id: str, text: str, year: int) -> dict[str, Any]:
    metadata = {"year": {"numberValue": year}, "team": {"stringValue": "people"}}
    return {"documentId": document_id, "text": text, "source": "handbook", "metadata": metadata}


def of(**fields: Any) -> dict[str, Any]:
    return {"collection": COLLECTION, **fields}


ASK = of(question="How long does the lease last?", cachePolicy="CACHE_POLICY_BYPASS", topK=3, filter=YEAR)
# In this order: the later ones read what the first ones wrote.
CALLS: list[tuple[str, str, list[dict[str, Any]]]] = [
    ("01-ingest", f"{DOCUMENTS}/IngestDocuments", [
        of(document=document("leases.md", LEASES, 2024)), of(document=document("backups.md", BACKUPS, 2023)),
    ]),
    ("02-put", f"{DOCUMENTS}/PutDocument", [of(document=document("leave.md", LEAVE, 2019))]),
    ("03-get", f"{DOCUMENTS}/GetDocument", [of(documentId="leases.md", view="DOCUMENT_VIEW_FULL")]),
    ("04-list", f"{DOCUMENTS}/ListDocuments", [of(pageSize=10)]),
    ("05-collections", f"{COLLECTIONS}/ListCollections", [{}]),
    ("06-snapshot", f"{RETRIEVER}/GetSnapshot", [of()]),
    ("07-retrieve", f"{RETRIEVER}/Retrieve", [of(query="How often are backups made?", topK=2, legs="LEGS_HYBRID")]),
    ("08-retrieve-lexical", f"{RETRIEVER}/Retrieve", [of(query="lease owner", legs="LEGS_LEXICAL", filter=YEAR)]),
    ("09-ask", f"{ORCHESTRATOR}/Ask", [ASK]),
    ("10-stream", f"{ORCHESTRATOR}/StreamAsk", [ASK]),
    ("11-delete", f"{DOCUMENTS}/DeleteDocument", [of(documentId="leave.md")]),
]  # fmt: skip


def encoded(path: str, fields: dict[str, Any]) -> bytes:
    message = released_class(released_methods()[path].input_type.full_name)()
    ParseDict(fields, message, descriptor_pool=message.DESCRIPTOR.file.pool)
    data: bytes = message.SerializeToString(deterministic=True)
    return data


async def record(folder: Path) -> None:
    async with retrieving(folder) as mesh, asking(mesh, f"unix:{folder}/o.sock", mesh.retriever) as orchestrator:
        for name, path, requests in CALLS:
            sent = [encoded(path, fields) for fields in requests]
            address = orchestrator if path.startswith(ORCHESTRATOR) else mesh.retriever
            Call(name, path, sent, await call(address, path, sent)).save()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(record(Path(scratch)))
