"""Requests of any shape are answered with a question or with a list of what is wrong, never with a crash."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from rag.orchestrator.v1 import filter_pb2
from rag.orchestrator.v1 import orchestrator_pb2 as pb

from chassis.errors import FilterInvalid, InvalidRequest
from chassis.identity import LOCAL
from orchestrator.retrieval.grpc import filter_to_wire
from orchestrator.types import CachePolicy, Operator, Question, Sampling
from orchestrator.wire import question_from_wire

DEFAULTS = Sampling(512, 0.2)


def read(request):
    return question_from_wire(request, LOCAL, "made-here", defaults=DEFAULTS)


def read_or_refused(request):
    try:
        return read(request)
    except InvalidRequest as refusal:
        return refusal


@given(st.binary(max_size=300))
def test_any_bytes_that_decode_are_read_or_refused(payload):
    request = pb.AskRequest()
    try:
        request.ParseFromString(payload)
    except DecodeError:
        return  # the chassis refuses it
    outcome = read_or_refused(request)
    assert isinstance(outcome, Question) or outcome.violations


values = st.one_of(
    st.text(max_size=5).map(lambda text: filter_pb2.Value(string_value=text)),
    st.floats().map(lambda number: filter_pb2.Value(number_value=number)),
    st.booleans().map(lambda flag: filter_pb2.Value(bool_value=flag)),
    st.just(filter_pb2.Value()),
)
comparisons = st.builds(
    lambda field, operator, value, several: filter_pb2.Filter(
        comparison=filter_pb2.Comparison(field=field, operator=operator, value=value, values=several)
    ),
    st.sampled_from(["page", "source", "", "a b"]),
    st.sampled_from([0, *range(1, 9)]),
    st.one_of(st.none(), values),
    st.lists(values, max_size=3),
)


def _node(name, parts):
    made = filter_pb2.Filter()
    getattr(made, name).filters.extend(parts)
    getattr(made, name).SetInParent()
    return made


def _not(part):
    made = filter_pb2.Filter()
    getattr(made, "not").CopyFrom(part)
    return made


filters = st.recursive(
    st.one_of(comparisons, st.just(filter_pb2.Filter())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: _node("and", parts)),
        st.lists(inner, max_size=4).map(lambda parts: _node("or", parts)),
        inner.map(_not),
    ),
    max_leaves=12,
)


@given(filters)
def test_a_filter_reaches_the_retriever_unchanged_or_is_refused_by_path(wanted):
    request = pb.AskRequest(collection="docs", question="q", filter=wanted)
    outcome = read_or_refused(request)
    if isinstance(outcome, FilterInvalid):
        assert all(violation.field.startswith("filter") for violation in outcome.violations)
        return
    if wanted.WhichOneof("node") is None:
        return
    sent = filter_to_wire(outcome.filter)
    assert sent.SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)


def test_what_is_left_out_takes_the_defaults():
    question = read(pb.AskRequest(collection="docs", question="  Why?  "))
    assert question.text == "Why?"
    assert question.top_k == 5
    assert question.sampling == DEFAULTS
    assert question.cache_policy is CachePolicy.DEFAULT
    assert question.request_id == "made-here"


@pytest.mark.parametrize("asked", ["Wo liegt Mu\u0308nchen?", "Wo liegt M\u00fcnchen?"])
def test_a_question_is_composed(asked):
    assert read(pb.AskRequest(collection="docs", question=asked)).text == "Wo liegt M\u00fcnchen?"


def test_composing_makes_no_question_longer_than_may_be():
    asked = "\u0958" * 4_096  # its composed form is two signs
    assert read(pb.AskRequest(collection="docs", question=asked)).text == asked


def test_a_temperature_and_a_seed_of_zero_are_not_left_out():
    limits = pb.GenerationLimits(max_tokens=7, temperature=0.0, seed=0)
    question = read(pb.AskRequest(collection="docs", question="Why?", limits=limits))
    assert question.sampling == Sampling(7, 0.0, 0)


def test_every_operator_has_its_number():
    numbers = {filter_pb2.Operator.Value(f"OPERATOR_{operator.name}") for operator in Operator}
    assert numbers == set(filter_pb2.Operator.values()) - {filter_pb2.OPERATOR_UNSPECIFIED}
