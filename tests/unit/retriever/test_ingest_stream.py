"""How a stream's messages become documents, and their results a stream."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from google.rpc import error_details_pb2
from rag.retriever.v1 import document_pb2 as pb

from chassis.errors import CatalogueUnavailable, DocumentUnreadable, InvalidRequest, MessageTooLarge
from chassis.identity import LOCAL
from retriever.ingest_stream import IngestStream, StreamLimits
from retriever.types import DocumentRecord, Outcome, PutResult

KIB = 1 << 10
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


class FakeWriter:
    """Stores what it is given; a document id that begins with "bad" fails, one with "slow" waits for `go`."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.at_work = 0
        self.most_at_work = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.stored_one = asyncio.Event()
        self.cancelled: list[str] = []

    async def put_upload(self, identity, collection, upload, budget):
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            return await self._put(upload)
        except asyncio.CancelledError:
            self.cancelled.append(upload.document_id)
            raise
        finally:
            self.at_work -= 1
            upload.close()

    async def _put(self, upload):
        if upload.document_id.startswith("slow"):
            self.begun.set()
            await self.go.wait()
        if upload.document_id.startswith("bad"):
            raise DocumentUnreadable("this is no PDF")
        if upload.document_id.startswith("down"):
            raise CatalogueUnavailable("the catalogue is down")
        source = upload.load()
        self.stored[upload.document_id] = source.data
        self.stored_one.set()
        return PutResult(Outcome.STORED, len(self.stored), record_of(upload.document_id))


@pytest.fixture
async def writer():
    return FakeWriter()


def stream_of(writer, *, in_flight=4, max_document_bytes=1_000_000):
    limits = StreamLimits(in_flight=in_flight, max_document_bytes=max_document_bytes)
    return IngestStream(writer, LOCAL, request_id="r1", limits=limits, clock=asyncio.get_running_loop().time)


async def ingest(writer, *messages, **options):
    return [result async for result in stream_of(writer, **options).results(sent(messages))]


async def sent(messages):
    for message in messages:
        if isinstance(message, Exception):
            raise message
        yield message


def document(document_id, *, collection="docs", has_parts=False, data=b"x", **fields):
    given = {"data": data} if data or not has_parts else {}
    found = pb.DocumentInput(document_id=document_id, has_parts=has_parts, **given, **fields)
    return pb.IngestDocumentsRequest(collection=collection, document=found)


def part(data=b"x", *, is_last=False, collection=""):
    return pb.IngestDocumentsRequest(collection=collection, part=pb.DocumentPart(data=data, is_last=is_last))


def outcomes(results):
    names = {value: name.removeprefix("INGEST_OUTCOME_") for name, value in pb.IngestOutcome.items()}
    return [(result.index, result.document_id, names[result.outcome]) for result in results]


def reason_of(result):
    info = error_details_pb2.ErrorInfo()
    assert result.error.details[0].Unpack(info)
    return info.reason


