"""Documents out, one result each back, in order. What cannot be read here fails alone, as what the server refuses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import replace

from rag.retriever.v1 import document_pb2 as pb

from askmesh.documents import DocumentFile, IngestResult, messages_of, result_of
from chassis.errors import DocumentUnreadable, InvalidRequest, RagError


class Ingest:
    """One ingest stream.

    Args:
        documents: Each is read when its turn comes.
        collection: Where they go.
    """

    def __init__(self, documents: Iterable[DocumentFile] | AsyncIterable[DocumentFile], collection: str) -> None:
        self._documents = documents
        self._collection = collection
        self._sent: deque[int] = deque()  # positions of the documents whose result is still to come
        self._failed: deque[IngestResult] = deque()  # those that never went out, in order
        self._error: Exception | None = None

    async def requests(self) -> AsyncIterator[pb.IngestDocumentsRequest]:
        """What goes out. gRPC takes an error in here for a cancel and hides it: `results` raises it."""
        try:
            position = 0
            async for document in _each(self._documents):
                for message in self._messages(document, position):
                    yield message
                position += 1
        except Exception as error:  # the caller's own iterator may raise anything, and must see it
            self._error = error
            raise

    async def results(self, responses: AsyncIterable[pb.IngestDocumentsResponse]) -> AsyncIterator[IngestResult]:
        """One result per document, in the documents' order.

        Raises:
            DocumentUnreadable: a file broke off half-way; those before it are stored.
        """
        try:
            async for response in responses:
                position = self._sent.popleft()
                for failed in self._failed_before(position):
                    yield failed
                yield replace(result_of(response), index=position)
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
        for failed in self._failed_before(None):
            yield failed

    def _messages(self, document: DocumentFile, position: int) -> Iterator[pb.IngestDocumentsRequest]:
        is_under_way = False
        try:
            for message in messages_of(document, self._collection):
                if not is_under_way:
                    self._sent.append(position)
                    is_under_way = True
                yield message
        except (OSError, ValueError) as exc:
            if is_under_way:  # half of it is with the server, and there is no taking it back but to end the stream
                raise DocumentUnreadable("a file could not be read to its end: ingest again from there") from exc
            self._failed.append(_failure(document, position, exc))

    def _failed_before(self, position: int | None) -> Iterator[IngestResult]:
        while self._failed and (position is None or self._failed[0].index < position):
            yield self._failed.popleft()


def _failure(document: DocumentFile, position: int, exc: OSError | ValueError) -> IngestResult:
    error: RagError = (
        DocumentUnreadable("the file cannot be read: check that it is there and may be read")
        if isinstance(exc, OSError)
        else InvalidRequest("the id or a field is not valid Unicode text")
    )
    return IngestResult(position, document.document_id, "FAILED", 0, 0, error)


async def _each(documents: Iterable[DocumentFile] | AsyncIterable[DocumentFile]) -> AsyncIterator[DocumentFile]:
    if isinstance(documents, AsyncIterable):
        async for document in documents:
            yield document
        return
    for document in documents:
        yield document
