"""The synchronous client is left in every way: closed under a call, used after its end, interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import grpc
import pytest
from rag.orchestrator.v1 import orchestrator_pb2 as ask_pb
from rag.orchestrator.v1 import orchestrator_pb2_grpc as ask_rpc
from rag.retriever.v1 import document_pb2 as doc_pb
from rag.retriever.v1 import document_pb2_grpc as doc_rpc

from askmesh.answers import Delta
from askmesh.sync import Client
from chassis.errors import Cancelled

PATIENCE_S = 30  # only a failing test waits for so long


class Slow(ask_rpc.OrchestratorServiceServicer, doc_rpc.DocumentServiceServicer):
    """Says the first word, or the first page, and nothing more until the caller has gone."""

    target = ""

    def __init__(self) -> None:
        self.is_waiting = threading.Event()
        self.has_lost_its_caller = threading.Event()

    def Ask(self, request, context):  # noqa: N802  # gRPC's signature and name, as below
        self._wait(context)
        return ask_pb.AskResponse()

    def StreamAsk(self, request, context):  # noqa: N802
        yield ask_pb.StreamAskResponse(answer_delta=ask_pb.AnswerDelta(text="Well"))
        self._wait(context)

    def ListDocuments(self, request, context):  # noqa: N802
        if request.page_token:
            self._wait(context)
        return doc_pb.ListDocumentsResponse(documents=[doc_pb.Document(document_id="a.md")], next_page_token="b")

    def _wait(self, context):
        if not context.add_callback(self.has_lost_its_caller.set):
            self.has_lost_its_caller.set()
        self.is_waiting.set()
        self.has_lost_its_caller.wait(PATIENCE_S)


@pytest.fixture
def slow() -> Iterator[Slow]:
    servicer = Slow()  # type: ignore[abstract]  # only these of its calls are made
    server = grpc.server(ThreadPoolExecutor(4))
    ask_rpc.add_OrchestratorServiceServicer_to_server(servicer, server)
    doc_rpc.add_DocumentServiceServicer_to_server(servicer, server)
    servicer.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    servicer.has_lost_its_caller.set()
    server.stop(None).wait(PATIENCE_S)


CALLS = {
    "ask": lambda client: client.ask("why?"),
    "stream": lambda client: list(client.stream("why?")),
    "documents": lambda client: list(client.documents()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_closing_ends_the_calls_of_other_threads(slow, call):
    client = Client(slow.target)
    caught = []

    def work():
        with pytest.raises(BaseException) as raised:  # noqa: PT011  # which one is asserted below
            call(client)
        caught.append(raised.type)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert slow.is_waiting.wait(PATIENCE_S)
    client.close()
    thread.join(PATIENCE_S)
    assert caught == [Cancelled]
    assert slow.has_lost_its_caller.wait(PATIENCE_S)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_client_says_that_it_is_closed(slow, call):
    client = Client(slow.target)
    client.close()
    client.close()
    with pytest.raises(Cancelled, match="closed"):
        call(client)


def test_a_stream_that_outlives_its_client_ends_as_cancelled(slow):
    with Client(slow.target) as client:
        events = client.stream("why?")
        assert next(events) == Delta("Well")
    with pytest.raises(Cancelled, match="closed"):
        next(events)


def test_a_stream_is_left_quietly_after_its_client(slow):
    with Client(slow.target) as client:
        events = client.stream("why?")
        next(events)
    events.close()


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """As on a terminal: what is started in the background by a script ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("listing", ["stream", "documents"])
def test_an_interrupt_stops_the_call_and_is_seen_as_itself(slow, listing):
    def interrupt():
        slow.is_waiting.wait(PATIENCE_S)
        asked_on.wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    asked_on = threading.Event()
    interrupter = threading.Thread(target=interrupt)
    with Client(slow.target) as client:
        items: Any = client.stream("why?") if listing == "stream" else client.documents()
        with closing(items), pytest.raises(KeyboardInterrupt):  # noqa: PT012  # the thread must not come too early
            interrupter.start()
            for _ in items:
                asked_on.set()
        interrupter.join(PATIENCE_S)
        assert slow.has_lost_its_caller.wait(PATIENCE_S)
