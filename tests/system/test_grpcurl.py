"""The contracts as grpcurl sees them: reflection only, no proto files."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.rig import grpcurl_path


@pytest.fixture
def grpcurl(installation):
    """Runs grpcurl; `data` is one JSON message or several, one after another."""

    def run(*arguments, data=""):
        options = ["-plaintext", "-max-time", "30"]
        method = list(arguments[:-1])
        return subprocess.run(
            [grpcurl_path(), *options, *(["-d", "@"] if data else []), *method, installation.grpc, arguments[-1]]
            if arguments[-1] not in {"list"}
            else [grpcurl_path(), *options, installation.grpc, "list"],
            input=data,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def messages(text):
    decoder = json.JSONDecoder()
    found, rest = [], text.strip()
    while rest:
        message, end = decoder.raw_decode(rest)
        found.append(message)
        rest = rest[end:].strip()
    return found


def test_reflection_lists_every_service(grpcurl):
    listed = grpcurl("list").stdout.split()
    assert {
        "rag.orchestrator.v1.OrchestratorService",
        "rag.retriever.v1.RetrieverService",
        "rag.retriever.v1.DocumentService",
        "rag.retriever.v1.CollectionService",
        "rag.retriever.v1.MaintenanceService",
        "grpc.health.v1.Health",
    } <= set(listed)


def test_reflection_describes_a_message(installation):
    ended = subprocess.run(
        [grpcurl_path(), "-plaintext", installation.grpc, "describe", "rag.orchestrator.v1.AskRequest"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "string question = 2" in ended.stdout


def test_ask_answers_with_citations(grpcurl):
    ended = grpcurl(
        "rag.orchestrator.v1.OrchestratorService/Ask",
        data=json.dumps({"collection": "docs", "question": "What does the gateway serve?"}),
    )
    reply = json.loads(ended.stdout)
    assert "[1]" in reply["text"] or reply["citations"]
    assert reply["citations"][0]["quote"]


def test_stream_ask_streams_the_events_in_order(grpcurl):
    ended = grpcurl(
        "rag.orchestrator.v1.OrchestratorService/StreamAsk",
        data=json.dumps(
            {"collection": "docs", "question": "Which roles are there?", "cachePolicy": "CACHE_POLICY_BYPASS"}
        ),
    )
    events = messages(ended.stdout)
    kinds = [next(key for key in event if key != "sequence") for event in events]
    assert kinds[0] == "answer_started"
    assert kinds[1] == "retrieval_completed"
    assert kinds[-1] == "answer_completed"
    assert "answer_delta" in kinds
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))


def test_retrieve_explains_both_legs(grpcurl):
    ended = grpcurl(
        "rag.retriever.v1.RetrieverService/Retrieve",
        data=json.dumps({"collection": "docs", "query": "single flight", "topK": 3}),
    )
    passages = json.loads(ended.stdout)["passages"]
    assert len(passages) == 3
    assert passages[0]["document_id"] == "caching.md"
    assert passages[0]["lexical"]["rank"] >= 1


def test_ingest_documents_answers_each_document(grpcurl):
    stream = "\n".join(
        json.dumps(item)
        for item in (
            {"collection": "grpcurl", "document": {"documentId": "a.md", "text": "# Cats\n\nCats sleep a lot."}},
            {"document": {"documentId": "bad.pdf", "text": "not a pdf", "contentType": "application/pdf"}},
            {"document": {"documentId": "b.md", "text": "# Dogs\n\nDogs like walks."}},
        )
    )
    results = messages(grpcurl("rag.retriever.v1.DocumentService/IngestDocuments", data=stream).stdout)
    assert [result["outcome"] for result in results] == [
        "INGEST_OUTCOME_STORED",
        "INGEST_OUTCOME_FAILED",
        "INGEST_OUTCOME_STORED",
    ]
    assert "DOCUMENT_UNREADABLE" in json.dumps(results[1]["error"])


def test_an_error_has_readable_details(grpcurl):
    ended = grpcurl(
        "rag.orchestrator.v1.OrchestratorService/Ask",
        data=json.dumps({"collection": "docs", "question": "", "topK": -1}),
    )
    assert ended.returncode != 0
    text = ended.stdout + ended.stderr
    assert "InvalidArgument" in text
    assert "FIELD_INVALID" in text
    assert "question" in text
    assert "top_k" in text
    assert "Traceback" not in text
