"""How a document becomes a committed version: what is done for it, what is not, and what it may cost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from chassis.budget import Budget
from chassis.errors import (
    DeadlineExceeded,
    DocumentEmpty,
    DocumentTooLarge,
    DocumentUnreadable,
    EmbedderUnavailable,
    MetadataConflict,
)
from chassis.identity import LOCAL
from retriever.documents import DocumentSource, ParsedDocument, TextBlock
from retriever.ingest.commit import PreparedDocument
from retriever.ingest.documents import EMBED_BATCH, DocumentWriter, WriterLimits, WriterTools
from retriever.ingest.uploads import Spool, Upload
from retriever.types import DocumentRecord, Outcome, PutResult, Snapshot
from tests.unit.retriever.pipeline_fakes import FINGERPRINT, FakeHeads, make_head

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DIM = 4


class FakeRecords:
    """The visible documents, by id."""

    def __init__(self) -> None:
        self.documents: dict[str, DocumentRecord] = {}

    async def visible(self, tenant, snapshot, document_ids, *, budget):
        return {each: self.documents[each] for each in document_ids if each in self.documents}


class FakeParser:
    """One paragraph per line; `failure` is raised instead."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.title = ""
        self.parsed: list[str] = []
        self.at_work = 0
        self.most_at_work = 0

    async def parse(self, source, *, budget):
        self.at_work += 1
        self.most_at_work = max(self.at_work, self.most_at_work)
        await asyncio.sleep(0)
        self.at_work -= 1
        if self.failure is not None:
            raise self.failure
        self.parsed.append(source.document_id)
        text = source.data.decode()
        starts = [0, *(index + 1 for index, char in enumerate(text) if char == "\n")]
        blocks = [
            TextBlock("paragraph", start, text.find("\n", start) if "\n" in text[start:] else len(text))
            for start in starts
        ]
        blocks = [block for block in blocks if block.end_char > block.start_char]
        return ParsedDocument(text, tuple(blocks), self.title, "text/plain")


class FakeCommitter:
    """Commits at once; remembers what."""

    def __init__(self, records) -> None:
        self._records = records
        self.committed: list[PreparedDocument] = []

    async def put(self, tenant, collection, document, *, budget):
        record = replace(document.record, version=len(self.committed) + 1)
        self._records.documents[record.document_id] = record
        self.committed.append(document)
        return PutResult(Outcome.STORED, 8, record)

    async def delete(self, tenant, collection, document_id, *, budget):
        raise AssertionError("these tests put documents")

    async def drop_collection(self, tenant, collection, *, budget):
        raise AssertionError("these tests put documents")


class CountingEmbedder:
    fingerprint = FINGERPRINT
    dim = DIM

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.at_work = 0
        self.most_at_work = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def embed(self, texts, *, budget):
        self.at_work += 1
        self.most_at_work = max(self.at_work, self.most_at_work)
        self.begun.set()
        try:
            await self.go.wait()
            await asyncio.sleep(0)
        finally:
            self.at_work -= 1
        self.batches.append(len(texts))
        return np.ones((len(texts), DIM), np.float32)


class Desk:
    """A writer over fakes, in a collection that exists."""

    def __init__(self) -> None:
        self.heads = FakeHeads(make_head(tenant=LOCAL.tenant))
        self.records = FakeRecords()
        self.parser = FakeParser()
        self.committer = FakeCommitter(self.records)
        self.embedder: CountingEmbedder | None = CountingEmbedder()
        self.limits = WriterLimits(max_document_bytes=1_000_000, bytes_in_flight=2_000_000)
        self._writer: DocumentWriter | None = None

    @property
    def writer(self):
        if self._writer is None:
            tools = WriterTools(self.heads, self.records, self.parser, self.committer, self.embedder)
            self._writer = DocumentWriter(tools, self.limits, now=lambda: NOW)
        return self._writer

    async def put(self, document_id="a.txt", text="Words.", *, budget_s=30.0, collection="docs", **fields):
        source = DocumentSource(document_id, text.encode(), **fields)
        return await self.writer.put(LOCAL, collection, source, Budget.of(budget_s))


@pytest.fixture
async def desk():
    return Desk()


def long_text(chunks):
    return "\n".join(f"This is paragraph number {n} of a long document. " * 12 for n in range(chunks))