class TestWholeDocuments:
    async def test_each_gets_one_result_in_the_order_sent(self, writer):
        results = await ingest(writer, document("a"), document("b"), document("c"))
        assert outcomes(results) == [(0, "a", "STORED"), (1, "b", "STORED"), (2, "c", "STORED")]

    async def test_results_wait_for_the_slow_one_before_them(self, writer):
        results = stream_of(writer).results(sent([document("slow"), document("b")]))
        first = asyncio.create_task(anext(results))
        await writer.begun.wait()
        await writer.stored_one.wait()
        assert (list(writer.stored), first.done()) == (["b"], False)
        writer.go.set()
        assert (await first).document_id == "slow"
        assert (await anext(results)).document_id == "b"
        await results.aclose()

    async def test_a_bad_one_fails_alone_and_says_why(self, writer):
        results = await ingest(writer, document("a"), document("bad"), document("c"))
        assert outcomes(results) == [(0, "a", "STORED"), (1, "bad", "FAILED"), (2, "c", "STORED")]
        assert reason_of(results[1]) == "DOCUMENT_UNREADABLE"

    async def test_an_outage_fails_the_document_and_not_the_stream(self, writer):
        results = await ingest(writer, document("down"), document("b"))
        assert [reason_of(results[0]), results[1].outcome] == ["CATALOGUE_UNAVAILABLE", pb.INGEST_OUTCOME_STORED]

    async def test_the_same_id_twice_fails_the_second_time(self, writer):
        results = await ingest(writer, document("a", data=b"1"), document("a", data=b"2"))
        assert outcomes(results) == [(0, "a", "STORED"), (1, "a", "FAILED")]
        assert reason_of(results[1]) == "DOCUMENT_DUPLICATED"
        assert writer.stored == {"a": b"1"}

    async def test_text_is_stored_as_utf_8(self, writer):
        found = pb.DocumentInput(document_id="a", text="é")
        await ingest(writer, pb.IngestDocumentsRequest(collection="docs", document=found))
        assert writer.stored == {"a": "é".encode()}

    async def test_an_empty_stream_is_no_error(self, writer):
        assert await ingest(writer) == []


BAD_DOCUMENTS = {
    "no id": {"document_id": ""},
    "an id that is too long": {"document_id": "x" * 513},
    "a control character in the id": {"document_id": "a\nb"},
    "a title that is too long": {"title": "x" * 513},
    "no media type": {"content_type": "pdf"},
    "a reserved metadata name": {"metadata": {"title": {"string_value": "x"}}},
    "an empty metadata value": {"metadata": {"year": {}}},
    "metadata that is not a number": {"metadata": {"year": {"number_value": float("nan")}}},
    "too many groups": {"groups": [str(n) for n in range(257)]},
    "everybody and somebody": {"groups": ["*", "staff"]},
    "an empty group": {"groups": [""]},
}


