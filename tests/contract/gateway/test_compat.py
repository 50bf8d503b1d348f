"""The original Java system's routes: its clients work unchanged."""

from __future__ import annotations

import json

import pytest
from rag.orchestrator.v1 import filter_pb2
from rag.retriever.v1 import document_pb2


def equal(field, **value):
    return filter_pb2.Comparison(field=field, operator=filter_pb2.OPERATOR_EQ, value=filter_pb2.Value(**value))


async def test_ask_has_the_originals_answer(client, seen):
    response = await client.post("/v1/ask", json={"prompt": "leave?", "filters": {}, "topK": 3})
    body = response.json()
    assert set(body) == {"answer", "citations", "citationDetails", "partial", "metadata"}
    assert body["answer"] == "You have\n30 days of leave [1]."
    assert body["citations"] == ["c1"]
    assert {name: body["citationDetails"][0][name] for name in ("id", "docId", "source", "section")} == {
        "id": "c1",
        "docId": "leave.md",
        "source": "handbook",
        "section": "Leave",
    }
    assert body["partial"] is False
    assert body["metadata"] == {
        "cacheHit": False,
        "cacheSimilarity": 0.0,
        "retrievalMethod": "hybrid",
        "llmFallback": False,
    }
    assert (seen.requests[0].collection, seen.requests[0].top_k) == ("docs", 3)


@pytest.mark.parametrize(
    ("given", "top_k"), [({}, 5), ({"topK": 0}, 5), ({"topK": -3}, 5), ({"topK": "7"}, 7), ({"topK": None}, 5)]
)
async def test_top_k_follows_the_originals_rules(client, seen, given, top_k):
    assert (await client.post("/v1/ask", json={"prompt": "q", **given})).status_code == 200
    assert seen.requests[0].top_k == top_k


@pytest.mark.parametrize("body", [{}, {"prompt": None}, {"prompt": ""}, {"prompt": " \n"}])
async def test_a_blank_prompt_is_refused(client, seen, body):
    response = await client.post("/v1/ask", json=body)
    assert (response.status_code, response.json()["error"]["reason"]) == (400, "FIELD_INVALID")
    assert seen.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"5",
        b'{"prompt":5}',
        b'{"prompt":"q","topK":"x"}',
        b'{"prompt":"q","topK":1e9}',
        b'{"prompt":"q","topK":99999999999}',
        b'{"prompt":"q","filters":[]}',
        b'{"prompt":"q","filters":{"a":{}}}',
        b'{"prompt":"q","filters":{"a":' + b"9" * 400 + b"}}",
        b'{"prompt":"q","filters":{"a":1e999}}',
        b'{"prompt":"\\ud800"}',
    ],
)
async def test_what_the_original_could_not_read_is_malformed(client, seen, body):
    response = await client.post("/v1/ask", content=body)
    assert (response.status_code, response.json()["error"]["reason"]) == (400, "MESSAGE_MALFORMED")
    assert seen.requests == []


async def test_filters_are_typed_equalities(client, seen):
    filters = {"docId": "leave.md", "year": 2024, "public": True, "nothing": None}
    await client.post("/v1/ask", json={"prompt": "q", "filters": filters})
    parts = [part.comparison for part in getattr(seen.requests[0].filter, "and").filters]
    assert parts == [
        equal("document_id", string_value="leave.md"),
        equal("year", number_value=2024),
        equal("public", bool_value=True),
    ]


@pytest.mark.parametrize("filters", [None, {}])
async def test_no_filters_are_no_filter(client, seen, filters):
    await client.post("/v1/ask", json={"prompt": "q", "filters": filters})
    assert not seen.requests[0].filter.ByteSize()


async def test_a_services_complaint_names_the_originals_field(client):
    response = await client.post("/v1/ask", json={"prompt": "q", "topK": 101})
    assert response.json()["error"]["message"].startswith("topK: ")
    response = await client.post("/v1/retrieve", json={"text": "q" * 5000})
    assert response.json()["error"]["message"].startswith("text: ")


async def test_unknown_fields_are_ignored_as_the_original_did(client):
    assert (await client.post("/v1/ask", json={"prompt": "q", "sessionId": "s"})).status_code == 200


STREAMS = [
    ("GET", "/v1/ask/stream?prompt=leave%3F&topK=3", None),
    ("POST", "/v1/ask/stream", {"prompt": "leave?", "topK": 3}),
]


def events_in(text):
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event: ")]
    return [
        (lines[0].removeprefix("event: "), "\n".join(line[6:] for line in lines if line.startswith("data: ")))
        for lines in blocks
    ]


@pytest.mark.parametrize(("verb", "path", "body"), STREAMS)
async def test_a_stream_has_tokens_their_line_ends_metadata_and_the_cited_ids(client, seen, verb, path, body):
    response = await client.request(verb, path, json=body)
    events = events_in(response.text)
    assert events[0] == ("token", "You have\n30 days")
    assert events[1] == ("token", " of leave [1].")
    assert events[2][0] == "metadata"
    assert json.loads(events[2][1])["metadata"]["retrievalMethod"] == "hybrid"
    assert events[3] == ("complete", "c1")
    assert seen.requests[0].top_k == 3


