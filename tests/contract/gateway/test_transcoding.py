"""Each annotated rpc over HTTP: what reaches the service, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as ask_pb
from rag.retriever.v1 import collection_pb2, document_pb2, filter_pb2, retriever_pb2

from gateway.routes import contract_routes

EQUAL = {"comparison": {"field": "source", "operator": "OPERATOR_EQ", "value": {"stringValue": "handbook"}}}
SOURCE_IS_HANDBOOK = filter_pb2.Filter(
    comparison=filter_pb2.Comparison(
        field="source", operator=filter_pb2.OPERATOR_EQ, value=filter_pb2.Value(string_value="handbook")
    )
)
ANSWERED_BY_POST = {
    "question": "leave?",
    "topK": 7,
    "cachePolicy": "CACHE_POLICY_BYPASS",
    "limits": {"maxTokens": 9, "seed": "18446744073709551615"},
}
ASKED = ask_pb.AskRequest(
    collection="docs",
    question="leave?",
    top_k=7,
    cache_policy=ask_pb.CACHE_POLICY_BYPASS,
    limits=ask_pb.GenerationLimits(max_tokens=9, seed=2**64 - 1),
)

TABLE = [
    ("POST", "/v1/collections/docs:ask", ANSWERED_BY_POST, ASKED),
    (
        "POST",
        "/v1/collections/docs:ask",
        {"question": "q", "top_k": 3},
        {"collection": "docs", "question": "q", "top_k": 3},
    ),
    ("POST", "/v1/collections/docs:streamAsk", ANSWERED_BY_POST, ASKED),
    (
        "POST",
        "/v1/collections/docs/answers/a1:evict",
        None,
        ask_pb.EvictAnswerRequest(collection="docs", answer_id="a1"),
    ),
    (
        "POST",
        "/v1/collections/docs:retrieve",
        {
            "query": "q",
            "legs": "LEGS_DENSE",
            "embedding": {"fingerprint": "f", "values": [1, 0.5]},
            "minGeneration": "4",
        },
        retriever_pb2.RetrieveRequest(
            collection="docs",
            query="q",
            legs=retriever_pb2.LEGS_DENSE,
            embedding=retriever_pb2.QueryEmbedding(fingerprint="f", values=[1, 0.5]),
            min_generation=4,
        ),
    ),
    ("GET", "/v1/collections/docs/snapshot", None, retriever_pb2.GetSnapshotRequest(collection="docs")),
    (
        "PUT",
        "/v1/collections/docs/documents/handbook/leave.md",
        {"text": "# Leave", "groups": ["hr"], "metadata": {"year": {"numberValue": 2024}}},
        document_pb2.PutDocumentRequest(
            collection="docs",
            document=document_pb2.DocumentInput(
                document_id="handbook/leave.md",
                text="# Leave",
                groups=["hr"],
                metadata={"year": filter_pb2.Value(number_value=2024)},
            ),
        ),
    ),
    (
        "GET",
        "/v1/collections/docs/documents/kept.md?view=DOCUMENT_VIEW_FULL",
        None,
        document_pb2.GetDocumentRequest(collection="docs", document_id="kept.md", view=document_pb2.DOCUMENT_VIEW_FULL),
    ),
    (
        "GET",
        "/v1/collections/docs/documents/kept.md?view=2",
        None,
        document_pb2.GetDocumentRequest(collection="docs", document_id="kept.md", view=document_pb2.DOCUMENT_VIEW_FULL),
    ),
    (
        "GET",
        "/v1/collections/docs/documents?pageSize=10&page_token=p2&filter=" + json.dumps(EQUAL),
        None,
        document_pb2.ListDocumentsRequest(collection="docs", page_size=10, page_token="p2", filter=SOURCE_IS_HANDBOOK),
    ),
    (
        "GET",
        "/v1/collections/docs/documents?filter.comparison.field=source&filter.comparison.operator=OPERATOR_EQ"
        "&filter.comparison.value.stringValue=handbook",
        None,
        document_pb2.ListDocumentsRequest(collection="docs", filter=SOURCE_IS_HANDBOOK),
    ),
    (
        "DELETE",
        "/v1/collections/docs/documents/kept.md",
        None,
        document_pb2.DeleteDocumentRequest(collection="docs", document_id="kept.md"),
    ),
    ("GET", "/v1/collections/docs", None, collection_pb2.GetCollectionRequest(collection="docs")),
    ("GET", "/v1/collections?pageSize=2", None, collection_pb2.ListCollectionsRequest(page_size=2)),
    ("DELETE", "/v1/collections/docs", None, collection_pb2.DeleteCollectionRequest(collection="docs")),
]


@pytest.mark.parametrize(("verb", "path", "body", "expected"), TABLE, ids=[f"{row[0]} {row[1][:60]}" for row in TABLE])
async def test_an_annotated_rpc_gets_what_the_request_says(client, seen, documents, verb, path, body, expected):
    documents.stored["docs", "kept.md"] = document_pb2.Document(document_id="kept.md")
    response = await client.request(verb, path, json=body)
    assert response.status_code == 200, response.text
    assert seen.requests == [expected if not isinstance(expected, dict) else ask_pb.AskRequest(**expected)]


def test_the_table_above_has_every_annotated_rpc():
    shown = {(verb, type(expected).__name__) for verb, _, _, expected in TABLE}
    assert {(route.verb, route.method.input_type.name) for route in contract_routes()} <= shown


async def test_a_response_is_proto_json_with_its_defaults(client):
    response = await client.get("/v1/collections/docs")
    assert response.json() == {
        "collection": "docs",
        "uid": "u1",
        "generation": "7",
        "embedderFingerprint": "",
        "documentCount": 0,
        "chunkCount": 0,
        "fields": {},
    }


@pytest.mark.parametrize("path_id", ["a%2Fb%20c.md", "a/b%20c.md"])
async def test_a_document_id_has_one_form_however_its_slash_is_sent(client, seen, path_id):
    await client.put(f"/v1/collections/docs/documents/{path_id}", json={"text": "x"})
    assert seen.requests[0].document.document_id == "a/b c.md"


async def test_a_body_may_repeat_what_the_path_says(client):
    response = await client.post("/v1/collections/docs:ask", json={"collection": "docs", "question": "q"})
    assert response.status_code == 200


BAD_REQUESTS = [
    ("POST", "/v1/collections/docs:ask", b'{"question":"q","colour":1}', "colour"),
    ("POST", "/v1/collections/docs:ask", b'{"question":5}', "question"),
    ("POST", "/v1/collections/docs:ask", b'{"question":"q","topK":2147483648}', "topK"),
    ("POST", "/v1/collections/docs:ask", b'{"question":"q","topK":1,"top_k":2}', "top_k"),
    ("POST", "/v1/collections/docs:ask", b'{"question":"q","filter":[]}', "filter"),
    (
        "POST",
        "/v1/collections/docs:ask",
        b'{"question":"q","filter":{"and":{"filters":[{"nor":{}}]}}}',
        "filter.and.filters[0].nor",
    ),
    ("POST", "/v1/collections/docs:ask", b'{"question":"q","filter":{"and":{},"or":{}}}', "filter.or"),
    ("POST", "/v1/collections/docs:ask", b'{"question":"\\ud800"}', "body"),
    ("POST", "/v1/collections/docs:ask", b'{"question":"q"', "body"),
    ("POST", "/v1/collections/docs:ask", b'{"question":"q","question":"p"}', "body"),
    ("POST", "/v1/collections/docs:ask", b"[]", "body"),
    ("POST", "/v1/collections/docs:ask", b"\xff\xfe", "body"),
    ("POST", "/v1/collections/docs:ask?topK=3", b'{"question":"q"}', "query"),
    ("GET", "/v1/collections/docs/documents?colour=1", b"", "colour"),
    ("GET", "/v1/collections/docs/documents?pageSize=x", b"", "page_size"),
    ("GET", "/v1/collections/docs/documents?pageSize=1&pageSize=2", b"", "pageSize"),
    ("GET", "/v1/collections/docs/documents?filter.colour=1", b"", "filter.colour"),
    ("GET", "/v1/collections/docs/documents?pageSize.x=1", b"", "pageSize.x"),
    ("GET", "/v1/collections/docs/documents?filter={", b"", "filter"),
    ("GET", "/v1/collections/docs/documents/a?view=LOUD", b"", "view"),
    ("GET", "/v1/collections/%ff", b"", "path"),
    ("PUT", "/v1/collections/docs/documents/a", b'{"data":"***"}', "data"),
    ("PUT", "/v1/collections/docs/documents/a", b'{"metadata":{"year":1}}', "metadata.year"),
]


@pytest.mark.parametrize(("verb", "path", "body", "named"), BAD_REQUESTS)
async def test_a_malformed_request_is_refused_by_name(client, seen, verb, path, body, named):
    response = await client.request(verb, path, content=body, headers={"content-type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["reason"]) == (400, "MESSAGE_MALFORMED")
    assert named in error["message"]
    assert seen.requests == []


async def test_a_body_that_contradicts_its_path_is_refused(client, seen):
    response = await client.post("/v1/collections/docs:ask", json={"collection": "other", "question": "q"})
    assert response.json()["error"]["reason"] == "FIELD_INVALID"
    assert seen.requests == []


@pytest.mark.parametrize("depth", [100, 5_000, 20_000])
async def test_deep_json_is_refused(client, depth):
    body = b'{"question":"q","filter":' + b'{"not":' * depth + b"{}" + b"}" * depth + b"}"
    response = await client.post("/v1/collections/docs:ask", content=body[: 64 * 1024])
    assert response.status_code == 400
    assert response.json()["error"]["reason"] == "MESSAGE_MALFORMED"


async def test_the_deepest_filter_of_the_contract_passes(client, seen):
    node: dict[str, Any] = EQUAL
    for _ in range(7):
        node = {"and": {"filters": [node]}}
    response = await client.post("/v1/collections/docs:ask", json={"question": "q", "filter": node})
    assert response.status_code == 200, response.text
