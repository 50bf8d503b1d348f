"""A document as a raw file: the body goes on in parts as it arrives and is never held whole.

PUT /v1/collections/{collection}/documents/{id} with any content type but application/json. What a DocumentInput would
say comes in the query: title, uri, source, groups (repeated), contentType (when the body's own is not the file's, as
for a .json file), metadata (a JSON object: text, numbers and booleans as they are, or the contract's Value objects);
the header x-askmesh-metadata may carry the metadata instead. The answer is PutDocument's.

What it does not do: multipart forms. A browser sends a File as the body of a PUT, with progress, and nothing is parsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from rag.retriever.v1 import document_pb2 as pb
from rag.retriever.v1 import filter_pb2

from chassis.errors import DocumentNotFound, InternalError, MalformedMessage, PermissionDenied
from chassis.status import from_rpc_status
from chassis.telemetry import Telemetry
from gateway import metrics
from gateway.exchange import JSON_TYPE, Exchange, stop
from gateway.json_faults import Json, printable
from gateway.json_message import number_of, parse_json, to_json, to_message
from gateway.routes import Match
from gateway.transcoder import query_pairs
from gateway.upstream import Upstream, method_named

METADATA_HEADER = "x-askmesh-metadata"
PART_BYTES = 256 * 1024  # of the 1 MiB a part may have: four in flight fill HTTP/2's usual window

# Content types that say nothing about the file: what a program sends when nobody told it. Id or bytes tell then.
UNTOLD_TYPES = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded"})

_TEXTS = {
    "title": "title",
    "uri": "uri",
    "source": "source",
    "contentType": "content_type",
    "content_type": "content_type",
}
_SERVICE = pb.DESCRIPTOR.services_by_name["DocumentService"]


def is_raw(exchange: Exchange) -> bool:
    """The body is the file itself, not a DocumentInput."""
    return exchange.content_type != JSON_TYPE


class Uploads:
    """Takes raw files in.

    Args:
        max_bytes: Largest file.
    """

    def __init__(self, upstream: Upstream, telemetry: Telemetry, *, max_bytes: int) -> None:
        self._upstream = upstream
        self._max_bytes = max_bytes
        self._bytes = telemetry.counter(metrics.UPLOADED_BYTES)
        self._ingest = method_named(_SERVICE, "IngestDocuments")
        self._get = method_named(_SERVICE, "GetDocument")

    async def put(self, exchange: Exchange, match: Match) -> None:
        """Store the body as the document the path names."""
        collection, document_id = match.bound["collection"], match.bound["document.document_id"]
        document = described(exchange, document_id)
        result = await self._send(exchange, collection, document)
        if result.outcome == pb.INGEST_OUTCOME_FAILED:
            raise from_rpc_status(result.error)
        await exchange.respond(200, to_json(await self._stored(exchange, collection, document, result)))

    async def _send(
        self, exchange: Exchange, collection: str, document: pb.DocumentInput
    ) -> pb.IngestDocumentsResponse:
        with self._upstream.duplex(self._ingest, exchange.budget) as call:
            await call.write(pb.IngestDocumentsRequest(collection=collection, document=document))
            # The result is awaited beside the sending: a document refused at its first bytes is not read to its end.
            result: asyncio.Task[Any] = asyncio.create_task(_read_one(call))
            try:
                await self._send_parts(exchange, call, result)
                response: pb.IngestDocumentsResponse = await exchange.while_connected(_settled(result))
            finally:
                await stop(result)
        return response

    async def _send_parts(self, exchange: Exchange, call: Any, result: asyncio.Task[Any]) -> None:
        async with aclosing(parts(exchange.chunks(self._max_bytes))) as pieces:
            async for data, is_last in pieces:
                self._bytes.inc(len(data))
                part = pb.DocumentPart(data=data, is_last=is_last)
                if not await _written(call, pb.IngestDocumentsRequest(part=part)) or result.done():
                    return
        await call.done_writing()

    async def _stored(
        self, exchange: Exchange, collection: str, document: pb.DocumentInput, result: pb.IngestDocumentsResponse
    ) -> pb.PutDocumentResponse:
        """The answer PutDocument gives; the document as known here where the caller may write and not read it."""
        response = pb.PutDocumentResponse(outcome=result.outcome, generation=result.generation)
        request = pb.GetDocumentRequest(collection=collection, document_id=document.document_id)
        try:
            found = await self._upstream.call(self._get, request, exchange.budget)
            assert isinstance(found, pb.Document)
            response.document.CopyFrom(found)
        except (DocumentNotFound, PermissionDenied):
            response.document.document_id = document.document_id
            response.document.chunk_count = result.chunk_count
        return response


async def _written(call: Any, message: pb.IngestDocumentsRequest) -> bool:
    """Send a message; False when the call is over, of which its result tells more."""
    try:
        await call.write(message)
    except (asyncio.InvalidStateError, grpc.RpcError):
        # grpc.aio's words for "the call has ended": before the write, or under it. The second one comes as INTERNAL,
        # whatever the server said; what it said is with whoever reads.
        return False
    return True


async def _read_one(call: Any) -> pb.IngestDocumentsResponse:
    async for response in call:
        found: pb.IngestDocumentsResponse = response
        return found
    raise InternalError("the stream ended without a result")


async def _settled(task: asyncio.Task[Any]) -> Any:
    return await task


async def parts(chunks: AsyncIterator[bytes]) -> AsyncGenerator[tuple[bytes, bool], None]:
    """Chunks of any size as parts of PART_BYTES, the last one marked; one empty part when there is nothing."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        while len(held) > PART_BYTES:
            yield bytes(held[:PART_BYTES]), False
            del held[:PART_BYTES]
    yield bytes(held), True


def described(exchange: Exchange, document_id: str) -> pb.DocumentInput:
    """The DocumentInput that the query and the headers describe.

    Raises:
        MalformedMessage: a parameter is unknown, comes twice, or the metadata is not a JSON object.
    """
    document = pb.DocumentInput(document_id=document_id, has_parts=True)
    if exchange.content_type not in UNTOLD_TYPES:
        document.content_type = exchange.content_type
    metadata = exchange.headers.get(METADATA_HEADER, "")
    seen: set[str] = set()
    for name, text in query_pairs(exchange.query):
        if name == "groups":
            document.groups.append(text)
        elif name in seen or name not in {*_TEXTS, "metadata"}:
            why = "given twice" if name in seen else "a raw document has no such parameter"
            raise MalformedMessage(f"query: {printable(name)}: {why}", metadata={"field": printable(name)})
        elif name == "metadata":
            metadata = text
        else:
            setattr(document, _TEXTS[name], text)
        seen.add(name)
    _set_metadata(document, metadata)
    return document


def _set_metadata(document: pb.DocumentInput, text: str) -> None:
    given = parse_json(text, place="metadata")
    if not isinstance(given, dict):
        raise MalformedMessage("metadata: a JSON object is expected")
    for name, value in given.items():
        document.metadata[name].CopyFrom(to_value(value, f"metadata.{printable(name)}"))


def to_value(value: Json, place: str) -> filter_pb2.Value:
    """A metadata value from plain JSON, or from the contract's own form."""
    match value:
        case bool():
            return filter_pb2.Value(bool_value=value)
        case int() | float():
            return filter_pb2.Value(number_value=number_of(value, place))
        case str():
            return filter_pb2.Value(string_value=value)
    message = to_message(value, filter_pb2.Value.DESCRIPTOR, place=place)
    assert isinstance(message, filter_pb2.Value)
    return message