async def test_a_source_that_is_quoted_twice_is_one_citation(client):
    body = (await client.post("/v1/ask", json={"prompt": "twice?"})).json()
    assert body["answer"] == "You have\n30 days of leave [1]. They are days [1]."
    assert body["citations"] == ["c1"]
    assert [(detail["id"], detail["quote"]) for detail in body["citationDetails"]] == [("c1", "30 days")]


async def test_a_stream_names_a_source_that_is_quoted_twice_once(client):
    events = events_in((await client.get("/v1/ask/stream", params={"prompt": "twice?"})).text)
    metadata = json.loads(events[-2][1])
    assert (metadata["citations"], len(metadata["citationDetails"])) == (["c1"], 1)
    assert events[-1] == ("complete", "c1")


async def test_a_stream_takes_filters(client, seen):
    await client.get("/v1/ask/stream", params={"prompt": "q", "filters": '{"source":"handbook"}'})
    assert getattr(seen.requests[0].filter, "and").filters[0].comparison == equal("source", string_value="handbook")


async def test_a_stream_that_breaks_says_so(client):
    response = await client.get("/v1/ask/stream", params={"prompt": "broken"})
    assert [name for name, _ in events_in(response.text)] == ["token", "error"]


async def test_an_event_source_that_reconnects_does_not_ask_again(client, seen):
    await client.get("/v1/ask/stream", params={"prompt": "q"})
    rest = await client.get("/v1/ask/stream", params={"prompt": "q"}, headers={"last-event-id": "a1:4"})
    assert [name for name, _ in events_in(rest.text)] == ["token", "metadata", "complete"]
    done = await client.get("/v1/ask/stream", params={"prompt": "q"}, headers={"last-event-id": "a1:6"})
    assert done.status_code == 204
    assert seen.asks == 1


async def test_an_event_source_that_reconnects_before_the_first_token_does_not_ask_again(client, seen):
    first = await client.get("/v1/ask/stream", params={"prompt": "lost"})
    assert first.text.startswith("id: a1:1\n\n")
    assert [name for name, _ in events_in(first.text)] == ["error"]
    again = await client.get("/v1/ask/stream", params={"prompt": "lost"}, headers={"last-event-id": "a1:1"})
    assert again.status_code != 200  # with which an EventSource gives up
    assert seen.asks == 1


async def test_retrieve_has_the_originals_passages(client, seen):
    response = await client.post("/v1/retrieve", json={"text": "leave", "filters": {"source": "handbook"}, "topK": 0})
    [passage] = response.json()
    assert {name: passage[name] for name in ("id", "chunk", "score")} == {"id": "c1", "chunk": "30 days", "score": 0.5}
    assert passage["meta"] == {"source": "handbook", "section": "Leave", "docId": "leave.md", "title": ""}
    assert seen.requests[0].top_k == 5


async def test_documents_are_listed_over_all_pages(client, documents):
    for name in ("a.md", "b.md", "c.md"):
        documents.stored["docs", name] = document_pb2.Document(
            document_id=name, source="handbook", title="T", chunk_count=2
        )
    listed = (await client.get("/v1/documents")).json()
    assert [document["docId"] for document in listed] == ["a.md", "b.md", "c.md"]
    assert listed[0] == {"id": "a.md", "docId": "a.md", "source": "handbook", "section": "T", "chunkCount": 2}


async def test_a_default_collection_that_does_not_exist_yet_has_no_documents(started):
    async with started(default_collection="nowhere") as (_, client):
        response = await client.get("/v1/documents")
    assert (response.status_code, response.json()) == (200, [])


@pytest.mark.parametrize(
    "path", ["/actuator/health", "/actuator/health/liveness", "/actuator/health/readiness", "/healthz", "/readyz"]
)
async def test_probes_are_up(client, path):
    response = await client.get(path)
    assert (response.status_code, response.json()["status"]) == (200, "UP")


async def test_without_an_orchestrator_it_is_alive_and_not_ready(started, backend):
    async with started() as (_, client):
        await backend.drain()
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/actuator/health")).json()["components"]["orchestrator"] == {"status": "DOWN"}
        assert (await client.get("/healthz")).status_code == 200


async def test_info_names_the_program(client):
    assert (await client.get("/actuator/info")).json()["app"]["name"] == "askmesh"


async def test_prometheus_has_the_originals_request_metric(client):
    await client.post("/v1/ask", json={"prompt": "q"})
    text = (await client.get("/actuator/prometheus")).text
    assert 'http_server_requests_seconds_count{application="askmesh-gateway",method="POST",outcome="SUCCESS"' in text
    assert 'uri="/v1/ask"' in text
