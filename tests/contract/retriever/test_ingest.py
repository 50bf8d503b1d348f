"""IngestDocuments over a socket: many documents at once, each with a result of its own."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from rag.retriever.v1 import document_pb2 as pb

from chassis.errors import BackendUnavailable, CollectionNotFound, InvalidRequest, PermissionDenied
from chassis.status import from_rpc_error, from_rpc_status
from tests.contract.retriever.conftest import document, eventually, ids, refused, running

MIB = 1 << 20
LABELS = 'grpc_method="IngestDocuments",grpc_service="rag.retriever.v1.DocumentService"'


def part(data, *, is_last=False):
    return pb.IngestDocumentsRequest(part=pb.DocumentPart(data=data, is_last=is_last))


def in_parts(document_id, *blocks):
    opening = pb.DocumentInput(document_id=document_id, content_type="text/plain", has_parts=True)
    yield pb.IngestDocumentsRequest(collection="docs", document=opening)
    for block in blocks[:-1]:
        yield part(block)
    yield part(blocks[-1], is_last=True)


def outcomes(results):
    return [pb.IngestOutcome.Name(result.outcome).removeprefix("INGEST_OUTCOME_") for result in results]


class TestResults:
    async def test_they_come_in_the_order_sent_and_the_documents_are_found(self, owner):
        names = [f"{n:02}.txt" for n in range(30)]
        results = await owner.ingest(*(document(name, f"Report {name} about trains.") for name in names))
        assert [(result.index, result.document_id) for result in results] == list(enumerate(names))
        assert set(outcomes(results)) == {"STORED"}
        assert {result.chunk_count for result in results} == {1}
        assert (await owner.list()).total_size == 30
        newest = max(result.generation for result in results)
        assert len((await owner.retrieve("trains", top_k=100, min_generation=newest)).passages) == 30

    async def test_documents_share_commits(self, owner):
        await owner.ingest(*(document(f"{n}.txt", f"Words {n}.") for n in range(40)))
        assert (await owner.collection()).generation < 40

    async def test_sending_everything_again_changes_nothing(self, owner):
        messages = [document(f"{n}.txt", f"Words {n}.") for n in range(5)]
        await owner.ingest(*messages)
        before = await owner.collection()
        assert outcomes(await owner.ingest(*messages)) == ["UNCHANGED"] * 5
        assert await owner.collection() == before

    async def test_bad_documents_fail_alone_each_with_its_reason(self, owner):
        results = await owner.ingest(
            document("a.txt", "Good."),
            document("empty.txt", ""),
            document("", "No id."),
            document("a.txt", "The same id again."),
            document("broken.pdf", data=b"no pdf"),
            document("zip.docx", data=b"no archive"),
            document("what.bin", data=b"\0\1\2\3" * 100),
            document("b.txt", "Good."),
        )
        assert outcomes(results) == ["STORED", *["FAILED"] * 6, "STORED"]
        reasons = [from_rpc_status(result.error).reason for result in results[1:7]]
        assert reasons[:3] == ["DOCUMENT_EMPTY", "FIELD_INVALID", "DOCUMENT_DUPLICATED"]
        assert all(reason.startswith("DOCUMENT_") for reason in reasons[3:])
        assert (await owner.list()).total_size == 2

    async def test_a_failure_carries_the_request_id(self, owner):
        [failed] = await owner.ingest(document("empty.txt", ""))
        kinds = [detail.TypeName() for detail in failed.error.details]
        assert error_details_pb2.RequestInfo.DESCRIPTOR.full_name in kinds


class TestParts:
    async def test_a_large_document_comes_in_parts(self, owner):
        line = b"The train leaves at noon from platform nine. "
        block = line * (MIB // len(line) // 8)
        [result] = await owner.ingest(
            *in_parts("big.txt", block[:50_000], block[50_000:60_000], b"The end is swordfish.")
        )
        assert outcomes([result]) == ["STORED"]
        found = await owner.get("big.txt", view=pb.DOCUMENT_VIEW_FULL)
        assert found.size_bytes == 60_021
        assert found.text.endswith("The end is swordfish.")
        assert ids(await owner.retrieve("swordfish", top_k=1)) == ["big.txt"]

    async def test_one_over_the_limit_fails_alone(self, tmp_path, embedder):
        async with running(tmp_path, embedder, max_document_bytes=100_000) as retriever:
            big = in_parts("big.txt", *[b"x" * 60_000] * 4)
            results = await retriever.owner.ingest(*big, document("small.txt", "Words."))
        assert outcomes(results) == ["FAILED", "STORED"]
        assert from_rpc_status(results[0].error).reason == "DOCUMENT_TOO_LARGE"

    async def test_parts_out_of_order_fail_their_document_alone(self, owner):
        opening = pb.DocumentInput(document_id="open.txt", has_parts=True)
        results = await owner.ingest(
            document("a.txt", "Words."),
            part(b"whose?"),
            pb.IngestDocumentsRequest(document=opening),
            part(b"first"),
            document("b.txt", "Words.", collection=""),
        )
        assert outcomes(results) == ["STORED", "FAILED", "FAILED", "STORED"]
        assert [result.document_id for result in results] == ["a.txt", "", "open.txt", "b.txt"]


class TestTheStream:
    async def test_without_a_collection_it_is_refused(self, owner):
        async with refused(InvalidRequest, "collection"):
            await owner.ingest(document("a.txt", collection=""))

    async def test_a_reader_may_not_open_one(self, reader):
        async with refused(PermissionDenied):
            await reader.ingest(document("a.txt"))

    async def test_an_empty_one_ends_well(self, owner):
        assert await owner.ingest() == []

    async def test_a_caller_who_goes_keeps_what_was_acknowledged_and_nothing_else_breaks(self, retriever, owner):
        gone = asyncio.Event()

        async def messages():
            yield document("kept.txt", "This was acknowledged.")
            await gone.wait()

        call = owner.open_ingest(messages())
        assert (await call.read()).outcome == pb.INGEST_OUTCOME_STORED
        call.cancel()
        gone.set()
        assert ids(await owner.retrieve("acknowledged")) == ["kept.txt"]

        async def is_idle():
            exposed = retriever.telemetry.exposition()[0].decode()
            return f"grpc_server_in_flight{{{LABELS}}} 0.0" in exposed

        await eventually(is_idle)
        assert outcomes(await owner.ingest(document("next.txt", "Words."))) == ["STORED"]

    async def test_many_at_once_lose_nothing(self, owner):
        async def send(stream):
            return await owner.ingest(*(document(f"{stream}-{n}.txt", f"Words {stream} {n}.") for n in range(10)))

        streams = await asyncio.gather(*(send(stream) for stream in range(4)))
        assert {outcome for results in streams for outcome in outcomes(results)} == {"STORED"}
        assert (await owner.list(page_size=1)).total_size == 40

    async def test_a_message_that_is_too_large_ends_it_after_the_results_before(self, owner):
        async def messages():
            yield document("a.txt", "Words.")
            yield document("big.txt", "x" * 4_000_000)

        call = owner.open_ingest(messages())
        assert (await call.read()).document_id == "a.txt"
        with pytest.raises(grpc.RpcError) as raised:
            await call.read()
        assert from_rpc_error(raised.value, BackendUnavailable).reason == "MESSAGE_TOO_LARGE"
        assert (await owner.get("a.txt")).document_id == "a.txt"


class TestARestart:
    async def test_everything_acknowledged_is_there_again(self, tmp_path, embedder):
        async with running(tmp_path, embedder) as retriever:
            await retriever.owner.ingest(document("a.txt", "The key is red."), document("b.txt", "The key is blue."))
            await retriever.owner.delete("b.txt")
            await retriever.owner.put("c.txt", "The key is green.", groups=["staff"])
            before = await retriever.owner.collection()
        async with running(tmp_path, embedder) as retriever:
            assert await retriever.owner.collection() == before
            assert sorted(ids(await retriever.owner.retrieve("key"))) == ["a.txt", "c.txt"]
            assert ids(await retriever.reader.retrieve("key")) == ["a.txt"]
            assert outcomes(await retriever.owner.ingest(document("a.txt", "The key is red."))) == ["UNCHANGED"]

    async def test_a_dropped_collection_stays_dropped(self, tmp_path, embedder):
        async with running(tmp_path, embedder) as retriever:
            await retriever.owner.put("a.txt", "Words.")
            await retriever.owner.delete_collection()
        async with running(tmp_path, embedder) as retriever, refused(CollectionNotFound):
            await retriever.owner.retrieve("words")