@pytest.mark.parametrize("fields", BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
async def test_a_bad_field_fails_its_document_only(writer, fields):
    results = await ingest(writer, document(**{"document_id": "a", **fields}), document("b"))
    assert [result.outcome for result in results] == [pb.INGEST_OUTCOME_FAILED, pb.INGEST_OUTCOME_STORED]
    assert reason_of(results[0]) == "FIELD_INVALID"


class TestParts:
    async def test_they_are_put_together_in_order(self, writer):
        results = await ingest(
            writer, document("a", has_parts=True, data=b"1"), part(b"2"), part(b"3", is_last=True), document("b")
        )
        assert outcomes(results) == [(0, "a", "STORED"), (1, "b", "STORED")]
        assert writer.stored["a"] == b"123"

    async def test_a_document_larger_than_memory_allows_goes_through_a_file(self, writer):
        block = bytes(range(256)) * KIB
        messages = [document("a", has_parts=True, data=b""), *[part(block) for _ in range(3)], part(is_last=True)]
        await ingest(writer, *messages)
        assert writer.stored["a"] == block * 3 + b"x"

    async def test_too_many_fail_their_document_and_the_rest_of_them_is_skipped(self, writer):
        messages = [document("a", has_parts=True), *[part(b"x" * 500) for _ in range(5)], part(is_last=True)]
        results = await ingest(writer, *messages, document("b"), max_document_bytes=1_000)
        assert outcomes(results) == [(0, "a", "FAILED"), (1, "b", "STORED")]
        assert reason_of(results[0]) == "DOCUMENT_TOO_LARGE"

    async def test_one_that_is_too_large_fails_its_document(self, writer):
        results = await ingest(
            writer,
            document("a", has_parts=True),
            part(b"x" * (KIB * KIB + 1), is_last=True),
            document("b"),
            max_document_bytes=10 * KIB * KIB,
        )
        assert outcomes(results) == [(0, "a", "FAILED"), (1, "b", "STORED")]

    async def test_the_next_document_before_the_last_part_fails_the_first(self, writer):
        results = await ingest(writer, document("a", has_parts=True), part(), document("b"))
        assert outcomes(results) == [(0, "a", "FAILED"), (1, "b", "STORED")]

    async def test_the_end_before_the_last_part_fails_the_document(self, writer):
        results = await ingest(writer, document("a", has_parts=True), part())
        assert outcomes(results) == [(0, "a", "FAILED")]

    async def test_those_of_no_document_make_one_failure(self, writer):
        results = await ingest(writer, document("a"), part(), part(), part(is_last=True), document("b"))
        assert outcomes(results) == [(0, "a", "STORED"), (1, "", "FAILED"), (2, "b", "STORED")]

    async def test_those_of_a_refused_document_are_skipped(self, writer):
        results = await ingest(writer, document("", has_parts=True), part(), part(is_last=True), document("b"))
        assert outcomes(results) == [(0, "", "FAILED"), (1, "b", "STORED")]

    async def test_a_message_with_neither_document_nor_part_is_a_failure(self, writer):
        results = await ingest(writer, pb.IngestDocumentsRequest(collection="docs"), document("a"))
        assert outcomes(results) == [(0, "", "FAILED"), (1, "a", "STORED")]


class TestTheCollection:
    async def test_it_is_named_once(self, writer):
        results = await ingest(writer, document("a"), document("b", collection=""))
        assert outcomes(results) == [(0, "a", "STORED"), (1, "b", "STORED")]

    async def test_another_one_later_fails_that_document(self, writer):
        results = await ingest(writer, document("a"), document("b", collection="other"), document("c"))
        assert outcomes(results) == [(0, "a", "STORED"), (1, "b", "FAILED"), (2, "c", "STORED")]

    @pytest.mark.parametrize("name", ["", "Docs", "a/b", "x" * 65])
    async def test_a_stream_without_one_is_refused(self, writer, name):
        with pytest.raises(InvalidRequest) as raised:
            await ingest(writer, document("a", collection=name))
        assert [violation.field for violation in raised.value.violations] == ["collection"]


class TestBackPressure:
    async def test_no_more_than_allowed_is_in_work_and_no_further_message_is_read(self, writer):
        read = []

        async def messages():
            for number in range(10):
                read.append(number)
                yield document(f"slow{number}")

        results = stream_of(writer, in_flight=2).results(messages())
        first = asyncio.create_task(anext(results))
        for _ in range(100):
            await asyncio.sleep(0)
        assert (writer.at_work, len(read)) == (2, 3)  # the third waits for a place
        writer.go.set()
        assert (await first).index == 0
        assert [result.index async for result in results] == list(range(1, 10))
        assert writer.most_at_work == 2


class TestAnEarlyEnd:
    async def test_a_caller_who_goes_cancels_what_runs_and_leaves_no_task(self, writer):
        results = stream_of(writer).results(sent([document("a"), document("slow"), document("slow2")]))
        assert (await anext(results)).document_id == "a"
        await writer.begun.wait()
        await results.aclose()
        assert sorted(writer.cancelled) == ["slow", "slow2"]
        assert writer.stored == {"a": b"x"}
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_a_message_that_is_none_ends_the_stream_after_the_results_before_it(self, writer):
        results = stream_of(writer).results(sent([document("a"), MessageTooLarge("too large"), document("b")]))
        assert (await anext(results)).document_id == "a"
        with pytest.raises(MessageTooLarge):
            await anext(results)

    async def test_parts_on_disk_are_let_go(self, writer):
        messages = [document("a", has_parts=True), part(b"x" * 300 * KIB), MessageTooLarge("too large")]
        with pytest.raises(MessageTooLarge):  # an open file would be a ResourceWarning, and those are errors here
            await ingest(writer, *messages)


def record_of(document_id):
    return DocumentRecord(
        document_id=document_id,
        version=1,
        title="",
        uri="",
        source="",
        content_type="text/plain",
        metadata={},
        groups=("*",),
        content_hash="",
        chunk_count=1,
        text_chars=1,
        size_bytes=1,
        updated_at=MOMENT,
    )
