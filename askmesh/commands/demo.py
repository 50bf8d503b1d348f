"""The demo corpus: askmesh's own documents, among whatever else is in the collection.

Rule 1: what a user stored is never replaced, and a demo document that a user deleted stays deleted. So the whole demo
        is ingested only where nothing else is; beside other documents, those of its documents that are still there
        are kept current.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from askmesh.client import AsyncClient
from askmesh.commands.ingest import ingest_with_progress
from askmesh.documents import DocumentFile, files_below
from askmesh.filters import where
from askmesh.output import errors
from chassis.errors import CollectionNotFound

SOURCE = "askmesh"  # by which its documents are told from others of the same id


async def ingest_demo(client: AsyncClient) -> bool:
    """Ingest what may be (rule 1) into the client's collection; False when there is no demo in it."""
    files = list(_files())
    stored, others = await _there(client)
    if others:
        files = [file for file in files if file.document_id in stored]
    if not files:
        errors.print("The collection has documents of yours: those of the demo are left out.")
        return False
    results = await ingest_with_progress(client, files, is_quiet=bool(stored))
    count = Counter(result.outcome for result in results)["STORED"]
    if stored and count:
        errors.print(f"{count} documents of the demo were new or changed.")
    return True


async def _there(client: AsyncClient) -> tuple[set[str], int]:
    """The demo's documents by id, and how many others there are."""
    try:
        count = (await client.collection()).document_count
    except CollectionNotFound:
        return set(), 0
    stored = {document.document_id async for document in client.documents(filter=where("source") == SOURCE)}
    return stored, count - len(stored)


def _files() -> Iterator[DocumentFile]:
    """Pages that explain: neither why things are so (decisions/) nor tables to look things up in (reference/)."""
    # Packaged with an installation, docs/ in a checkout.
    packaged = Path(__file__).resolve().parents[1] / "demo"
    root = packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "docs"
    for file in files_below(root):
        if "/" not in file.document_id:
            yield replace(file, source=SOURCE)
