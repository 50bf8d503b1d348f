"""Requests over a socket that are refused field by field, and filters that arrive whole."""

from __future__ import annotations

import pytest
from rag.orchestrator.v1 import filter_pb2
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.errors import FilterInvalid, InvalidRequest, MessageTooLarge
from tests.contract.orchestrator.asking import QUESTION, failure, request
from tests.contract.orchestrator.servers import rig


async def test_every_bad_field_is_listed(tmp_path):
    async with rig(tmp_path) as served:
        bad = pb.AskRequest(
            collection="No Such Name",
            question=" ",
            top_k=101,
            cache_policy=9,  # type: ignore[arg-type]  # no such policy
            request_id="a b",
            limits=pb.GenerationLimits(max_tokens=-1, temperature=float("nan")),
        )
        error = await failure(served.stub.Ask(bad, timeout=5))
        assert isinstance(error, InvalidRequest)
        named = {violation.field for violation in error.violations}
        assert named == {
            "collection",
            "question",
            "top_k",
            "cache_policy",
            "request_id",
            "limits.max_tokens",
            "limits.temperature",
        }


@pytest.mark.parametrize(
    "bad",
    [
        {"question": ""},
        {"question": "\n\t \u2003"},
        {"question": "x" * 4_097},
        {"top_k": -1},
        {"top_k": 2**31 - 1},
    ],
)
async def test_a_question_out_of_range_is_refused(tmp_path, bad):
    async with rig(tmp_path) as served:
        fields = {"collection": "docs", "question": QUESTION, **bad}
        assert isinstance(await failure(served.stub.Ask(pb.AskRequest(**fields), timeout=5)), InvalidRequest)
        assert served.retriever.requests == []


async def test_a_million_characters_are_refused_before_they_are_read(tmp_path):
    async with rig(tmp_path) as served:
        error = await failure(served.stub.Ask(request("x" * 1_000_000), timeout=5))
        assert isinstance(error, MessageTooLarge)


def nested(depth):
    node = filter_pb2.Filter(comparison=filter_pb2.Comparison(field="a", operator=filter_pb2.OPERATOR_EXISTS))
    for _ in range(depth):
        outer = filter_pb2.Filter()
        getattr(outer, "not").CopyFrom(node)
        node = outer
    return node


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (nested(8), "filter"),
        (
            filter_pb2.Filter(comparison=filter_pb2.Comparison(field="a b", operator=filter_pb2.OPERATOR_EQ)),
            "filter.comparison.field",
        ),
        (filter_pb2.Filter(comparison=filter_pb2.Comparison(field="a")), "filter.comparison.operator"),
        (
            filter_pb2.Filter(comparison=filter_pb2.Comparison(field="a", operator=filter_pb2.OPERATOR_EQ)),
            "filter.comparison.value",
        ),
        (
            filter_pb2.Filter(comparison=filter_pb2.Comparison(field="a", operator=filter_pb2.OPERATOR_IN)),
            "filter.comparison.values",
        ),
    ],
)
async def test_a_bad_filter_is_named_by_its_path(tmp_path, wanted, path):
    async with rig(tmp_path) as served:
        error = await failure(served.stub.Ask(request(filter=wanted), timeout=5))
        assert isinstance(error, FilterInvalid)
        assert path in {violation.field for violation in error.violations}


async def test_the_filter_reaches_the_retriever_as_it_was_sent(tmp_path):
    value = filter_pb2.Value(number_value=3)
    sent = filter_pb2.Filter()
    for operator in (filter_pb2.OPERATOR_LT, filter_pb2.OPERATOR_GE, filter_pb2.OPERATOR_NE):
        comparison = filter_pb2.Comparison(field="page", operator=operator, value=value)
        getattr(sent, "or").filters.add(comparison=comparison)
    one_of = filter_pb2.Comparison(field="source", operator=filter_pb2.OPERATOR_IN)
    one_of.values.add(string_value="a")
    one_of.values.add(string_value="b")
    getattr(sent, "or").filters.add(comparison=one_of)
    timed = filter_pb2.Comparison(field="at", operator=filter_pb2.OPERATOR_EQ)
    timed.value.time_value.FromJsonString("2026-01-02T03:04:05.000006Z")
    getattr(sent, "or").filters.add(comparison=timed)
    getattr(sent, "or").filters.append(nested(2))
    async with rig(tmp_path) as served:
        await served.stub.Ask(request(filter=sent, top_k=3), timeout=5)
        [got] = served.retriever.requests
        assert got.filter.SerializeToString(deterministic=True) == sent.SerializeToString(deterministic=True)
        assert got.top_k == 3
        assert got.query == QUESTION
