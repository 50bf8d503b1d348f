"""REST and SSE as curl sees them: a real process, a real socket, no client library of ours."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest


@pytest.fixture
def curl(installation):
    """Runs curl; returns (status, headers and body as printed)."""
    assert shutil.which("curl"), "curl is part of every test machine"

    def run(path, *options, data=None):
        body = (
            ["-H", "content-type: application/json", "-H", "expect:", "--data-binary", "@-"] if data is not None else []
        )
        ended = subprocess.run(
            ["curl", "-sS", "-i", "--max-time", "30", *body, *options, installation.url + path],
            input=json.dumps(data).encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        head, _, rest = ended.stdout.decode().partition("\r\n\r\n")
        return int(head.split()[1]), head, rest

    return run


def test_ask_over_rest_is_cited(curl):
    status, _, body = curl("/v1/collections/docs:ask", data={"question": "What are the operators of a filter?"})
    answer = json.loads(body)
    assert status == 200
    assert answer["citations"][0]["documentId"]
    assert answer["completed"]["grounding"] == "GROUNDING_SUPPORTED"


def test_a_quote_is_found_verbatim_at_its_offsets(curl):
    _, _, body = curl("/v1/collections/docs:ask", data={"question": "How many dead versions may wait at any time?"})
    for citation in json.loads(body)["citations"]:
        _, _, shown = curl(f"/v1/collections/docs/documents/{citation['documentId']}?view=DOCUMENT_VIEW_FULL")
        text = json.loads(shown)["text"]
        assert text[citation["startChar"] : citation["endChar"]] == citation["quote"]


def test_stream_ask_is_server_sent_events_with_ids(curl):
    status, head, body = curl(
        "/v1/collections/docs:streamAsk",
        data={"question": "What is a snapshot?", "cachePolicy": "CACHE_POLICY_BYPASS"},
    )
    events = [block for block in body.split("\n\n") if block.startswith(("event:", "id:"))]
    names = [line[7:] for block in events for line in block.splitlines() if line.startswith("event: ")]
    assert status == 200
    assert "text/event-stream" in head.lower()
    assert "content-encoding" not in head.lower()
    assert names[0] == "answer.started"
    assert names[-1] == "answer.completed"
    assert all(any(line.startswith("id: ") for line in block.splitlines()) for block in events)


def test_the_second_ask_is_an_exact_hit_that_costs_nothing(curl):
    question = {"question": "What does the purger wait for?"}
    _, _, first = curl("/v1/collections/docs:ask", data=question)
    _, _, second = curl("/v1/collections/docs:ask", data=question)
    assert json.loads(second)["started"]["cache"]["status"] == "CACHE_STATUS_HIT_EXACT"
    assert json.loads(second)["text"] == json.loads(first)["text"]
    assert json.loads(second)["citations"] == json.loads(first)["citations"]
    assert json.loads(second)["completed"]["cost"]["amount"] == 0


def test_the_original_ask_route_answers_in_its_own_shape(curl):
    status, _, body = curl("/v1/ask", data={"prompt": "What is the answer cache?", "filters": None, "topK": 0})
    answer = json.loads(body)
    assert status == 200
    assert set(answer) >= {"answer", "citations", "citationDetails", "partial", "metadata"}
    assert answer["citationDetails"][0]["docId"].endswith(".md")
    assert set(answer["metadata"]) >= {"cacheHit", "cacheSimilarity", "retrievalMethod", "llmFallback"}


def test_the_original_retrieve_and_documents_routes_answer(curl):
    _, _, passages = curl("/v1/retrieve", data={"text": "deadline", "topK": 2})
    _, _, documents = curl("/v1/documents")
    assert len(json.loads(passages)) == 2
    assert {"id", "chunk", "score", "meta"} <= set(json.loads(passages)[0])
    assert {"id", "docId", "source", "section", "chunkCount"} <= set(json.loads(documents)[0])


@pytest.mark.parametrize("path", ["/actuator/health", "/actuator/prometheus", "/healthz", "/readyz", "/metrics", "/"])
def test_the_operators_routes_answer(curl, path):
    assert curl(path)[0] == 200


@pytest.mark.parametrize(
    ("path", "data", "status", "reason"),
    [
        ("/v1/collections/docs:ask", {"question": ""}, 400, "FIELD_INVALID"),
        ("/v1/collections/docs:ask", {"question": "x" * 5_000}, 400, "FIELD_INVALID"),
        ("/v1/collections/docs:ask", {"question": "x" * 1_000_000}, 413, "MESSAGE_TOO_LARGE"),
        ("/v1/collections/docs:ask", {"question": "why?", "topK": -1}, 400, "FIELD_INVALID"),
        ("/v1/collections/docs:ask", {"question": "why?", "topK": 2**31}, 400, "MESSAGE_MALFORMED"),
        ("/v1/collections/docs:ask", {"question": "why?", "colour": "red"}, 400, "MESSAGE_MALFORMED"),
        ("/v1/collections/nowhere:ask", {"question": "why?"}, 404, "COLLECTION_NOT_FOUND"),
        ("/v1/collections/docs:dance", {"question": "why?"}, 404, "METHOD_UNKNOWN"),
        (
            "/v1/collections/docs:ask",
            {"question": "why?", "filter": {"comparison": {"field": "nope", "operator": "OPERATOR_EXISTS"}}},
            400,
            "FILTER_INVALID",
        ),
    ],
)
def test_bad_input_is_a_typed_error_that_says_what_to_do(curl, path, data, status, reason):
    got, _, body = curl(path, data=data)
    error = json.loads(body)["error"]
    assert (got, error["reason"]) == (status, reason)
    assert error["message"]
    assert error["requestId"]
    assert "Traceback" not in body


def test_malformed_and_deep_json_are_refused(curl):
    for body in ("{", "[1,2", "nonsense", "[" * 20_000):
        status, _, reply = curl("/v1/collections/docs:ask", "-H", "content-type: application/json", "--data-raw", body)
        assert status in {400, 413}
        assert json.loads(reply)["error"]["reason"] in {"MESSAGE_MALFORMED", "MESSAGE_TOO_LARGE"}
