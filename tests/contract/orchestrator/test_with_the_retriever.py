"""The orchestrator and the real retriever over sockets: what an acknowledged write means for the next ask."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from rag.orchestrator.v1 import filter_pb2
from rag.orchestrator.v1 import orchestrator_pb2 as pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as rpc
from rag.retriever.v1 import document_pb2 as dpb
from rag.retriever.v1 import document_pb2_grpc as drpc

import orchestrator.app
import retriever.app
from chassis.channel import open_channel
from chassis.errors import CollectionNotFound, FilterInvalid, RetrieverUnavailable
from chassis.settings import load
from chassis.telemetry import Telemetry
from orchestrator.settings import OrchestratorSettings
from retriever.settings import RetrieverSettings
from tests.contract.orchestrator.asking import failure

QUESTION = "How long does the lease last?"
BODY = "# Leases\n\nThe lease lasts {} seconds, and it is renewed every ten seconds by its owner.\n"


@dataclass
class Chain:
    asks: Any
    documents: Any
    retriever: Any

    async def put(self, seconds, document_id="leases.md", **fields):
        document = dpb.DocumentInput(document_id=document_id, text=BODY.format(seconds), **fields)
        await self.documents.PutDocument(dpb.PutDocumentRequest(collection="docs", document=document), timeout=20)

    async def ask(self, question=QUESTION, **fields):
        return await self.asks.Ask(pb.AskRequest(collection="docs", question=question, **fields), timeout=10)


@asynccontextmanager
async def searching(tmp_path, **settings):
    """The retriever on the test's data folder and socket."""
    given = {
        "listen": f"unix:{tmp_path}/r.sock",
        "data_folder": tmp_path / "data",
        "retrieval_timeout_ms": 2_000,  # a loaded test machine is not what is tested here
        "drain_s": 0.2,
        **settings,
    }
    async with retriever.app.build(load(RetrieverSettings, **given), telemetry=Telemetry("test")) as found:
        yield found


@asynccontextmanager
async def asking(tmp_path, embedder=None):
    """The orchestrator of whatever retriever has the test's socket."""
    settings = load(
        OrchestratorSettings,
        listen=f"unix:{tmp_path}/o.sock",
        retriever_address=f"unix:{tmp_path}/r.sock",
        retrieve_timeout_ms=2_500,
        drain_s=0.2,
    )
    async with AsyncExitStack() as stack:
        opened = orchestrator.app.build(settings, embedder=embedder, telemetry=Telemetry("test"))
        asked = await stack.enter_async_context(opened)
        to_retriever, to_orchestrator = open_channel(settings.retriever_address), open_channel(asked.address)
        stack.push_async_callback(to_retriever.close)
        stack.push_async_callback(to_orchestrator.close)
        yield rpc.OrchestratorServiceStub(to_orchestrator), drpc.DocumentServiceStub(to_retriever)


@asynccontextmanager
async def chain(tmp_path, **settings):
    async with searching(tmp_path, **settings) as found, asking(tmp_path, found.embedder) as (asks, documents):
        yield Chain(asks, documents, found)


async def test_an_answer_quotes_the_document_verbatim(tmp_path):
    async with chain(tmp_path) as made:
        await made.put(30)
        reply = await made.ask()
        assert "30 seconds" in reply.text
        wanted = dpb.GetDocumentRequest(collection="docs", document_id="leases.md", view=dpb.DOCUMENT_VIEW_FULL)
        document = await made.documents.GetDocument(wanted, timeout=5)
        for citation in reply.citations:
            assert document.text[citation.start_char : citation.end_char] == citation.quote
        assert (await made.ask()).started.cache.status == pb.CACHE_STATUS_HIT_EXACT


async def test_after_a_replacement_no_ask_sees_the_old_words(tmp_path):
    async with chain(tmp_path) as made:
        for seconds in (30, 45, 60):
            await made.put(seconds)
            reply = await made.ask()
            assert reply.started.cache.status == pb.CACHE_STATUS_MISS
            assert f"{seconds} seconds" in reply.text
            assert (await made.ask()).started.cache.status == pb.CACHE_STATUS_HIT_EXACT


async def test_after_a_delete_no_ask_sees_the_document(tmp_path):
    async with chain(tmp_path) as made:
        await made.put(30)
        await made.put(99, "other.md")
        await made.ask()
        await made.documents.DeleteDocument(
            dpb.DeleteDocumentRequest(collection="docs", document_id="leases.md"), timeout=10
        )
        reply = await made.ask()
        assert "leases.md" not in {source.document_id for source in reply.retrieval.sources}
        assert reply.started.cache.status == pb.CACHE_STATUS_MISS


async def test_after_its_groups_change_no_ask_sees_the_document(tmp_path):
    async with chain(tmp_path) as made:
        await made.put(30)
        await made.put(99, "other.md")
        await made.ask()
        await made.put(30, groups=["hr"])
        reply = await made.ask()
        assert "leases.md" not in {source.document_id for source in reply.retrieval.sources}


async def test_a_paraphrase_hits_until_the_next_write_and_another_question_never_does(tmp_path):
    async with chain(tmp_path) as made:
        await made.put(30)
        await made.ask()
        paraphrase = "How long does a lease last?"
        hit = await made.ask(paraphrase)
        assert hit.started.cache.status == pb.CACHE_STATUS_HIT_SEMANTIC
        assert hit.started.cache.similarity >= 0.9
        assert (await made.ask("How long doesn't the lease last?")).started.cache.status == pb.CACHE_STATUS_MISS
        await made.put(45)
        fresh = await made.ask(paraphrase)
        assert fresh.started.cache.status == pb.CACHE_STATUS_MISS
        assert "45 seconds" in fresh.text


async def test_an_unknown_collection_and_an_unknown_field_are_the_callers_errors(tmp_path):
    async with chain(tmp_path) as made:
        assert isinstance(await failure(made.ask()), CollectionNotFound)
        await made.put(30)
        unknown = filter_pb2.Filter(
            comparison=filter_pb2.Comparison(
                field="nope", operator=filter_pb2.OPERATOR_EQ, value=filter_pb2.Value(string_value="x")
            )
        )
        assert isinstance(await failure(made.ask(filter=unknown)), FilterInvalid)


async def test_when_the_retriever_stops_a_known_answer_is_served_and_a_new_one_refused(tmp_path):
    async with chain(tmp_path) as made:
        await made.put(30)
        before = await made.ask()
        await made.retriever.drain()
        hit = await made.ask()
        assert hit.text == before.text
        assert [lost.reason for lost in hit.completed.degraded] == [pb.DEGRADED_REASON_RETRIEVER_UNAVAILABLE]
        refused = await failure(made.ask("What renews the lease?"))
        assert isinstance(refused, RetrieverUnavailable)
        assert refused.retry_after_s
