"""DocumentService over a socket: what is acknowledged is there, what is refused says why."""

from __future__ import annotations

import asyncio

import pytest
from rag.retriever.v1 import document_pb2 as pb
from rag.retriever.v1 import filter_pb2

from chassis.errors import (
    CollectionNotFound,
    DocumentEmpty,
    DocumentNotFound,
    DocumentTooLarge,
    DocumentUnreadable,
    FilterInvalid,
    InvalidRequest,
    MessageTooLarge,
    MetadataConflict,
    PageTokenInvalid,
    PermissionDenied,
)
from tests.contract.retriever.conftest import document, ids, refused, running

HANDBOOK = (
    "# Leave\n\nEverybody has thirty days of paid leave a year.\n\n# Travel\n\nTrains are booked in second class.\n"
)
GRPC_DEFAULT_BYTES = 4 << 20  # what a client takes unless told otherwise


class TestPut:
    async def test_a_document_is_there_once_it_is_acknowledged(self, owner):
        stored = await owner.put("handbook.md", HANDBOOK, title="Handbook", uri="https://h/1", source="handbook")
        found = await owner.get("handbook.md", view=pb.DOCUMENT_VIEW_FULL)
        assert stored.outcome == pb.INGEST_OUTCOME_STORED
        assert (found.title, found.uri, found.source, found.content_type) == (
            "Handbook",
            "https://h/1",
            "handbook",
            "text/markdown",
        )
        assert "thirty days" in found.text
        assert found.text_chars == len(found.text)
        assert found.chunk_count >= 1
        assert found.size_bytes == len(HANDBOOK.encode())
        assert list(found.groups) == ["*"]

    async def test_its_passages_are_found_at_the_generation_returned(self, owner):
        stored = await owner.put("handbook.md", HANDBOOK)
        response = await owner.retrieve("How many days of leave?", min_generation=stored.generation)
        assert ids(response)[0] == "handbook.md"
        assert response.snapshot.generation >= stored.generation

    async def test_offsets_count_in_the_documents_text(self, owner):
        await owner.put(
            "umlauts.md", "# Überschrift 🎈\n\nDer Käse 🧀 ist grün.\n\n## Zwei\n\nNoch ein Absatz über Wein."
        )
        text = (await owner.get("umlauts.md", view=pb.DOCUMENT_VIEW_FULL)).text
        for passage in (await owner.retrieve("Käse und Wein")).passages:
            assert text[passage.start_char : passage.end_char] == passage.text

    async def test_the_same_again_is_unchanged_and_keeps_generation_and_version(self, owner):
        first = await owner.put("a.md", HANDBOOK)
        again = await owner.put("a.md", HANDBOOK)
        assert again.outcome == pb.INGEST_OUTCOME_UNCHANGED
        assert (again.generation, again.document.version) == (first.generation, first.document.version)

    @pytest.mark.parametrize(
        "change",
        [
            {"text": "something else"},
            {"title": "Other"},
            {"uri": "https://elsewhere"},
            {"source": "elsewhere"},
            {"metadata": {"year": filter_pb2.Value(number_value=2)}},
            {"groups": ["staff"]},
        ],
        ids=lambda change: next(iter(change)),
    )
    async def test_any_change_is_a_new_version(self, owner, change):
        first = await owner.put("a.md", HANDBOOK)
        second = await owner.put("a.md", **{"text": HANDBOOK, **change})
        assert second.outcome == pb.INGEST_OUTCOME_STORED
        assert second.generation > first.generation
        assert second.document.version != first.document.version
        assert (await owner.list()).total_size == 1

    async def test_a_replaced_text_is_not_found_any_more(self, owner):
        await owner.put("a.txt", "The password of the vault is swordfish.")
        await owner.put("a.txt", "The vault was sold.")
        response = await owner.retrieve("swordfish password vault")
        assert [passage.text for passage in response.passages] == ["The vault was sold."]

    async def test_the_title_falls_back_to_the_first_heading_and_then_to_the_name(self, owner):
        assert (await owner.put("a.md", HANDBOOK)).document.title == "Leave"
        assert (await owner.put("folder/notes.txt", "Just words.")).document.title == "notes.txt"

    async def test_an_id_may_hold_slashes(self, owner):
        await owner.put("a/b/c d.txt", "Words.")
        assert (await owner.get("a/b/c d.txt")).document_id == "a/b/c d.txt"

    @pytest.mark.parametrize(
        ("fields", "kind"),
        [
            ({"document_id": "a.txt", "text": ""}, DocumentEmpty),
            ({"document_id": "a.txt", "text": " \n\t "}, DocumentEmpty),
            ({"document_id": "a.pdf", "data": b"this is no pdf"}, DocumentUnreadable),
        ],
    )
    async def test_a_bad_file_says_what_is_wrong_and_stores_nothing(self, owner, fields, kind):
        async with refused(kind):
            await owner.put(**fields)
        async with refused(CollectionNotFound):
            await owner.collection()

    async def test_every_bad_field_is_listed(self, owner):
        async with refused(InvalidRequest, "collection", "document.document_id", "document.title", "document.groups"):
            await owner.put("", "x", collection="Docs!", title="t" * 513, groups=["*", "staff"])

    async def test_a_document_in_parts_belongs_in_a_stream(self, owner):
        async with refused(InvalidRequest, "document.has_parts"):
            await owner.put("a.txt", "x", has_parts=True)

    async def test_a_document_over_the_limit_is_refused(self, tmp_path, embedder):
        limited = running(tmp_path, embedder, max_document_bytes=1_024)
        async with limited as retriever, refused(DocumentTooLarge):
            await retriever.owner.put("a.txt", "x" * 1_025)

    async def test_a_message_over_the_limit_is_refused(self, owner):
        async with refused(MessageTooLarge):
            await owner.put("a.txt", "x" * 4_000_000)

    async def test_a_metadata_value_of_another_type_is_a_conflict_and_changes_nothing(self, owner):
        await owner.put("a.txt", "Words.", metadata={"year": filter_pb2.Value(number_value=2026)})
        async with refused(MetadataConflict, "document.metadata[year]"):
            await owner.put("b.txt", "Words.", metadata={"year": filter_pb2.Value(string_value="2026")})
        assert (await owner.list()).total_size == 1

    async def test_a_reader_may_not_write(self, reader):
        async with refused(PermissionDenied):
            await reader.put("a.txt", "x")

    async def test_two_who_put_the_same_document_at_once_leave_one(self, owner):
        results = await asyncio.gather(*(owner.put("a.txt", f"Version {n}.") for n in range(8)))
        assert {result.outcome for result in results} == {pb.INGEST_OUTCOME_STORED}
        assert (await owner.list()).total_size == 1
        response = await owner.retrieve("Version", top_k=20)
        assert len(response.passages) == 1


