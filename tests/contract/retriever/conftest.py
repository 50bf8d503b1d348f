"""A real retriever over a Unix socket: embedded store, real embedder, real parser, credentials of two tenants."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from rag.retriever.v1 import (
    collection_pb2 as collections,
)
from rag.retriever.v1 import (
    collection_pb2_grpc,
    document_pb2_grpc,
    maintenance_pb2_grpc,
    retriever_pb2_grpc,
)
from rag.retriever.v1 import (
    document_pb2 as documents,
)
from rag.retriever.v1 import (
    retriever_pb2 as retrieval,
)

from chassis.address import socket_folder
from chassis.admission import Admission
from chassis.channel import open_channel
from chassis.errors import BackendUnavailable
from chassis.settings import load
from chassis.status import from_rpc_error
from chassis.telemetry import Telemetry
from embedding.manifest import Precision
from embedding.models import ensure_model
from embedding.onnx import OnnxEmbedder
from retriever.app import build
from retriever.settings import RetrieverSettings

TIMEOUT_S = 30.0  # a shared machine stalls for seconds
OWNER = "acme-owner"  # every role, group staff
READER = "acme-reader"  # may ask, no group
RIVAL = "rival-owner"  # another tenant
KEYS = {
    OWNER: {
        "tenant": "acme",
        "subject": "owner",
        "groups": ["staff"],
        "roles": ["ask", "ingest", "admin", "operator"],
    },
    READER: {"tenant": "acme", "subject": "reader", "roles": ["ask"]},
    RIVAL: {"tenant": "rival", "subject": "rival", "groups": ["staff"], "roles": ["ask", "ingest", "admin"]},
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedder():
    files = await ensure_model(Precision.INT8)
    async with OnnxEmbedder.opened(files, Precision.INT8, lanes=2) as opened:
        yield opened


@dataclass(frozen=True)
class Caller:
    """One identity's view of a running retriever."""

    channel: grpc.aio.Channel
    key: str

    async def unary(self, stub, method, request, timeout=TIMEOUT_S):
        call = getattr(stub(self.channel), method)
        return await call(request, timeout=timeout, metadata=self.metadata)

    @property
    def metadata(self):
        return (("authorization", f"Bearer {self.key}"),)

    async def put(self, document_id, text="x", *, collection="docs", **fields):
        given = documents.DocumentInput(
            document_id=document_id, **({} if "data" in fields else {"text": text}), **fields
        )
        request = documents.PutDocumentRequest(collection=collection, document=given)
        return await self.unary(document_pb2_grpc.DocumentServiceStub, "PutDocument", request)

    async def get(self, document_id, *, collection="docs", view=documents.DOCUMENT_VIEW_BASIC):
        request = documents.GetDocumentRequest(collection=collection, document_id=document_id, view=view)
        return await self.unary(document_pb2_grpc.DocumentServiceStub, "GetDocument", request)

    async def list(self, *, collection="docs", **fields):
        request = documents.ListDocumentsRequest(collection=collection, **fields)
        return await self.unary(document_pb2_grpc.DocumentServiceStub, "ListDocuments", request)

    async def delete(self, document_id, *, collection="docs"):
        request = documents.DeleteDocumentRequest(collection=collection, document_id=document_id)
        return await self.unary(document_pb2_grpc.DocumentServiceStub, "DeleteDocument", request)

    def open_ingest(self, messages):
        stub = document_pb2_grpc.DocumentServiceStub(self.channel)
        return stub.IngestDocuments(messages, timeout=TIMEOUT_S, metadata=self.metadata)

    async def ingest(self, *messages):
        async def sent():
            for message in messages:
                yield message

        return [result async for result in self.open_ingest(sent())]

    async def retrieve(self, query, *, collection="docs", timeout=TIMEOUT_S, **fields):
        request = retrieval.RetrieveRequest(collection=collection, query=query, **fields)
        return await self.unary(retriever_pb2_grpc.RetrieverServiceStub, "Retrieve", request, timeout)

    async def snapshot(self, *, collection="docs"):
        request = retrieval.GetSnapshotRequest(collection=collection)
        return await self.unary(retriever_pb2_grpc.RetrieverServiceStub, "GetSnapshot", request)

    async def collection(self, name="docs"):
        request = collections.GetCollectionRequest(collection=name)
        return await self.unary(collection_pb2_grpc.CollectionServiceStub, "GetCollection", request)

    async def collections(self, **fields):
        request = collections.ListCollectionsRequest(**fields)
        return await self.unary(collection_pb2_grpc.CollectionServiceStub, "ListCollections", request)

    async def operate(self, method, request):
        """What a call of MaintenanceService ends with."""
        call = getattr(maintenance_pb2_grpc.MaintenanceServiceStub(self.channel), method)
        last = None
        async for event in call(request, timeout=TIMEOUT_S * 4, metadata=self.metadata):
            last = event
        assert last is not None
        assert last.WhichOneof("event") == "report"
        return last.report

    async def delete_collection(self, name="docs"):
        request = collections.DeleteCollectionRequest(collection=name)
        return await self.unary(collection_pb2_grpc.CollectionServiceStub, "DeleteCollection", request)


