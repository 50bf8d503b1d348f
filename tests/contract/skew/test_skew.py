"""Clients and services of the last released contract, of this one and of one with additions, mixed in every pair."""

from __future__ import annotations

import itertools

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2, status_pb2

from askmesh.answers import answer_of
from tests.contract.skew.generations import GENERATIONS, current_class, released_class, released_methods
from tests.contract.skew.mesh import asking, call, retrieving
from tests.contract.skew.nodes import hop
from tests.contract.skew.record import ASK, COLLECTIONS, DOCUMENTS, ORCHESTRATOR, RETRIEVER, encoded, of
from tests.contract.skew.wire import alike, load, places

GOLDEN = load()
READS = [
    each for each in GOLDEN if each.path.startswith((RETRIEVER, COLLECTIONS)) or each.name in {"03-get", "04-list"}
]
WRITES = [each for each in GOLDEN if each.name in {"01-ingest", "02-put"}]
ASKS = [each for each in GOLDEN if each.path.startswith(ORCHESTRATOR)]
TWO = list(itertools.product(GENERATIONS, repeat=2))
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory):
    """One retriever that holds the golden documents, and what it says to callers of its own generation."""
    async with retrieving(tmp_path_factory.mktemp("r")) as made:
        for each in WRITES:
            await call(made.retriever, each.path, each.requests)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def straight(mesh, tmp_path_factory):
    """An orchestrator of this generation, asked without any hop."""
    folder = tmp_path_factory.mktemp("o")
    async with asking(mesh, f"unix:{folder}/o.sock", mesh.retriever) as address:
        yield address


@pytest.mark.parametrize("each", GOLDEN, ids=lambda each: each.name)
async def test_what_was_sent_under_the_released_contract_still_reads_the_same(each):
    method = released_methods()[each.path]
    for kind, messages in ((method.input_type, each.requests), (method.output_type, each.replies)):
        for data in messages:
            then, now = released_class(kind.full_name).FromString(data), current_class(kind.full_name).FromString(data)

            assert MessageToDict(now) == MessageToDict(then)
            assert now.SerializeToString(deterministic=True) == then.SerializeToString(deterministic=True)


@pytest.mark.parametrize("each", [*READS, *ASKS], ids=lambda each: each.name)
async def test_a_released_client_finds_every_field_it_used_to_find(mesh, straight, each):
    address = straight if each in ASKS else mesh.retriever

    replies = await call(address, each.path, each.requests)

    assert places(alike(each.path, each.replies)) - places(alike(each.path, replies)) == set()


async def test_our_client_reads_an_answer_that_was_given_under_the_released_contract():
    [golden] = [each for each in GOLDEN if each.name == "09-ask"]
    reply = current_class(released_methods()[golden.path].output_type.full_name).FromString(golden.replies[0])

    answer = answer_of(reply)

    assert "30 seconds" in answer.text
    assert [citation.document_id for citation in answer.citations] == ["leases.md"]


@pytest.mark.parametrize(("client", "service"), TWO)
async def test_a_retriever_says_the_same_to_a_client_of_any_generation(mesh, tmp_path, client, service):
    async with hop(mesh.retriever, f"unix:{tmp_path}/h.sock", [GENERATIONS[client], GENERATIONS[service]]) as address:
        for each in READS:
            replies = await call(address, each.path, each.requests)

            assert alike(each.path, replies) == alike(each.path, await call(mesh.retriever, each.path, each.requests))


@pytest.mark.parametrize(("client", "service"), TWO)
async def test_documents_are_stored_and_deleted_in_every_pair(mesh, tmp_path, client, service):
    path = f"{DOCUMENTS}/IngestDocuments"
    document = {"documentId": "skew.md", "text": f"# Skew\n\n{client} clients write to {service} services.\n"}
    async with hop(mesh.retriever, f"unix:{tmp_path}/h.sock", [GENERATIONS[client], GENERATIONS[service]]) as address:
        [stored] = alike(path, await call(address, path, [encoded(path, {"collection": "skew", "document": document})]))
        wanted = encoded(f"{DOCUMENTS}/DeleteDocument", {"collection": "skew", "documentId": "skew.md"})
        [deleted] = alike(f"{DOCUMENTS}/DeleteDocument", await call(address, f"{DOCUMENTS}/DeleteDocument", [wanted]))

    assert stored["outcome"] == "INGEST_OUTCOME_STORED"
    assert int(deleted["generation"]) == int(stored["generation"]) + 1


@pytest.mark.parametrize(("service", "behind"), TWO)
async def test_an_ask_is_answered_alike_whatever_the_generations_on_its_way(mesh, straight, tmp_path, service, behind):
    """A client of each generation, an orchestrator of one, a retriever of another: 27 ways in nine tests."""
    wanted = {each.name: alike(each.path, await call(straight, each.path, each.requests)) for each in ASKS}
    between = [GENERATIONS[service], GENERATIONS[behind]]
    async with (
        hop(mesh.retriever, f"unix:{tmp_path}/r.sock", between) as retriever,
        asking(mesh, f"unix:{tmp_path}/o.sock", retriever) as orchestrator,
    ):
        for client, spoken in GENERATIONS.items():
            listen = f"unix:{tmp_path}/{client}.sock"
            async with hop(orchestrator, listen, [spoken, GENERATIONS[service]]) as address:
                answered = {each.name: alike(each.path, await call(address, each.path, each.requests)) for each in ASKS}

            assert answered == wanted


@pytest.mark.parametrize(("client", "service"), TWO)
async def test_a_refusal_has_the_same_code_and_reason_in_every_pair(straight, tmp_path, client, service):
    path = f"{ORCHESTRATOR}/Ask"
    refused = [encoded(path, fields) for fields in (of(question=" "), {**ASK, "collection": "nowhere"})]
    async with hop(straight, f"unix:{tmp_path}/h.sock", [GENERATIONS[client], GENERATIONS[service]]) as address:
        reasons = [await _refusal(address, path, request) for request in refused]

    assert reasons == [("INVALID_ARGUMENT", "FIELD_INVALID"), ("NOT_FOUND", "COLLECTION_NOT_FOUND")]


async def test_the_upcoming_generation_does_add_what_nobody_knows():
    """Else the pairs above would prove nothing."""
    kind = released_methods()[f"{ORCHESTRATOR}/Ask"].input_type
    request = encoded(f"{ORCHESTRATOR}/Ask", ASK)

    sent = GENERATIONS["upcoming"](kind, request)

    assert sent.count(b"\xc2\x3e\x03new") == 4  # the request, its filter, the comparison, the value
    assert GENERATIONS["released"](kind, sent) == GENERATIONS["released"](kind, request)


async def _refusal(address, path, request):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(address, path, [request])
    trailers = dict(list(caught.value.trailing_metadata() or ()))
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    found = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(found) for detail in status.details)
    return caught.value.code().name, found.reason