class TestGet:
    async def test_the_text_comes_only_with_the_full_view(self, owner):
        await owner.put("a.txt", "Words.")
        assert (await owner.get("a.txt")).text == ""
        assert (await owner.get("a.txt", view=pb.DOCUMENT_VIEW_FULL)).text == "Words."

    async def test_what_is_not_there_is_not_found(self, owner):
        async with refused(CollectionNotFound):
            await owner.get("a.txt")
        await owner.put("a.txt", "Words.")
        async with refused(DocumentNotFound):
            await owner.get("b.txt")

    async def test_an_unknown_view_is_refused(self, owner):
        async with refused(InvalidRequest, "view"):
            await owner.get("a.txt", view=99)


class TestDelete:
    async def test_a_deleted_document_is_gone_everywhere_at_once(self, owner):
        stored = await owner.put("a.txt", "The vault holds gold.")
        gone = await owner.delete("a.txt")
        assert gone.generation > stored.generation
        assert ids(await owner.retrieve("vault gold")) == []
        assert (await owner.list()).total_size == 0
        async with refused(DocumentNotFound):
            await owner.get("a.txt")

    async def test_deleting_it_again_finds_nothing(self, owner):
        await owner.put("a.txt", "Words.")
        await owner.delete("a.txt")
        async with refused(DocumentNotFound):
            await owner.delete("a.txt")

    async def test_a_reader_may_not(self, owner, reader):
        await owner.put("a.txt", "Words.")
        async with refused(PermissionDenied):
            await reader.delete("a.txt")


