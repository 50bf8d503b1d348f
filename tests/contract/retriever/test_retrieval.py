"""RetrieverService over a socket: what is found, for whom, and what a bad request is told."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf import timestamp_pb2
from rag.retriever.v1 import filter_pb2, retriever_pb2

from chassis.budget import Budget
from chassis.errors import (
    BackendUnavailable,
    CollectionNotFound,
    CredentialsInvalid,
    DeadlineExceeded,
    EmbedderUnavailable,
    FilterInvalid,
    GenerationNotReached,
    InvalidRequest,
    SearchUnavailable,
)
from chassis.status import from_rpc_error
from tests.contract.retriever.conftest import Caller, document, ids, refused, running

Value = filter_pb2.Value
Filter = filter_pb2.Filter


def comparing(field, operator, value=None, values=()):
    number = filter_pb2.Operator.Value(f"OPERATOR_{operator}") if isinstance(operator, str) else operator
    return Filter(comparison=filter_pb2.Comparison(field=field, operator=number, value=value, values=list(values)))


def both(*parts):
    found = Filter()
    getattr(found, "and").filters.extend(parts)
    getattr(found, "and").SetInParent()  # an empty list is a condition too
    return found


def either(*parts):
    found = Filter()
    getattr(found, "or").filters.extend(parts)
    getattr(found, "or").SetInParent()
    return found


def neither(part):
    found = Filter()
    getattr(found, "not").CopyFrom(part)
    return found


def text(value):
    return Value(string_value=value)


def number(value):
    return Value(number_value=value)


def truth(value):
    return Value(bool_value=value)


def moment(year):
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(datetime(year, 1, 1, tzinfo=UTC))
    return Value(time_value=found)


@pytest.fixture
async def library(owner):
    """Three documents about keys; the last one has no metadata."""
    await owner.put(
        "old.txt",
        "The old key opens the gate.",
        source="wiki",
        metadata={"year": number(1999), "kind": text("key"), "draft": truth(False), "at": moment(1999)},
    )
    await owner.put(
        "new.txt",
        "The new key opens the door.",
        source="mail",
        metadata={"year": number(2026), "kind": text("key"), "draft": truth(True), "at": moment(2026)},
    )
    await owner.put("none.txt", "Another key opens nothing.")
    return owner


class TestPassages:
    async def test_meaning_and_words_both_find(self, library):
        response = await library.retrieve("Which key opens the gate?")
        best = response.passages[0]
        assert best.document_id == "old.txt"
        assert best.text == "The old key opens the gate."
        assert (best.dense.rank, best.lexical.rank) == (1, 1)
        assert 0 < best.dense.score <= 1
        assert best.lexical.score > 0
        assert best.metadata["year"].number_value == 1999
        assert list(response.degraded) == []

    async def test_a_paraphrase_without_a_common_word_is_found_by_the_dense_leg(self, owner):
        await owner.put("pets.txt", "Dogs are not allowed in the office.")
        await owner.put("food.txt", "Lunch is served at noon.")
        response = await owner.retrieve("bring my puppy to work", legs="LEGS_DENSE")
        assert ids(response)[0] == "pets.txt"

    async def test_a_rare_word_is_found_by_the_lexical_leg(self, owner):
        await owner.put("a.txt", "Error E4711 means the tray is empty.")
        await owner.put("b.txt", "Error messages are logged.")
        assert ids(await owner.retrieve("E4711", legs="LEGS_LEXICAL")) == ["a.txt"]

    async def test_query_syntax_is_only_words(self, library):
        for query in ['"', "key AND (", "NEAR(key gate, 2)", "*", "key*", "a:b", "-key", "^key", "'; DROP TABLE x; --"]:
            await library.retrieve(query)
            await library.retrieve(query, legs="LEGS_LEXICAL")

    async def test_top_k_bounds_them_and_0_means_five(self, owner):
        await owner.ingest(*(document(f"{n}.txt", f"Words number {n}.") for n in range(8)))
        assert len((await owner.retrieve("words")).passages) == 5
        assert len((await owner.retrieve("words", top_k=2)).passages) == 2
        assert len((await owner.retrieve("words", top_k=100)).passages) == 8

    async def test_stages_are_timed(self, library):
        stages = {timing.stage for timing in (await library.retrieve("key")).timings}
        assert stages == {"snapshot", "embed", "dense", "lexical", "fuse", "total"}

    async def test_the_callers_own_vector_is_used(self, library, embedder):
        [vector] = await embedder.embed(["Which key opens the gate?"], budget=Budget.of(10))
        embedding = retriever_pb2.QueryEmbedding(fingerprint=embedder.fingerprint, values=vector)
        response = await library.retrieve("zzz", embedding=embedding, legs="LEGS_DENSE")
        assert ids(response)[0] == "old.txt"
        assert "embed" not in {timing.stage for timing in response.timings}

    async def test_the_snapshot_is_the_retrievals(self, library):
        response = await library.retrieve("key")
        assert response.snapshot == await library.snapshot()
        assert response.snapshot.embedder_fingerprint != ""
        assert response.snapshot.retrieval_fingerprint != ""


KEYS = ["new.txt", "none.txt", "old.txt"]
FILTERS = {
    "eq of a string": (comparing("kind", "EQ", text("key")), ["new.txt", "old.txt"]),
    "ne holds where there is none": (comparing("year", "NE", number(1999)), ["new.txt", "none.txt"]),
    "in": (comparing("year", "IN", values=[number(1999), number(2000)]), ["old.txt"]),
    "lt": (comparing("year", "LT", number(2026)), ["old.txt"]),
    "le": (comparing("year", "LE", number(2026)), ["new.txt", "old.txt"]),
    "gt of a time": (comparing("at", "GT", moment(2000)), ["new.txt"]),
    "ge of a string": (comparing("document_id", "GE", text("none.txt")), ["none.txt", "old.txt"]),
    "eq of a bool": (comparing("draft", "EQ", truth(True)), ["new.txt"]),
    "exists": (comparing("year", "EXISTS"), ["new.txt", "old.txt"]),
    "not": (neither(comparing("year", "EXISTS")), ["none.txt"]),
    "and": (both(comparing("year", "EXISTS"), comparing("source", "EQ", text("mail"))), ["new.txt"]),
    "or": (
        either(comparing("year", "LT", number(2000)), comparing("source", "EQ", text("mail"))),
        ["new.txt", "old.txt"],
    ),
    "an empty and": (both(), KEYS),
    "an empty or": (either(), []),
    "an empty filter": (Filter(), KEYS),
    "quotes are only characters": (comparing("kind", "EQ", text("' OR 1=1 --")), []),
}


@pytest.mark.parametrize("legs", ["LEGS_HYBRID", "LEGS_DENSE", "LEGS_LEXICAL"])
@pytest.mark.parametrize(("filter", "expected"), FILTERS.values(), ids=FILTERS)
async def test_a_filter_means_the_same_in_every_leg(library, filter, expected, legs):
    assert sorted(ids(await library.retrieve("key", filter=filter, legs=legs))) == expected


def nested(levels):
    found = comparing("kind", "EXISTS")
    for _ in range(levels):
        found = neither(found)
    return found


BAD_FILTERS = {
    "an unknown field": comparing("colour", "EQ", text("red")),
    "a field name that is none": comparing("a b", "EQ", text("red")),
    "another type": comparing("year", "EQ", text("1999")),
    "no operator": comparing("kind", "UNSPECIFIED", text("key")),
    "an operator nobody knows": comparing("kind", 99, text("key")),
    "no value": comparing("kind", "EQ"),
    "a value of no type": comparing("kind", "EQ", Value()),
    "values where one is taken": comparing("kind", "EQ", text("a"), [text("b")]),
    "a value where many are taken": comparing("kind", "IN", text("a"), [text("b")]),
    "an empty in": comparing("kind", "IN"),
    "too many in": comparing("year", "IN", values=[number(n) for n in range(257)]),
    "exists of a value": comparing("kind", "EXISTS", text("key")),
    "less than true": comparing("draft", "LT", truth(True)),
    "NaN": comparing("year", "LT", number(math.nan)),
    "infinity": comparing("year", "LT", number(math.inf)),
    "a time outside of time": comparing("at", "LT", Value(time_value=timestamp_pb2.Timestamp(seconds=1 << 60))),
    "negative nanoseconds": comparing("at", "LT", Value(time_value=timestamp_pb2.Timestamp(nanos=-1))),
    "a very long string": comparing("kind", "EQ", text("x" * 1_025)),
    "a part that says nothing": both(comparing("kind", "EXISTS"), Filter()),
    "the contrary of nothing": neither(Filter()),
    "exists of values": comparing("kind", "EXISTS", values=[text("key")]),
    "too many nodes": both(*[comparing("kind", "EXISTS")] * 64),
    "a great many nodes": either(*[both(*[comparing("kind", "EXISTS")] * 60)] * 20),
    "too many levels": nested(8),
    "far too many levels": nested(45),
}


@pytest.mark.parametrize("filter", BAD_FILTERS.values(), ids=BAD_FILTERS)
async def test_a_bad_filter_is_refused_as_one(library, filter):
    with pytest.raises(grpc.RpcError) as raised:
        await library.retrieve("key", filter=filter)
    error = from_rpc_error(raised.value, BackendUnavailable)
    assert isinstance(error, FilterInvalid), error.message
    assert all(violation.field.startswith("filter") for violation in error.violations)


class TestBadRequests:
    @pytest.mark.parametrize(
        ("fields", "bad"),
        [
            ({"query": ""}, "query"),
            ({"query": " \n\t\u00a0"}, "query"),
            ({"query": "x" * 4_097}, "query"),
            ({"top_k": -1}, "top_k"),
            ({"top_k": 101}, "top_k"),
            ({"top_k": -(1 << 31)}, "top_k"),
            ({"legs": 99}, "legs"),
            ({"min_generation": -1}, "min_generation"),
            ({"collection": "No Such!"}, "collection"),
            ({"collection": ""}, "collection"),
            ({"embedding": {"fingerprint": "x", "values": [math.nan]}}, "embedding.values"),
            ({"embedding": {"fingerprint": "x", "values": [0.0] * 4_097}}, "embedding.values"),
            ({"embedding": {"fingerprint": "x" * 257}}, "embedding.fingerprint"),
        ],
        ids=str,
    )
    async def test_a_bad_field_is_named(self, library, fields, bad):
        async with refused(InvalidRequest, bad):
            await library.retrieve(**{"query": "key", **fields})

    async def test_all_bad_fields_are_named_at_once(self, library):
        async with refused(InvalidRequest, "top_k", "collection", "query", "filter.comparison.operator"):
            await library.retrieve("", collection="", top_k=-1, filter=comparing("kind", "UNSPECIFIED", text("x")))

    async def test_a_vector_of_the_wrong_length_is_refused(self, library, embedder):
        async with refused(InvalidRequest, "embedding.values"):
            await library.retrieve("key", embedding={"fingerprint": embedder.fingerprint, "values": [1.0]})

    async def test_a_million_characters_are_refused(self, library):
        async with refused(InvalidRequest, "query"):
            await library.retrieve("x" * 200_000)

    async def test_an_unknown_collection_is_not_found(self, library):
        async with refused(CollectionNotFound):
            await library.retrieve("key", collection="other")
        async with refused(CollectionNotFound):
            await library.snapshot(collection="other")

    async def test_a_generation_ahead_is_not_reached(self, library):
        async with refused(GenerationNotReached):
            await library.retrieve("key", min_generation=1_000)

    async def test_a_key_nobody_has_is_refused(self, retriever):
        async with refused(CredentialsInvalid):
            await Caller(retriever.channel, "guessed").retrieve("key")

    async def test_no_time_is_a_deadline(self, library):
        async with refused(DeadlineExceeded):
            await library.retrieve("key", timeout=0.004)


class TestWhoMayReadWhat:
    async def test_a_group_sees_its_documents_and_others_do_not_know_of_them(self, owner, reader):
        await owner.put("secret.txt", "The merger happens in May.", groups=["staff"])
        await owner.put("public.txt", "The merger is a rumour.")
        assert sorted(ids(await owner.retrieve("merger"))) == ["public.txt", "secret.txt"]
        for legs in ("LEGS_HYBRID", "LEGS_DENSE", "LEGS_LEXICAL"):
            assert ids(await reader.retrieve("merger", legs=legs)) == ["public.txt"]
        assert [each.document_id for each in (await reader.list()).documents] == ["public.txt"]
        assert (await reader.list()).total_size == 1

    async def test_a_change_of_groups_alone_holds_from_its_acknowledgement(self, owner, reader):
        await owner.put("a.txt", "The merger happens in May.")
        assert ids(await reader.retrieve("merger")) == ["a.txt"]
        await owner.put("a.txt", "The merger happens in May.", groups=["staff"])
        assert ids(await reader.retrieve("merger")) == []
        await owner.put("a.txt", "The merger happens in May.", groups=["*"])
        assert ids(await reader.retrieve("merger")) == ["a.txt"]

    async def test_tenants_share_nothing_but_names(self, owner, rival):
        await owner.put("a.txt", "The merger happens in May.")
        async with refused(CollectionNotFound):
            await rival.retrieve("merger")
        await rival.put("a.txt", "We know nothing.")
        assert [each.text for each in (await rival.retrieve("merger May")).passages] == ["We know nothing."]
        assert [each.text for each in (await owner.retrieve("merger May")).passages] == ["The merger happens in May."]
        await rival.delete_collection()
        assert ids(await owner.retrieve("merger")) == ["a.txt"]


class TestWithoutAnEmbedder:
    async def test_a_new_collection_is_lexical_for_good(self, tmp_path):
        async with running(tmp_path, None) as retriever:
            await retriever.owner.put("a.txt", "The old key opens the gate.")
            response = await retriever.owner.retrieve("key")
            assert ids(response) == ["a.txt"]
            assert list(response.degraded) == []  # nothing was left out: the collection has no vectors
            assert (await retriever.owner.collection()).embedder_fingerprint == ""
            async with refused(SearchUnavailable):
                await retriever.owner.retrieve("key", legs="LEGS_DENSE")

    async def test_a_collection_with_vectors_is_read_by_words_and_not_written(self, tmp_path, embedder):
        async with running(tmp_path, embedder) as retriever:
            await retriever.owner.put("a.txt", "The old key opens the gate.")
        async with running(tmp_path, None) as retriever:
            response = await retriever.owner.retrieve("key")
            assert ids(response) == ["a.txt"]
            assert [each.reason for each in response.degraded] == [retriever_pb2.DEGRADED_REASON_EMBEDDER_UNAVAILABLE]
            async with refused(EmbedderUnavailable):
                await retriever.owner.put("b.txt", "Another key.")

    async def test_a_collection_without_vectors_stays_lexical_when_there_is_an_embedder(self, tmp_path, embedder):
        async with running(tmp_path, None) as retriever:
            await retriever.owner.put("a.txt", "The old key opens the gate.")
        async with running(tmp_path, embedder) as retriever:
            await retriever.owner.put("b.txt", "Another key.")
            response = await retriever.owner.retrieve("key")
            assert sorted(ids(response)) == ["a.txt", "b.txt"]
            assert [each.stage for each in response.degraded] == ["embed"]


class TestNumbers:
    async def test_a_retrieval_moves_the_originals_metrics(self, retriever, library):
        await library.retrieve("key")
        await library.retrieve("key", legs="LEGS_LEXICAL")
        exposed = retriever.telemetry.exposition()[0].decode()
        assert "rag_retrieval_latency_seconds_count 2.0" in exposed
        assert 'rag_retrieval_requests_total{source="hybrid"} 1.0' in exposed
        assert 'rag_retrieval_requests_total{source="lexical"} 1.0' in exposed
        assert "rag_retrieval_rejected_hits_total 0.0" in exposed
        assert 'rag_ingest_documents_total{outcome="STORED"} 3.0' in exposed

    async def test_a_fallback_is_counted_by_its_reason(self, tmp_path, embedder):
        async with running(tmp_path, embedder) as retriever:
            await retriever.owner.put("a.txt", "Words.")
        async with running(tmp_path, None) as retriever:
            await retriever.owner.retrieve("words")
            exposed = retriever.telemetry.exposition()[0].decode()
        assert 'rag_retrieval_fallback_total{reason="EMBEDDER_UNAVAILABLE"} 1.0' in exposed