class TestWhatIsDone:
    async def test_a_new_document_is_parsed_cut_embedded_and_committed(self, desk):
        result = await desk.put(title="T", uri="u", source="s", metadata={"year": 1.0}, groups=("staff",))
        [document] = desk.committer.committed
        assert result.outcome is Outcome.STORED
        assert (document.text, len(document.drafts), document.vectors.shape) == ("Words.", 1, (1, DIM))
        assert document.embedder_fingerprint == FINGERPRINT
        record = document.record
        assert (record.title, record.uri, record.source, record.metadata, record.groups) == (
            "T",
            "u",
            "s",
            {"year": 1.0},
            ("staff",),
        )
        assert (record.size_bytes, record.text_chars, record.updated_at) == (6, 6, NOW)

    async def test_an_equal_document_is_neither_parsed_nor_embedded(self, desk):
        await desk.put()
        result = await desk.put()
        assert (result.outcome, result.generation) == (Outcome.UNCHANGED, 7)
        assert (desk.parser.parsed, len(desk.embedder.batches)) == (["a.txt"], 1)

    async def test_a_change_of_groups_alone_is_written(self, desk):
        await desk.put()
        assert (await desk.put(groups=("staff",))).outcome is Outcome.STORED

    async def test_the_files_own_title_is_taken_when_none_is_given(self, desk):
        desk.parser.title = "From the file"
        assert (await desk.put()).record.title == "From the file"

    async def test_without_any_title_the_file_is_named_but_its_chunks_do_not_know(self, desk):
        await desk.put("folder/p012.txt")
        [document] = desk.committer.committed
        assert document.record.title == "p012.txt"
        assert document.drafts[0].embed_text == "Words."

    async def test_a_documents_parts_are_read_from_where_they_wait(self, desk):
        spool = Spool(100)
        spool.append(b"Words ")
        spool.append(b"in parts.")
        upload = Upload(0, DocumentSource("a.txt", b""), spool)
        await desk.writer.put_upload(LOCAL, "docs", upload, Budget.of(30))
        assert desk.committer.committed[0].text == "Words in parts."


class TestTheEmbedder:
    async def test_a_new_collection_takes_the_one_here(self, desk):
        await desk.put(collection="new")
        assert desk.committer.committed[0].embedder_fingerprint == FINGERPRINT

    async def test_a_new_collection_without_one_is_lexical(self, desk):
        desk.embedder = None
        await desk.put(collection="new")
        assert (desk.committer.committed[0].embedder_fingerprint, desk.committer.committed[0].vectors) == ("", None)

    async def test_a_lexical_collection_stays_lexical(self, desk):
        desk.heads.head = make_head(tenant=LOCAL.tenant, embedder_fingerprint="")
        await desk.put()
        assert (desk.committer.committed[0].vectors, desk.embedder.batches) == (None, [])

    @pytest.mark.parametrize("embedder", [None, "another"])
    async def test_vectors_of_another_one_are_refused(self, desk, embedder):
        desk.heads.head = make_head(tenant=LOCAL.tenant, embedder_fingerprint="theirs")
        desk.embedder = desk.embedder if embedder else None
        with pytest.raises(EmbedderUnavailable):
            await desk.put()
        assert desk.parser.parsed == []

    async def test_a_collection_nothing_was_committed_to_fixes_nothing(self, desk):
        desk.heads.head = make_head(tenant=LOCAL.tenant, embedder_fingerprint="theirs", snapshot=Snapshot("uid-1"))
        await desk.put()
        assert desk.committer.committed[0].embedder_fingerprint == FINGERPRINT


class TestWhatIsRefused:
    async def test_an_empty_file(self, desk):
        with pytest.raises(DocumentEmpty):
            await desk.put(text="")

    async def test_a_file_over_the_limit(self, desk):
        with pytest.raises(DocumentTooLarge):
            await desk.put(text="x" * 1_000_001)

    async def test_what_the_parser_refuses_leaves_nothing(self, desk):
        desk.parser.failure = DocumentUnreadable("no pdf")
        with pytest.raises(DocumentUnreadable):
            await desk.put()
        assert desk.committer.committed == []

    async def test_a_value_of_another_type_costs_no_parsing(self, desk):
        with pytest.raises(MetadataConflict):
            await desk.put(metadata={"year": "1999"})
        assert desk.parser.parsed == []


class TestWhatItMayCost:
    async def test_documents_take_turns_in_batches_and_never_embed_two_at_once(self, desk):
        await asyncio.gather(*(desk.put(f"{n}.txt", long_text(100)) for n in range(3)))
        assert desk.embedder.most_at_work == 1
        assert max(desk.embedder.batches) == EMBED_BATCH
        assert {len(document.drafts) for document in desk.committer.committed} == {sum(desk.embedder.batches) // 3}

    async def test_bytes_in_work_are_bounded(self, desk):
        text = long_text(4)
        desk.limits = WriterLimits(max_document_bytes=1_000_000, bytes_in_flight=2 * len(text))
        await asyncio.gather(*(desk.put(f"{n}.txt", text) for n in range(9)))
        assert desk.parser.most_at_work <= 2
        assert len(desk.committer.committed) == 9

    async def test_time_running_out_in_the_middle_of_embedding_is_a_deadline(self, desk):
        desk.embedder.go.clear()
        with pytest.raises(DeadlineExceeded):
            await desk.put(budget_s=0.05)
        assert desk.committer.committed == []

    async def test_a_writer_who_goes_lets_the_next_one_embed(self, desk):
        desk.embedder.go.clear()
        gone = asyncio.create_task(desk.put("gone.txt"))
        await desk.embedder.begun.wait()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        desk.embedder.go.set()
        assert (await desk.put("next.txt")).outcome is Outcome.STORED