class TestList:
    async def test_pages_hold_every_document_once_in_order(self, owner):
        names = [f"{n:02}.txt" for n in range(7)]
        await owner.ingest(*(document(name, f"Words of {name}.") for name in names))
        found, token = [], ""
        for _ in range(4):
            page = await owner.list(page_size=2, page_token=token)
            assert page.total_size == 7
            found += [each.document_id for each in page.documents]
            token = page.next_page_token
        assert (found, token) == (names, "")

    async def test_a_full_last_page_has_no_token(self, owner):
        await owner.ingest(document("a.txt"), document("b.txt"))
        assert (await owner.list(page_size=2)).next_page_token == ""

    async def test_a_token_is_good_for_its_request_and_caller_only(self, owner, reader, rival):
        await owner.ingest(document("a.txt"), document("b.txt"))
        await rival.ingest(document("a.txt"), document("b.txt"))
        token = (await owner.list(page_size=1)).next_page_token
        forged = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
        for caller, fields in [
            (owner, {"page_size": 2, "page_token": token}),
            (owner, {"page_size": 1, "page_token": forged}),
            (owner, {"page_size": 1, "page_token": "nonsense"}),
            (owner, {"page_size": 1, "page_token": "é"}),
            (reader, {"page_size": 1, "page_token": token}),
            (rival, {"page_size": 1, "page_token": token}),
        ]:
            async with refused(PageTokenInvalid, "page_token"):
                await caller.list(**fields)

    async def test_a_page_of_large_records_ends_early_and_loses_none(self, owner):
        groups = ["staff", *(f"{number:03}".ljust(256, "€") for number in range(255))]
        wanted = [f"{number:02}.txt" for number in range(40)]
        results = await owner.ingest(*(document(name, groups=groups) for name in wanted))
        assert {result.outcome for result in results} == {pb.INGEST_OUTCOME_STORED}
        found: list[str] = []
        token = ""
        while token or not found:
            page = await owner.list(page_size=1_000, page_token=token)
            assert 0 < page.ByteSize() < GRPC_DEFAULT_BYTES
            assert page.total_size == len(wanted)
            found += [each.document_id for each in page.documents]
            token = page.next_page_token
        assert found == wanted

    async def test_a_negative_page_size_is_refused(self, owner):
        async with refused(InvalidRequest, "page_size"):
            await owner.list(page_size=-1)

    async def test_a_filter_chooses(self, owner):
        await owner.put("a.txt", "Words.", source="wiki")
        await owner.put("b.txt", "Words.", source="mail")
        comparison = filter_pb2.Comparison(
            field="source", operator=filter_pb2.OPERATOR_EQ, value=filter_pb2.Value(string_value="wiki")
        )
        page = await owner.list(filter=filter_pb2.Filter(comparison=comparison))
        assert ([each.document_id for each in page.documents], page.total_size) == (["a.txt"], 1)

    @pytest.mark.parametrize("field", ["section", "page", "colour"])
    async def test_chunk_fields_and_unknown_ones_are_refused(self, owner, field):
        await owner.put("a.txt", "Words.")
        comparison = filter_pb2.Comparison(field=field, operator=filter_pb2.OPERATOR_EXISTS)
        async with refused(FilterInvalid, "filter.comparison.field"):
            await owner.list(filter=filter_pb2.Filter(comparison=comparison))


class TestCollections:
    async def test_the_first_document_creates_one(self, owner, embedder):
        await owner.put("a.txt", "Words.", metadata={"year": filter_pb2.Value(number_value=1)})
        found = await owner.collection()
        assert (found.collection, found.document_count, found.chunk_count) == ("docs", 1, 1)
        assert found.embedder_fingerprint == embedder.fingerprint
        assert dict(found.fields) == {"year": filter_pb2.FIELD_TYPE_NUMBER}
        assert found.create_time.seconds > 0

    async def test_counts_are_of_what_the_caller_may_read(self, owner, reader):
        await owner.put("a.txt", "Words.")
        await owner.put("b.txt", "Words.", groups=["staff"])
        assert (await owner.collection()).document_count == 2
        assert (await reader.collection()).document_count == 1

    async def test_they_are_listed_by_name_in_pages(self, owner):
        for name in ("b", "a", "c"):
            await owner.put("x.txt", "Words.", collection=name)
        first = await owner.collections(page_size=2)
        second = await owner.collections(page_size=2, page_token=first.next_page_token)
        assert [each.collection for each in (*first.collections, *second.collections)] == ["a", "b", "c"]
        assert second.next_page_token == ""

    async def test_a_deleted_one_is_gone_and_a_new_one_of_its_name_is_another(self, owner):
        await owner.put("a.txt", "Words.")
        before = (await owner.collection()).uid
        await owner.delete_collection()
        async with refused(CollectionNotFound):
            await owner.retrieve("words")
        await owner.put("b.txt", "Words.")
        assert (await owner.collection()).uid != before
        assert ids(await owner.retrieve("words")) == ["b.txt"]

    async def test_deleting_one_takes_an_administrator(self, owner, reader):
        await owner.put("a.txt", "Words.")
        async with refused(PermissionDenied):
            await reader.delete_collection()

    async def test_what_is_not_there_is_not_found(self, owner):
        async with refused(CollectionNotFound):
            await owner.delete_collection("nothing")
