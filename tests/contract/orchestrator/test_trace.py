"""One ask is one trace: the orchestrator's spans and the retriever's, connected, without a word of the question."""

from __future__ import annotations

from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.telemetry import Telemetry
from tests.contract.orchestrator.servers import CountingGenerator, rig

QUESTION = "How long does the lease last?"


def traced():
    spans = InMemorySpanExporter()
    return spans, Telemetry("test", processor=SimpleSpanProcessor(spans), sampler=ALWAYS_ON)


async def ask(tmp_path, telemetry, *, times=1):
    async with rig(tmp_path, generator=CountingGenerator(limit=3, gap_s=0), telemetry=telemetry) as served:
        asked = pb.AskRequest(collection="docs", question=QUESTION)
        replies = [await served.stub.Ask(asked, timeout=5) for _ in range(times)]
    return replies[-1]


async def test_an_ask_is_one_connected_tree(tmp_path):
    spans, telemetry = traced()
    reply = await ask(tmp_path, telemetry)
    finished = [s for s in spans.get_finished_spans() if format(s.context.trace_id, "032x") == reply.started.trace_id]
    ids = {span.context.span_id for span in finished}
    roots = [span for span in finished if span.parent is None or span.parent.span_id not in ids]
    assert len(roots) == 1
    services = {span.resource.attributes["service.name"] for span in finished}
    assert {"test", "retriever"} <= services
    by_name = {span.name: span for span in finished}
    assert by_name["rag.retrieve.invoke"].parent.span_id == by_name["rag.ask"].context.span_id


async def test_the_originals_attributes_are_there(tmp_path):
    spans, telemetry = traced()
    await ask(tmp_path, telemetry, times=2)
    miss, hit = [span for span in spans.get_finished_spans() if span.name == "rag.ask"]
    assert miss.attributes["rag.cache.hit"] is False
    assert hit.attributes["rag.cache.hit"] is True
    assert miss.attributes["rag.model.name"] == "counting"
    assert miss.attributes["rag.tokens.total"] == 103
    assert miss.attributes["gen_ai.usage.output_tokens"] == 3
    assert miss.attributes["rag.retrieval.count"] == 1
    assert miss.attributes["rag.ttft_ms"] > 0
    assert miss.attributes["gen_ai.usage.ttft_ms"] == miss.attributes["rag.ttft_ms"]
    assert miss.attributes["gen_ai.model"] == "counting"
    assert miss.attributes["gen_ai.completion.tokens"] == 3
    assert [event.name for event in miss.events] == ["passages", "first text"]


async def test_no_span_holds_the_question_or_the_answer(tmp_path):
    spans, telemetry = traced()
    reply = await ask(tmp_path, telemetry)
    said = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "lease" not in said
    assert reply.text not in said
