"""Writes that are acknowledged only when the snapshot mirror shows nothing older than what they say.

Most writes swap a head and are done with it (MirroredHeads.swap). This is for the others: a document found unchanged,
or gone already, may be so by a write whose own acknowledgement was lost. Decorates any Writes.
"""

from __future__ import annotations

from chassis.budget import Budget
from chassis.errors import CollectionNotFound, DocumentNotFound
from chassis.identity import Identity
from retriever.documents import DocumentSource
from retriever.ingest.mirrored import MirroredHeads
from retriever.ingest.uploads import Upload
from retriever.observed import Writes
from retriever.types import PutResult


class SettledWriter:
    """See above.

    Args:
        heads: Those that `inner` reads and swaps.
    """

    def __init__(self, inner: Writes, heads: MirroredHeads) -> None:
        self._inner = inner
        self._heads = heads

    async def put(self, identity: Identity, collection: str, source: DocumentSource, budget: Budget) -> PutResult:
        return await self.put_upload(identity, collection, Upload(0, source), budget)

    async def put_upload(self, identity: Identity, collection: str, upload: Upload, budget: Budget) -> PutResult:
        result = await self._inner.put_upload(identity, collection, upload, budget)
        await self._heads.settle(identity.tenant, collection)
        return result

    async def delete(self, identity: Identity, collection: str, document_id: str, budget: Budget) -> int:
        try:
            return await self._inner.delete(identity, collection, document_id, budget)
        except (CollectionNotFound, DocumentNotFound):
            await self._heads.settle(identity.tenant, collection)
            raise

    async def drop_collection(self, identity: Identity, collection: str, budget: Budget) -> None:
        try:
            await self._inner.drop_collection(identity, collection, budget)
        except CollectionNotFound:
            await self._heads.settle(identity.tenant, collection)
            raise
