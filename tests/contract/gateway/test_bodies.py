"""Bodies: caps while reading, documents passed on in parts, memory bounded."""

from __future__ import annotations

import asyncio
import gc

import psutil
import pytest
from rag.retriever.v1 import document_pb2, filter_pb2

from chassis.errors import DocumentNotFound

ASK = "/v1/collections/docs:ask"
DOCUMENT = "/v1/collections/docs/documents/handbook/leave.pdf"
MIB = 1024 * 1024


async def endless(size, piece=b"x" * 65536):
    """A body of `size` bytes that is nowhere whole, without a Content-Length."""
    for _ in range(size // len(piece)):
        yield piece


def reason_of(response):
    return response.json()["error"]["reason"]


@pytest.mark.parametrize("path", [ASK, "/v1/collections/docs:retrieve", "/v1/collections/docs:streamAsk", "/v1/ask"])
async def test_a_question_over_64_kib_is_too_large_however_it_is_sent(client, seen, path):
    declared = await client.post(path, content=b"x" * (64 * 1024 + 1))
    chunked = await client.post(path, content=endless(MIB))
    assert (declared.status_code, reason_of(declared)) == (413, "MESSAGE_TOO_LARGE")
    assert (chunked.status_code, reason_of(chunked)) == (413, "MESSAGE_TOO_LARGE")
    assert seen.requests == []


async def test_a_question_of_64_kib_is_read(client):
    body = b'{"question":"q"}'.ljust(64 * 1024)
    assert (await client.post(ASK, content=body)).status_code == 200


async def test_200_mib_are_refused_in_bounded_memory(client):
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    response = await client.post(ASK, content=endless(200 * MIB))
    assert response.status_code == 413
    assert process.memory_info().rss - before < 24 * MIB


async def test_a_raw_document_over_its_limit_is_refused_and_not_stored(started, documents):
    async with started(max_document_bytes=2 * MIB) as (_, client):
        response = await client.put(DOCUMENT, content=endless(5 * MIB))
    assert (response.status_code, reason_of(response)) == (413, "MESSAGE_TOO_LARGE")
    assert documents.stored == {}


async def test_a_raw_document_is_passed_on_in_parts(client, seen, documents):
    response = await client.put(
        DOCUMENT, content=endless(20 * MIB), headers={"content-type": "application/pdf; charset=binary"}
    )
    assert response.status_code == 200, response.text
    assert documents.received_bytes == 20 * MIB
    body = response.json()
    assert (body["outcome"], body["generation"]) == ("INGEST_OUTCOME_STORED", "5")
    assert (body["document"]["documentId"], body["document"]["sizeBytes"]) == ("handbook/leave.pdf", str(20 * MIB))
    assert seen.requests[0].document.has_parts
    assert seen.requests[0].document.content_type == "application/pdf"


async def test_a_raw_document_is_described_by_its_query(client, seen):
    query = {
        "title": "Leave",
        "uri": "https://intranet/leave",
        "source": "handbook",
        "groups": ["hr", "board"],
        "contentType": "application/json",
        "metadata": '{"year":2024,"team":"hr","public":true,"since":{"timeValue":"2024-01-01T00:00:00Z"}}',
    }
    response = await client.put(
        DOCUMENT, params=query, content=b"{}", headers={"content-type": "application/octet-stream"}
    )
    assert response.status_code == 200, response.text
    sent = seen.requests[0].document
    since = filter_pb2.Value()
    since.time_value.FromJsonString("2024-01-01T00:00:00Z")
    assert (sent.title, sent.uri, sent.source) == ("Leave", "https://intranet/leave", "handbook")
    assert (sent.content_type, list(sent.groups)) == ("application/json", ["hr", "board"])
    assert dict(sent.metadata) == {
        "year": filter_pb2.Value(number_value=2024),
        "team": filter_pb2.Value(string_value="hr"),
        "public": filter_pb2.Value(bool_value=True),
        "since": since,
    }


async def test_metadata_may_come_in_a_header(client, seen):
    await client.put(DOCUMENT, content=b"x", headers={"x-askmesh-metadata": '{"year":2024}'})
    assert seen.requests[0].document.metadata["year"].number_value == 2024


@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "application/x-www-form-urlencoded"])
async def test_a_content_type_that_says_nothing_is_left_to_the_retriever(client, seen, content_type):
    await client.put(DOCUMENT, content=b"x", headers={"content-type": content_type} if content_type else {})
    assert seen.requests[0].document.content_type == ""


async def test_an_empty_file_reaches_the_retriever(client, documents):
    response = await client.put(DOCUMENT, content=b"", headers={"content-type": "text/plain"})
    assert response.json()["document"]["sizeBytes"] == "0"


@pytest.mark.parametrize(
    "query",
    [
        "colour=1",
        "title=a&title=b",
        "metadata=[]",
        "metadata={",
        'metadata={"a":[]}',
        'metadata={"a":1e999}',
        "title=%ff",
        "documentId=other",
    ],
)
async def test_a_raw_document_badly_described_is_refused(client, seen, query):
    response = await client.put(f"{DOCUMENT}?{query}", content=b"x")
    assert (response.status_code, reason_of(response)) == (400, "MESSAGE_MALFORMED")
    assert seen.requests == []


async def test_a_document_refused_at_its_first_bytes_is_not_read_to_its_end(client, documents):
    response = await client.put(DOCUMENT, params={"title": "refuse"}, content=endless(30 * MIB))
    assert (response.status_code, reason_of(response)) == (400, "DOCUMENT_EMPTY")
    assert documents.received_bytes < 30 * MIB


async def test_a_refusal_by_status_is_told_as_it_is(client):
    response = await client.put("/v1/collections/nowhere/documents/a.md", content=b"x")
    assert (response.status_code, reason_of(response)) == (404, "COLLECTION_NOT_FOUND")


async def test_a_document_the_sender_may_not_read_is_still_acknowledged(client, documents, monkeypatch):
    async def nothing(request, context):
        raise DocumentNotFound("no such document")

    monkeypatch.setattr(documents, "GetDocument", nothing)
    response = await client.put(DOCUMENT, content=b"x")
    assert response.json()["document"]["documentId"] == "handbook/leave.pdf"


async def test_an_upload_whose_sender_leaves_is_not_stored(gateway, documents):
    host, port = gateway.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"PUT {DOCUMENT} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000000\r\n\r\n".encode() + b"x" * 400_000
    )
    await writer.drain()
    async with asyncio.timeout(5):
        await documents.receiving.wait()
    writer.close()
    await writer.wait_closed()
    assert documents.stored == {}


async def test_a_document_as_json_goes_to_put_document(client, seen):
    await client.put("/v1/collections/docs/documents/a.md", json={"data": "eHl6"})
    assert seen.requests == [
        document_pb2.PutDocumentRequest(
            collection="docs", document=document_pb2.DocumentInput(document_id="a.md", data=b"xyz")
        )
    ]


async def test_a_document_as_json_may_be_3_mib(client):
    response = await client.put("/v1/collections/docs/documents/a.md", json={"text": "x" * (3 * MIB - 1024)})
    assert response.status_code == 200, response.text