@dataclass(frozen=True)
class Running:
    """A retriever, and callers of it."""

    channel: grpc.aio.Channel
    telemetry: Telemetry
    admission: Admission
    address: str

    @property
    def owner(self):
        return Caller(self.channel, OWNER)

    @property
    def reader(self):
        return Caller(self.channel, READER)

    @property
    def rival(self):
        return Caller(self.channel, RIVAL)


@asynccontextmanager
async def running(folder: Path, embedder, /, *, clock=time.monotonic, **settings):
    """A retriever on this data folder; `embedder` None makes it lexical only."""
    keys = folder / "keys.json"
    keys.parent.mkdir(exist_ok=True)
    hashed = [{"sha256": hashlib.sha256(key.encode()).hexdigest(), **entry} for key, entry in KEYS.items()]
    keys.write_text(json.dumps(hashed))
    telemetry = Telemetry("test")
    with socket_folder() as sockets:
        given = {
            "listen": f"unix:{sockets / 'r'}",
            "data_folder": folder / "data",
            "auth": "api-key",
            "api_keys_file": keys,
            "retrieval_timeout_ms": 5_000,  # tests are about what is found; the timebox has tests of its own
            "embedder": "onnx" if embedder else "none",
            "drain_s": 5,
            **settings,
        }
        async with build(
            load(RetrieverSettings, **given), embedder=embedder, telemetry=telemetry, clock=clock
        ) as retriever:
            channel = open_channel(retriever.address)
            try:
                yield Running(channel, telemetry, retriever.admission, retriever.address)
            finally:
                await channel.close()


@pytest.fixture
async def retriever(tmp_path, embedder):
    async with running(tmp_path, embedder) as opened:
        yield opened


@pytest.fixture
def owner(retriever):
    return retriever.owner


@pytest.fixture
def reader(retriever):
    return retriever.reader


@pytest.fixture
def rival(retriever):
    return retriever.rival


@asynccontextmanager
async def refused(kind, *fields):
    """The block's call is refused with this error, these bad fields and no text of Python's or a driver's."""
    with pytest.raises(grpc.RpcError) as raised:
        yield
    error = from_rpc_error(raised.value, BackendUnavailable)
    assert type(error) is kind, f"{error.reason}: {error.message}"
    assert [violation.field for violation in getattr(error, "violations", ())] == list(fields)


def document(document_id, text="x", *, collection="docs", **fields):
    """One message of an ingest stream."""
    found = documents.DocumentInput(document_id=document_id, **({} if "data" in fields else {"text": text}), **fields)
    return documents.IngestDocumentsRequest(collection=collection, document=found)


def ids(response):
    return [passage.document_id for passage in response.passages]


async def eventually(condition):
    """Wait until it holds; the test's own timeout ends a wait in vain."""
    while not await condition():  # noqa: ASYNC110  # what is waited for has no event of ours: it is in metrics
        await asyncio.sleep(0.01)
