"""One result per document in order, whatever goes wrong on the way out."""

from __future__ import annotations

import asyncio

import pytest
from rag.retriever.v1 import document_pb2 as pb

from askmesh.documents import PART_BYTES, DocumentFile
from askmesh.ingesting import Ingest
from chassis.errors import DocumentUnreadable, InvalidRequest


async def ingested(documents):
    """What a server that stores everything would make of them."""
    ingest = Ingest(documents, "docs")
    sent = []

    async def responses():
        async for request in ingest.requests():
            if request.WhichOneof("item") == "document":
                sent.append(request.document.document_id)
                outcome = pb.INGEST_OUTCOME_STORED
                yield pb.IngestDocumentsResponse(index=len(sent) - 1, document_id=sent[-1], outcome=outcome)

    return sent, [result async for result in ingest.results(responses())]


def summary(results):
    return [(result.index, result.document_id, result.outcome, type(result.error)) for result in results]


async def test_a_file_that_cannot_be_read_fails_alone_in_its_place(tmp_path):
    gone = DocumentFile("gone.md", tmp_path / "gone.md")
    sent, results = await ingested([gone, DocumentFile("a.md", "a"), gone, DocumentFile("b.md", "b"), gone])
    assert sent == ["a.md", "b.md"]
    assert summary(results) == [
        (0, "gone.md", "FAILED", DocumentUnreadable),
        (1, "a.md", "STORED", type(None)),
        (2, "gone.md", "FAILED", DocumentUnreadable),
        (3, "b.md", "STORED", type(None)),
        (4, "gone.md", "FAILED", DocumentUnreadable),
    ]


async def test_an_id_that_is_no_text_fails_alone():
    _, results = await ingested([DocumentFile("\udcff", "a"), DocumentFile("b.md", "b")])
    assert [type(result.error) for result in results] == [InvalidRequest, type(None)]


async def cancelled_after(requests):
    """A gRPC call whose request stream fails: its reader hears of a cancel, nothing else."""
    try:
        async for _ in requests:
            pass
    except Exception as error:
        raise asyncio.CancelledError from error
    yield  # pragma: no cover - never reached: makes this a generator


class Fading(bytes):
    """Content that cannot be read to its end, as a file on a disk that fails."""

    def __getitem__(self, key):
        if key.start >= 2 * PART_BYTES:
            raise OSError(5, "Input/output error", "/home/secret")
        return super().__getitem__(key)


async def test_a_file_that_breaks_off_ends_the_stream_with_a_typed_error():
    ingest = Ingest([DocumentFile("a.md", Fading(b"x" * 3 * PART_BYTES))], "docs")
    with pytest.raises(DocumentUnreadable) as raised:
        [result async for result in ingest.results(cancelled_after(ingest.requests()))]
    assert "secret" not in str(raised.value)


async def test_what_the_callers_own_iterator_raises_reaches_the_caller():
    async def documents():
        yield DocumentFile("a.md", "a")
        raise KeyError("mine")

    ingest = Ingest(documents(), "docs")
    with pytest.raises(KeyError, match="mine"):
        [result async for result in ingest.results(cancelled_after(ingest.requests()))]


async def test_a_cancelled_reader_stays_cancelled():
    async def cancelled():
        waited = asyncio.get_running_loop().create_future()
        waited.cancel()
        yield await waited

    with pytest.raises(asyncio.CancelledError):
        [result async for result in Ingest([], "docs").results(cancelled())]
