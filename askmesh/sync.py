"""The synchronous client: the asynchronous one on an event loop of its own thread."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import Self

from rag.orchestrator.v1 import orchestrator_pb2 as ask_pb
from rag.retriever.v1 import backup_pb2
from rag.retriever.v1 import retriever_pb2 as search_pb

from askmesh.answers import Answer, Event
from askmesh.client import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, INGEST_TIMEOUT_S, AsyncClient
from askmesh.documents import Collection, Document, DocumentFile, IngestResult
from askmesh.filters import Condition
from askmesh.loop_thread import LoopThread


class Client:
    """AsyncClient for code without an event loop; every call blocks. Arguments, results and errors are the same.

    One client may be used from several threads.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        collection: str = "docs",
        token: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._loop = LoopThread("askmesh-client")

        async def connect() -> AsyncClient:  # the channel belongs to the loop it is made on
            return AsyncClient(target, collection=collection, token=token, timeout_s=timeout_s)

        self._client = self._loop.wait(connect())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel and end the thread; idempotent. Calls under way, and later ones, raise Cancelled."""
        self._loop.close(self._client.close)

    def ask(
        self,
        question: str,
        *,
        collection: str = "",
        top_k: int = 0,
        filter: Condition | None = None,
        cache: str = "DEFAULT",
        limits: ask_pb.GenerationLimits | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Answer:
        """See AsyncClient.ask."""
        return self._loop.wait(
            self._client.ask(
                question,
                collection=collection,
                top_k=top_k,
                filter=filter,
                cache=cache,
                limits=limits,
                request_id=request_id,
                timeout_s=timeout_s,
            )
        )

    def stream(
        self,
        question: str,
        *,
        collection: str = "",
        top_k: int = 0,
        filter: Condition | None = None,
        cache: str = "DEFAULT",
        limits: ask_pb.GenerationLimits | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Generator[Event, None, None]:
        """See AsyncClient.stream."""
        return self._loop.iterate(
            self._client.stream(
                question,
                collection=collection,
                top_k=top_k,
                filter=filter,
                cache=cache,
                limits=limits,
                request_id=request_id,
                timeout_s=timeout_s,
            )
        )

    def search(
        self,
        query: str,
        *,
        collection: str = "",
        top_k: int = 0,
        filter: Condition | None = None,
        legs: str = "HYBRID",
        min_generation: int = 0,
        timeout_s: float | None = None,
    ) -> search_pb.RetrieveResponse:
        """See AsyncClient.search."""
        return self._loop.wait(
            self._client.search(
                query,
                collection=collection,
                top_k=top_k,
                filter=filter,
                legs=legs,
                min_generation=min_generation,
                timeout_s=timeout_s,
            )
        )

    def ingest(
        self,
        documents: Sequence[DocumentFile],
        *,
        collection: str = "",
        timeout_s: float = INGEST_TIMEOUT_S,
    ) -> Generator[IngestResult, None, None]:
        """See AsyncClient.ingest."""
        return self._loop.iterate(self._client.ingest(documents, collection=collection, timeout_s=timeout_s))

    def documents(self, *, collection: str = "", filter: Condition | None = None) -> Generator[Document, None, None]:
        """See AsyncClient.documents."""
        return self._loop.iterate(self._client.documents(collection=collection, filter=filter))

    def document(self, document_id: str, *, collection: str = "", with_text: bool = False) -> Document:
        """See AsyncClient.document."""
        return self._loop.wait(self._client.document(document_id, collection=collection, with_text=with_text))

    def delete(self, document_id: str, *, collection: str = "") -> int:
        """See AsyncClient.delete."""
        return self._loop.wait(self._client.delete(document_id, collection=collection))

    def collections(self) -> Generator[Collection, None, None]:
        """See AsyncClient.collections."""
        return self._loop.iterate(self._client.collections())

    def collection(self, collection: str = "") -> Collection:
        """See AsyncClient.collection."""
        return self._loop.wait(self._client.collection(collection))

    def delete_collection(self, collection: str) -> None:
        """See AsyncClient.delete_collection."""
        self._loop.wait(self._client.delete_collection(collection))

    def export_collection(
        self, collection: str, *, timeout_s: float = INGEST_TIMEOUT_S
    ) -> Generator[backup_pb2.ExportCollectionResponse, None, None]:
        """See AsyncClient.export_collection."""
        return self._loop.iterate(self._client.export_collection(collection, timeout_s=timeout_s))

    def import_collection(
        self,
        collection: str,
        data: Iterable[bytes],
        *,
        replace: bool = False,
        reembed: bool = False,
        timeout_s: float = INGEST_TIMEOUT_S,
    ) -> Generator[backup_pb2.ImportProgress | Collection, None, None]:
        """See AsyncClient.import_collection."""
        return self._loop.iterate(
            self._client.import_collection(collection, data, replace=replace, reembed=reembed, timeout_s=timeout_s)
        )

    def evict(self, answer_id: str, *, collection: str = "") -> None:
        """See AsyncClient.evict."""
        self._loop.wait(self._client.evict(answer_id, collection=collection))
